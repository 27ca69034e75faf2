// The unit atlas: a map and a table of all units; one unit's panel is built when it is chosen.
(() => {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const atlas = JSON.parse(byId("atlas-data").textContent);
  let clips; // parsed at first need: most of the page's bytes
  const units = atlas.units, panel = byId("panel"), grid = byId("grid"), map = byId("map");
  const total = units.reduce((sum, each) => sum + each.count, 0) || 1;
  const perSpeaker = {};
  for (const each of units)
    for (const [name, count] of Object.entries(each.speakers)) perSpeaker[name] = (perSpeaker[name] ?? 0) + count;
  const classOf = (phone) => atlas.phone_classes[phone] ?? "other";
  const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
  const purity = (unit) => (unit.phones.find(([phone]) => phone === unit.phone) ?? [0, 0])[1];
  let chosen = null, opener = null;

  // elements without markup in strings: names come from corpora
  function make(space, name, attributes, children) {
    const element = space ? document.createElementNS(space, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }
  const html = (name, attributes = {}, ...children) => make(null, name, attributes, children);
  const svg = (name, attributes = {}, ...children) => make(map.namespaceURI, name, attributes, children);
  const text = (x, y, content, anchor = "middle") => svg("text", { x, y, "text-anchor": anchor }, content);
  const coloured = (phone, never) =>
    never ? { class: "never" } : { style: `--c:var(--${classOf(phone)})`, class: classOf(phone) === "stop" ? "dark" : "" };

  // -- table and map -------------------------------------------------------------------------------------------
  const rank = (unit) => (unit.count ? atlas.phones.indexOf(unit.phone) : atlas.phones.length);
  const order = [...units].sort((a, b) => rank(a) - rank(b) || purity(b) - purity(a) || b.count - a.count || a.unit - b.unit);
  const name = (unit) =>
    unit.count
      ? `unit ${unit.unit}, ${unit.phone} ${percent(purity(unit))}, ${unit.count} frames`
      : `unit ${unit.unit}, does not occur`;
  const cells = new Map(), dots = new Map();
  for (const unit of order) {
    const attributes = { type: "button", tabindex: -1, "aria-pressed": false, "aria-label": name(unit), "data-unit": unit.unit };
    const label = html("b", {}, unit.count ? unit.phone : "–");
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
        html("span", { class: "swatch", ...(units[other].count ? { style: `--c:var(--${classOf(units[other].phone)})` } : {}) }),
        `${other} ${units[other].count ? units[other].phone : "–"}`);
      go.addEventListener("click", () => choose(other, cells.get(other)));
      near.append(go);
    }
    const nearest = [html("h4", {}, "Nearest codebook vectors"), near];
    if (!unit.count)
      return [shut, head, html("p", {}, "Does not occur in the scored utterances."), ...nearest];
    head.append(html("span", { ...coloured(unit.phone), class: `chip ${coloured(unit.phone).class}` }, unit.phone));
    const runs = `${unit.count} frames (${percent(unit.count / total)}) in ${unit.runs} stretches`;
    return [
      shut, head,
      html("p", { class: "faint" }, `${runs}; read as ${unit.phone}, a ${classOf(unit.phone)}`.replace("a other", "of no class").replace("a affr", "an affr").replace("a appr", "an appr").replace("a silence", "silence")),
      html("h4", {}, "Most typical stretches"), ...typical(unit),
      html("h4", {}, "Phones of its frames"), bars(unit.phones.map(([phone, share]) => [phone, share, `var(--${classOf(phone)})`])),
      html("h4", {}, "Average spectrum"), spectrum(unit),
      html("h4", {}, "How long it lasts"), durations(unit),
      html("h4", {}, "Who says it (line: speaker's share of all speech)"), speakers(unit),
      ...nearest, occurrences(unit),
    ];
  }

  function bars(rows, marks = []) {
    const height = 17 * rows.length + 2, drawing = svg("svg", { viewBox: `0 0 360 ${height}`, role: "img" });
    rows.forEach(([label, share, colour], row) => {
      const y = 17 * row;
      drawing.append(text(52, y + 12, label.slice(0, 8), "end"), svg("rect", { x: 58, y: y + 2, width: (240 * share).toFixed(1), height: 12, rx: 2, style: `fill:${colour}` }));
      if (marks[row]) drawing.append(svg("path", { d: `M${58 + 240 * marks[row]} ${y}v16`, style: "stroke:var(--ink);stroke-width:1.5" }));
      drawing.append(text(62 + 240 * Math.max(share, marks[row] ?? 0), y + 12, percent(share), "start"));
    });
    drawing.setAttribute("aria-label", rows.map(([label, share]) => `${label} ${percent(share)}`).join(", "));
    return drawing;
  }

  function spectrum(unit) {
    const all = [...unit.log_mel_db, ...atlas.mean_log_mel_db];
    const low = 10 * Math.floor(Math.min(...all) / 10), high = 10 * Math.ceil(Math.max(...all) / 10);
    const bands = atlas.mel_hz.length, x = (band) => 44 + (308 * (band + 0.5)) / bands;
    const y = (decibel) => 8 + (112 * (high - decibel)) / (high - low);
    const path = (values) => "M" + values.map((value, band) => `${x(band).toFixed(1)} ${y(value).toFixed(1)}`).join("L");
    const drawing = svg("svg", { viewBox: "0 0 360 158", role: "img", "aria-label": "Average log-mel spectrum in decibels, beside the mean of all frames (dashed)" });
    for (let level = low; level <= high; level += 20)
      drawing.append(svg("path", { class: "axisline", d: `M44 ${y(level)}h308` }), text(38, y(level) + 4, String(level).replace("-", "−"), "end"));
    for (const hz of [250, 500, 1000, 2000, 4000]) {
      const above = atlas.mel_hz.findIndex((centre) => centre >= hz);
      if (above < 1) continue;
      const [a, b] = [atlas.mel_hz[above - 1], atlas.mel_hz[above]], band = above - 1 + (hz - a) / (b - a);
      drawing.append(svg("path", { class: "axisline", d: `M${x(band)} 120v4` }), text(x(band), 136, hz / 1000));
    }
    drawing.append(text(198, 154, "frequency (kHz)"), svg("text", { transform: "translate(10 64) rotate(-90)", "text-anchor": "middle" }, "dB"),
      svg("path", { class: "mean", d: path(atlas.mean_log_mel_db) }), svg("path", { class: "curve", d: path(unit.log_mel_db) }),
      text(352, 18, "dashed: all frames", "end"));
    return drawing;
  }

  function durations(unit) {
    const counts = unit.durations, most = Math.max(...counts), width = 308 / counts.length, whole = unit.runs || 1;
    const drawing = svg("svg", { viewBox: "0 0 360 112", role: "img", "aria-label": "How many stretches last how long" });
    counts.forEach((count, index) => {
      const height = (72 * count) / most, x = 44 + index * width, longest = index === counts.length - 1;
      const milliseconds = +(1000 * (index + 1) * atlas.seconds_per_unit).toFixed(1);
      drawing.append(svg("rect", { x: x + 2, y: 80 - height, width: width - 4, height, rx: 2, style: "fill:var(--accent)" }), text(x + width / 2, 94, `${longest ? "≥" : ""}${milliseconds}`));
    });
    drawing.append(svg("path", { class: "axisline", d: "M44 80h308" }), text(198, 109, "duration (ms)"), text(38, 14, percent(most / whole), "end"), text(38, 84, "0", "end"));
    return drawing;
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

  // magma at six points, as the plots have it
  const MAGMA = [[0, 0, 4], [59, 15, 112], [140, 41, 129], [222, 73, 104], [254, 159, 109], [252, 253, 191]];
  function magma(value) {
    const place = 5 * Math.min(0.9999, Math.max(0, value)), index = Math.floor(place), rest = place - index;
    return MAGMA[index].map((low, channel) => low + rest * (MAGMA[index + 1][channel] - low));
  }

  function drawClip(canvas, buffer, clip) {
    const { width, height } = canvas, pen = canvas.getContext("2d"), image = pen.createImageData(width, height);
    const samples = buffer.getChannelData(0), size = 512, columns = [];
    for (let x = 0; x < width; x++) {
      const centre = (clip.offset + ((x + 0.5) / width) * clip.seconds) * buffer.sampleRate;
      columns.push(decibels(samples, Math.round(centre - size / 2), size));
    }
    const top = columns.reduce((most, column) => Math.max(most, ...column), -Infinity);
    const bins = Array.from({ length: height }, (_, y) => melBin((height - 0.5 - y) / height, columns[0].length, buffer.sampleRate));
    columns.forEach((column, x) => {
      for (let y = 0; y < height; y++)
        image.data.set([...magma((column[bins[y]] - top + 60) / 60), 255], 4 * (y * width + x));
    });
    pen.putImageData(image, 0, 0);
    pen.strokeStyle = "#fff";
    pen.lineWidth = 2;
    const [from, to] = [clip.start, clip.end].map((time) => (width * time) / clip.seconds);
    pen.strokeRect(from, 1, Math.max(2, to - from), height - 2);
  }

  // the frequency at a share of Slaney's mel scale, as a bin of the spectrum
  function melBin(share, bins, sampleRate) {
    const mels = share * (15 + (27 * Math.log(sampleRate / 2000)) / Math.log(6.4));
    const hz = mels < 15 ? (mels * 200) / 3 : 1000 * 6.4 ** ((mels - 15) / 27);
    return Math.min(bins - 1, Math.floor((hz / (sampleRate / 2)) * bins));
  }

  // power spectrum of a Hann window in dB, high frequencies raised as pre-emphasis does, by Cooley and Tukey's transform
  function decibels(samples, start, size) {
    const re = new Float32Array(size), im = new Float32Array(size), bits = Math.log2(size);
    for (let n = 0; n < size; n++) {
      let reversed = 0;
      for (let bit = 0; bit < bits; bit++) reversed |= ((n >> bit) & 1) << (bits - 1 - bit);
      re[reversed] = ((samples[start + n] ?? 0) - 0.9 * (samples[start + n - 1] ?? 0)) * (0.5 - 0.5 * Math.cos((2 * Math.PI * n) / size));
    }
    for (let half = 1; half < size; half *= 2)
      for (let k = 0; k < half; k++) {
        const c = Math.cos((Math.PI * k) / half), s = -Math.sin((Math.PI * k) / half);
        for (let a = k; a < size; a += 2 * half) {
          const b = a + half, r = re[b] * c - im[b] * s, i = re[b] * s + im[b] * c;
          (re[b] = re[a] - r), (im[b] = im[a] - i), (re[a] += r), (im[a] += i);
        }
      }
    return Array.from({ length: size / 2 }, (_, bin) => 10 * Math.log10(re[bin] ** 2 + im[bin] ** 2 + 1e-9));
  }

  // -- finding -------------------------------------------------------------------------------------------------
  const find = byId("find");
  function filter() {
    const wanted = find.value.trim().toLowerCase();
    for (const unit of units) {
      const names = unit.count ? [String(unit.unit), unit.phone.toLowerCase(), classOf(unit.phone)] : [String(unit.unit), "never"];
      const hidden = wanted !== "" && !names.includes(wanted);
      cells.get(unit.unit).hidden = hidden;
      dots.get(unit.unit).classList.toggle("dim", hidden);
    }
  }
  find.addEventListener("input", filter);
  const present = new Set(units.filter((unit) => unit.count).map((unit) => classOf(unit.phone)));
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
