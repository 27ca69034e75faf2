// The unit atlas: a map and a table of all units; one unit's panel is built when it is chosen.
(() => {
  "use strict";
  const { html, svg, percent, bars, spectrum, durations } = charts;
  const byId = (id) => document.getElementById(id);
  const atlas = JSON.parse(byId("atlas-data").textContent);
  let clips; // parsed at first need: most of the page's bytes
  const units = atlas.units, panel = byId("panel"), grid = byId("grid"), map = byId("map");
  const total = units.reduce((sum, each) => sum + each.count, 0) || 1;
  const perSpeaker = {};
  for (const each of units)
    for (const [name, count] of Object.entries(each.speakers)) perSpeaker[name] = (perSpeaker[name] ?? 0) + count;
  const classOf = (phone) => atlas.phone_classes[phone] ?? "other";
  const purity = (unit) => (unit.phones.find(([phone]) => phone === unit.phone) ?? [0, 0])[1];
  let chosen = null, opener = null;

  const coloured = (phone, never) =>
    never ? { class: "never" } : phone === null ? { style: "--c:var(--stop)", class: "dark" } : { style: `--c:var(--${classOf(phone)})`, class: classOf(phone) === "stop" ? "dark" : "" };

  // -- table and map -------------------------------------------------------------------------------------------
  const rank = (unit) => (unit.count ? atlas.phones.indexOf(unit.phone) : atlas.phones.length);
  const order = [...units].sort((a, b) => rank(a) - rank(b) || purity(b) - purity(a) || b.count - a.count || a.unit - b.unit);
  const readAs = (unit) => (unit.phone === null ? "" : `${unit.phone} ${percent(purity(unit))}, `); // null: no alignments
  const name = (unit) =>
    unit.count ? `unit ${unit.unit}, ${readAs(unit)}${unit.count} frames` : `unit ${unit.unit}, does not occur`;
  const cells = new Map(), dots = new Map();
  for (const unit of order) {
    const attributes = { type: "button", tabindex: -1, "aria-pressed": false, "aria-label": name(unit), "data-unit": unit.unit };
    const label = html("b", {}, unit.count ? (unit.phone ?? "") : "–");
    cells.set(unit.unit, html("button", { ...attributes, ...coloured(unit.phone, !unit.count) }, label, String(unit.unit)));
  }
  grid.append(...cells.values());

  const place = ({ position: [x, y] }) => [20 + 600 * x * stretch[0], 400 - 380 * y * stretch[1]];
  const reach = [0, 1].map((axis) => Math.max(...units.map((unit) => unit.position[axis])) || 1);
  const stretch = [1 / reach[0], 1 / reach[1]];
  const links = svg("g");
  map.append(links);
  for (const unit of [...units].sort((a, b) => b.count - a.count)) {
    const [cx, cy] = place(unit).map((value) => value.toFixed(1));
    const r = unit.count ? (3 + 60 * Math.sqrt(unit.count / total / Math.PI)).toFixed(1) : 2.5;
    const attributes = { cx, cy, r, tabindex: -1, role: "button", "aria-label": name(unit), "data-unit": unit.unit };
    dots.set(unit.unit, svg("circle", { ...attributes, ...coloured(unit.phone, !unit.count) }));
  }
  map.append(...dots.values());
  const readout = (unit) => (byId("readout").textContent = unit ? name(unit) : "\u00a0");
  for (const [owner, target] of [[map, "circle"], [grid, "button"]]) {
    owner.addEventListener("click", (event) => {
      const element = event.target.closest(target);
      if (element) choose(Number(element.dataset.unit), element);
    });
    owner.addEventListener("pointerover", (event) => {
      const element = event.target.closest(target);
      if (element) readout(units[element.dataset.unit]);
    });
    owner.addEventListener("pointerleave", () => readout(chosen));
    owner.addEventListener("keydown", (event) => walk(event, owner === map ? dots : cells));
  }

  // -- keyboard ------------------------------------------------------------------------------------------------
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  function walk(event, elements) {
    const element = event.target.closest("[data-unit]");
    if (!element || event.ctrlKey || event.metaKey || event.altKey) return;
    const unit = Number(element.dataset.unit);
    if (ARROWS[event.key]) {
      const next = elements === dots ? onMap(unit, ARROWS[event.key]) : inTable(element, ARROWS[event.key]);
      if (next !== undefined) choose(next, elements.get(next));
    } else if (event.key === "Home" || event.key === "End") {
      const shown = order.filter((each) => !cells.get(each.unit).hidden);
      const end = shown.at(event.key === "Home" ? 0 : -1);
      if (end) choose(end.unit, elements.get(end.unit));
    } else if (event.key === "Enter" || event.key === " ") {
      if (chosen?.unit !== unit) choose(unit, element);
      panel.querySelector(".clip")?.click();
    } else return;
    event.preventDefault();
  }

  function onMap(from, [dx, dy]) {
    const [x, y] = place(units[from]);
    let best, least = Infinity;
    for (const unit of units) {
      if (unit.unit === from || cells.get(unit.unit).hidden) continue;
      const [ox, oy] = place(unit), along = (ox - x) * dx + (oy - y) * dy, aside = Math.abs((ox - x) * dy) + Math.abs((oy - y) * dx);
      if (along > 0.01 && along >= aside && along + 2 * aside < least) (least = along + 2 * aside), (best = unit.unit);
    }
    return best;
  }

  function inTable(cell, [dx, dy]) {
    const shown = [...cells.values()].filter((each) => !each.hidden), here = shown.indexOf(cell);
    const columns = shown.findIndex((each) => each.offsetTop > shown[0].offsetTop);
    const next = shown[here + dx + dy * (columns < 0 ? shown.length : columns)];
    return next && Number(next.dataset.unit);
  }

  function tabStop(elements, unit) {
    for (const [other, element] of elements) element.setAttribute("tabindex", other === unit ? 0 : -1);
  }

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && chosen) close();
  });

  // -- choosing ------------------------------------------------------------------------------------------------
  function choose(number, element) {
    const unit = units[number];
    if (!unit) return;
    opener = element ?? opener;
    mark(chosen, false);
    chosen = unit;
    mark(chosen, true);
    tabStop(cells, unit.unit);
    tabStop(dots, unit.unit);
    readout(unit);
    links.replaceChildren(...unit.neighbours.map(([other]) => {
      const [[x1, y1], [x2, y2]] = [place(unit), place(units[other])];
      return svg("line", { x1, y1, x2, y2 });
    }));
    panel.classList.remove("empty");
    panel.replaceChildren(...describe(unit));
    panel.scrollTop = 0;
    element?.focus({ preventScroll: true });
    element?.scrollIntoView({ block: "nearest" }); // to where the panel does not cover it
    history.replaceState(null, "", `#unit-${unit.unit}`);
  }

  function mark(unit, on) {
    if (!unit) return;
    cells.get(unit.unit).setAttribute("aria-pressed", on);
    dots.get(unit.unit).classList.toggle("chosen", on);
  }

  function close() {
    const inside = panel.contains(document.activeElement);
    mark(chosen, false);
    const unit = chosen;
    chosen = null;
    sound.stop();
    links.replaceChildren();
    readout(null);
    panel.classList.add("empty");
    panel.replaceChildren(html("p", { class: "faint" }, "Choose a unit on the map or in the table."));
    if (inside) (opener ?? cells.get(unit.unit)).focus();
    history.replaceState(null, "", location.pathname + location.search);
  }

  // -- the panel -----------------------------------------------------------------------------------------------
  function describe(unit) {
    const shut = html("button", { type: "button", class: "close", title: "Esc" }, "close");
    shut.addEventListener("click", close);
    const head = html("h3", {}, `Unit ${unit.unit} `);
    const near = html("div", { class: "near" });
    for (const [other, distance] of unit.neighbours) {
      const go = html("button", { type: "button", title: `distance ${distance}` },
        html("span", { class: "swatch", ...(units[other].count ? { style: coloured(units[other].phone).style } : {}) }),
        `${other} ${units[other].count ? (units[other].phone ?? "") : "–"}`);
      go.addEventListener("click", () => choose(other, cells.get(other)));
      near.append(go);
    }
    const nearest = [html("h4", {}, "Nearest codebook vectors"), near];
    if (!unit.count)
      return [shut, head, html("p", {}, "Does not occur in the scored utterances."), ...nearest];
    const runs = `${unit.count} frames (${percent(unit.count / total)}) in ${unit.runs} stretches`;
    const reading = `; read as ${unit.phone}, a ${classOf(unit.phone)}`.replace("a other", "of no class").replace("a affr", "an affr").replace("a appr", "an appr").replace("a silence", "silence");
    const known = unit.phone !== null;
    if (known) head.append(html("span", { ...coloured(unit.phone), class: `chip ${coloured(unit.phone).class}` }, unit.phone));
    return [
      shut, head,
      html("p", { class: "faint" }, known ? runs + reading : runs),
      html("h4", {}, "Most typical stretches"), ...typical(unit),
      ...(known ? [html("h4", {}, "Phones of its frames"), bars(unit.phones.map(([phone, share]) => [phone, share, `var(--${classOf(phone)})`]))] : []),
      html("h4", {}, "Average spectrum"), spectrum(unit.log_mel_db, atlas.mean_log_mel_db, atlas.mel_hz),
      html("h4", {}, "How long it lasts"), durations(unit.durations, atlas.seconds_per_unit),
      html("h4", {}, "Who says it (line: speaker's share of all speech)"), speakers(unit),
      ...nearest, occurrences(unit),
    ];
  }

  function speakers(unit) {
    const rows = Object.entries(unit.speakers).sort((a, b) => b[1] - a[1]), shown = rows.slice(0, 8);
    return bars(shown.map(([who, count]) => [who, count / unit.count, "var(--accent)"]), shown.map(([who]) => perSpeaker[who] / total));
  }

  function occurrences(unit) {
    const list = html("ul"), grouped = new Map();
    for (const [utterance, from] of unit.occurrences) grouped.set(utterance, [...(grouped.get(utterance) ?? []), from.toFixed(2)]);
    for (const [utterance, times] of grouped)
      list.append(html("li", {}, `${atlas.utterances[utterance].id}: ${times.join(", ")} s`));
    const shown = unit.occurrences.length < unit.runs ? `, ${unit.occurrences.length} of ${unit.runs} stretches` : "";
    return html("details", {}, html("summary", {}, `Where it occurs${shown}`), list);
  }

  // -- typical stretches ---------------------------------------------------------------------------------------
  function typical(unit) {
    clips ??= JSON.parse(byId("clips-data").textContent);
    const own = clips[unit.unit];
    if (!own) return [html("p", { class: "faint" }, "No sound is kept of units this rare.")];
    const load = () => sound.load(`unit ${unit.unit}`, () => own.opus);
    const cards = own.clips.map((clip, index) => card(unit, clip, unit.typical[index], load));
    load().then(
      (buffer) => cards.forEach((each, index) => drawClip(each.querySelector("canvas"), buffer, own.clips[index])),
      () => cards.forEach((each) => each.querySelector(".name").append(" this browser does not play Opus")),
    );
    return [html("p", { class: "faint" }, "Click to hear it with what surrounds it; inside the frame, or with Shift, the unit alone."), ...cards];
  }

  function card(unit, clip, [utterance, from, to], load) {
    const { id, speaker } = atlas.utterances[utterance];
    const under = html("span", { class: "under" });
    for (const [phone, start, end] of clip.phones) {
      const { style, class: dark } = coloured(phone);
      const box = `left:${(100 * start) / clip.seconds}%;width:${(100 * (end - start)) / clip.seconds}%`;
      under.append(html("i", { class: dark, style: `${style};${box}` }, phone));
    }
    const seen = `${id}${id.startsWith(speaker) ? "" : `, ${speaker}`}`;
    const element = html("button", { type: "button", class: "clip", "aria-label": `play ${seen} at ${from.toFixed(2)} seconds` },
      html("canvas", { width: 360, height: 74 }), under,
      html("span", { class: "name" }, html("span", {}, `▶ ${seen}`), html("span", {}, `${from.toFixed(2)} – ${to.toFixed(2)} s`)));
    element.addEventListener("click", async (event) => {
      const place = event.target.tagName === "CANVAS" ? (event.offsetX / event.target.clientWidth) * clip.seconds : 0;
      const alone = event.shiftKey || (place > clip.start && place < clip.end);
      const begin = clip.offset + (alone ? clip.start : 0), end = clip.offset + (alone ? clip.end : clip.seconds);
      await sound.play(await load(), begin, end, (time) => element.classList.toggle("sounding", time !== null));
    });
    return element;
  }

  // -- finding -------------------------------------------------------------------------------------------------
  const find = byId("find");
  function filter() {
    const wanted = find.value.trim().toLowerCase();
    for (const unit of units) {
      const phone = unit.phone === null ? [] : [unit.phone.toLowerCase(), classOf(unit.phone)];
      const names = [String(unit.unit), ...(unit.count ? phone : ["never"])];
      const hidden = wanted !== "" && !names.includes(wanted);
      cells.get(unit.unit).hidden = hidden;
      dots.get(unit.unit).classList.toggle("dim", hidden);
    }
  }
  find.addEventListener("input", filter);
  const present = new Set(units.filter((unit) => unit.count && unit.phone !== null).map((unit) => classOf(unit.phone)));
  for (const group of atlas.classes.filter((each) => present.has(each))) {
    const button = html("button", { type: "button" }, html("span", { class: "swatch", style: `--c:var(--${group})` }), group);
    button.addEventListener("click", () => ((find.value = find.value === group ? "" : group), filter()));
    byId("legend").append(button);
  }

  function fromAddress() {
    const number = /^#unit-(\d+)$/.exec(location.hash)?.[1];
    if (number === undefined || !units[number]) return false;
    choose(Number(number), cells.get(Number(number)));
    return true;
  }
  window.addEventListener("hashchange", fromAddress);

  panel.classList.add("empty");
  panel.append(html("p", { class: "faint" }, "Choose a unit on the map or in the table."));
  tabStop(cells, order[0].unit);
  tabStop(dots, order[0].unit);
  if (!fromAddress() && matchMedia("(min-width: 62rem)").matches) {
    const common = units.reduce((best, unit) => (unit.count > best.count && unit.phone !== "SIL" ? unit : best), { count: 0 });
    if (common.count) {
      const hash = location.hash;
      choose(common.unit);
      history.replaceState(null, "", hash || location.pathname + location.search);
    }
  }
})();
