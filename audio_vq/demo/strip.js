// The picture of what was said: pitch, spectrogram, and under them its units in their colours. It can be chosen from
// and changed: each column is a unit (all groups and the pitch) and remembers where in the recording it was heard.

const PITCH = 58, SPECTRUM = 132, GROUP = 22, GAP = 3, AXIS = 20; // heights in pixels
const LOW = 55, HIGH = 700; // hertz
const WIDEST = 15000; // pixels a canvas may have
const MOST_UNDO = 100;

export class Strip {
  constructor(element, facts, hear) {
    this.element = element;
    this.canvas = element.querySelector("canvas");
    this.head = element.querySelector("#head");
    this.scroll = element.parentElement;
    this.facts = facts;
    this.hear = hear; // is called to play what is chosen
    this.onchange = () => {};
    this.zoom = 1;
    this.columns = [];
    this.copied = null;
    this.undone = [];
    new ResizeObserver(() => this.draw()).observe(this.scroll);
    this.canvas.addEventListener("pointerdown", (event) => this.pressed(event));
    this.canvas.addEventListener("pointermove", (event) => this.dragged(event));
    for (const name of ["pointerup", "pointercancel"]) this.canvas.addEventListener(name, (event) => this.released(event));
    element.addEventListener("keydown", (event) => this.keyed(event));
  }

  show(picture) {
    this.picture = picture;
    this.levels = Uint8Array.from(atob(picture.spectrogram), (letter) => letter.charCodeAt(0));
    this.frames = this.levels.length / picture.mels;
    this.recorded = picture.units[0].map((_, i) => ({ from: i, tracks: picture.units.map((track) => track[i]) }));
    this.columns = this.recorded.slice();
    this.undone = [];
    this.anchor = this.focus = 0;
    this.zoom = 1;
    this.scroll.scrollLeft = 0;
    this.chosenByHand = false;
    this.painted = null;
    this.changed();
  }

  get unitSeconds() { return this.facts.hop_length / this.facts.sample_rate; }
  get first() { return Math.min(this.anchor, this.focus); }
  get last() { return Math.max(this.anchor, this.focus); }
  get edited() { return this.columns.length !== this.recorded.length || this.columns.some((each, i) => each.from !== i); }

  units(first = 0, last = this.columns.length - 1) {
    const part = this.columns.slice(first, last + 1);
    return this.picture.units.map((_, track) => part.map((column) => column.tracks[track]));
  }

  // A single unit lasts too short to be heard: it is held.
  held(index, seconds) {
    const count = Math.max(1, Math.round(seconds / this.unitSeconds));
    return this.columns[index].tracks.map((value) => Array(count).fill(value));
  }

  choose(anchor, focus, byHand = true) {
    const within = (index) => Math.max(0, Math.min(this.columns.length - 1, index));
    [this.anchor, this.focus] = [within(anchor), within(focus)];
    this.chosenByHand ||= byHand;
    this.said();
    this.draw();
    const x = this.focus * this.step;
    if (x < this.scroll.scrollLeft || x > this.scroll.scrollLeft + this.scroll.clientWidth - 20) {
      this.scroll.scrollLeft = x - this.scroll.clientWidth / 2;
    }
  }

  edit(what) {
    const { first, last } = this, part = this.columns.slice(first, last + 1);
    const replaced = (by) => [...this.columns.slice(0, first), ...by, ...this.columns.slice(last + 1)];
    let next = null, end = last;
    if (what === "repeat") { next = replaced([...part, ...part]); end = last + part.length; }
    if (what === "stretch") { next = replaced(part.flatMap((column) => [column, column])); end = last + part.length; }
    if (what === "shorten" && part.length > 1) { next = replaced(part.filter((_, i) => i % 2 === 0)); end = first + Math.ceil(part.length / 2) - 1; }
    if (what === "reverse" && part.length > 1) next = replaced(part.slice().reverse());
    if (what === "remove" && part.length < this.columns.length) { next = replaced([]); end = first; }
    if (what === "copy") { this.copied = { part, first, last, columns: this.columns }; this.onchange(); return; }
    if (what === "paste" && this.copied) { next = replaced(this.copied.part); end = first + this.copied.part.length - 1; }
    if (what === "swap" && this.canSwap) next = this.swapped();
    if (what === "undo" && this.undone.length) { [this.columns, this.anchor, this.focus] = this.undone.pop(); this.changed(); return; }
    if (what === "reset" && this.edited) { next = this.recorded.slice(); end = first; }
    if (!next || next.length * this.unitSeconds > this.facts.limits.speech_seconds) return;
    this.undone.push([this.columns, this.anchor, this.focus]);
    if (this.undone.length > MOST_UNDO) this.undone.shift();
    this.columns = next;
    this.anchor = Math.min(first, next.length - 1);
    this.focus = Math.min(end, next.length - 1);
    this.changed();
  }

  // What was copied and what is chosen trade places, where both are still there and apart.
  get canSwap() {
    const copied = this.copied;
    return Boolean(copied) && copied.columns === this.columns && (copied.last < this.first || copied.first > this.last);
  }

  swapped() {
    const here = [this.first, this.last], there = [this.copied.first, this.copied.last];
    const [[a, b], [c, d]] = here[0] < there[0] ? [here, there] : [there, here];
    const cut = (from, to) => this.columns.slice(from, to);
    return [...cut(0, a), ...cut(c, d + 1), ...cut(b + 1, c), ...cut(a, b + 1), ...cut(d + 1)];
  }

  changed() {
    this.said();
    this.draw();
    this.onchange();
  }

  said() {
    const column = this.columns[this.focus], count = this.last - this.first + 1;
    const groups = column.tracks.slice(0, this.facts.groups);
    const hertz = this.picture.f0[column.from];
    const time = (index) => (index * this.unitSeconds).toFixed(2);
    const melody = this.facts.pitch_classes ? (hertz ? `, ${Math.round(hertz)} hertz` : ", unvoiced") : "";
    const what = `${time(this.focus)} seconds, unit ${groups.join(" and ")}${melody}`;
    this.element.setAttribute("aria-valuemin", "1");
    this.element.setAttribute("aria-valuemax", String(this.columns.length));
    this.element.setAttribute("aria-valuenow", String(this.focus + 1));
    this.element.setAttribute("aria-valuetext", count > 1 ? `${what}; ${count} units chosen` : what);
    this.text = count > 1 ? `${time(this.first)}–${time(this.last + 1)} s, ${count} units` : what;
    this.onchange();
  }

  // Pointer and keys ------------------------------------------------------------------------------------------------

  at(event) {
    return Math.floor((event.clientX - this.canvas.getBoundingClientRect().left) / this.step);
  }

  pressed(event) {
    if (event.button !== 0 || !this.columns.length) return;
    this.from = this.at(event);
    this.moved = false;
    if (event.pointerType === "mouse") this.canvas.setPointerCapture(event.pointerId);
    if (event.shiftKey) { this.moved = true; this.choose(this.anchor, this.from); }
  }

  dragged(event) {
    if (this.from === undefined || event.pointerType !== "mouse") return;
    const to = this.at(event);
    if (to !== this.from || this.moved) { this.moved = true; this.choose(event.shiftKey ? this.anchor : this.from, to); }
  }

  released(event) {
    if (this.from === undefined) return;
    if (!this.moved && event.type === "pointerup") { this.choose(this.from, this.from); this.hear(); }
    this.from = undefined;
  }

  keyed(event) {
    const far = Math.max(1, Math.round(0.1 / this.unitSeconds));
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, PageUp: far, PageDown: -far, Home: -1e9, End: 1e9 };
    const edits = { Delete: "remove", Backspace: "remove" };
    const withControl = { z: "undo", c: "copy", v: "paste" };
    if (event.key in moves) {
      const to = this.focus + moves[event.key];
      this.choose(event.shiftKey ? this.anchor : to, to);
    } else if (event.key === "Enter" || event.key === " ") this.hear();
    else if (event.key in edits) this.edit(edits[event.key]);
    else if ((event.ctrlKey || event.metaKey) && event.key in withControl) this.edit(withControl[event.key]);
    else if ((event.ctrlKey || event.metaKey) && event.key === "a") this.choose(0, this.columns.length - 1);
    else return;
    event.preventDefault();
  }

  // Drawing ---------------------------------------------------------------------------------------------------------

  get height() { return (this.hasPitch ? PITCH + GAP : 0) + SPECTRUM + GAP + this.facts.groups * (GROUP + GAP) + AXIS; }
  get hasPitch() { return this.picture.f0.length > 0; }

  draw() {
    if (!this.columns.length || !this.scroll.clientWidth) return;
    const ratio = Math.min(devicePixelRatio || 1, 2), most = WIDEST / ratio;
    const fit = this.scroll.clientWidth / this.columns.length;
    this.step = Math.min(this.zoom * Math.max(fit, 1.2), Math.max(most / this.columns.length, fit)); // pixels a unit
    const width = Math.min(most, Math.max(this.scroll.clientWidth, Math.round(this.step * this.columns.length)));
    this.step = width / this.columns.length;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${this.height}px`;
    this.pen = this.canvas.getContext("2d");
    this.pen.scale(ratio, ratio);
    this.colour = (name) => getComputedStyle(this.element).getPropertyValue(name).trim();
    let y = 0;
    if (this.hasPitch) { this.drawPitch(); y += PITCH + GAP; }
    this.drawSpectrum(y); y += SPECTRUM + GAP;
    for (let group = 0; group < this.facts.groups; group++) { this.drawGroup(group, y); y += GROUP + GAP; }
    this.drawAxis(y, width);
    this.drawChosen(y);
  }

  drawPitch() {
    const { pen, step } = this, place = (hertz) => PITCH - 2 - (PITCH - 4) * Math.log(hertz / LOW) / Math.log(HIGH / LOW);
    pen.lineWidth = 1;
    pen.font = "10px system-ui, sans-serif";
    for (const hertz of [100, 200, 400]) {
      pen.strokeStyle = this.colour("--line");
      pen.beginPath(); pen.moveTo(0, Math.round(place(hertz)) + 0.5); pen.lineTo(this.canvas.width, Math.round(place(hertz)) + 0.5); pen.stroke();
    }
    pen.strokeStyle = this.colour("--pitch");
    pen.lineWidth = 2.2; pen.lineJoin = "round"; pen.lineCap = "round";
    pen.beginPath();
    let before = 0;
    this.columns.forEach(({ from }, i) => {
      const hertz = this.picture.f0[from] ?? 0, x = (i + 0.5) * step;
      if (hertz > 0) {
        const y = place(Math.max(LOW, Math.min(HIGH, hertz)));
        if (before > 0) pen.lineTo(x, y); else { pen.moveTo(x - 0.4 * step, y); pen.lineTo(x, y); }
      }
      before = hertz;
    });
    pen.stroke();
    pen.strokeStyle = this.colour("--card"); pen.fillStyle = this.colour("--faint"); pen.lineWidth = 3;
    for (const hertz of [100, 200, 400]) {
      pen.strokeText(`${hertz} Hz`, 3, place(hertz) + 10);
      pen.fillText(`${hertz} Hz`, 3, place(hertz) + 10);
    }
  }

  paint() {
    const { mels } = this.picture, key = this.colour("--spectrum");
    if (this.painted?.key === key) return this.painted.picture;
    const [quiet, middle, loud] = key.split("|").map((each) => each.trim().split(" ").map(Number));
    const picture = new OffscreenCanvas(this.frames, mels), pen = picture.getContext("2d");
    const pixels = pen.createImageData(this.frames, mels);
    for (let frame = 0; frame < this.frames; frame++) {
      for (let mel = 0; mel < mels; mel++) {
        const level = this.levels[frame * mels + mel] / 255;
        const [low, high, share] = level < 0.5 ? [quiet, middle, 2 * level] : [middle, loud, 2 * level - 1];
        const at = 4 * ((mels - 1 - mel) * this.frames + frame);
        for (let i = 0; i < 3; i++) pixels.data[at + i] = low[i] + share * (high[i] - low[i]);
        pixels.data[at + 3] = 255;
      }
    }
    pen.putImageData(pixels, 0, 0);
    this.painted = { key, picture };
    return picture;
  }

  drawSpectrum(y) {
    const picture = this.paint(), { pen, step } = this;
    const perUnit = this.frames * this.unitSeconds / this.picture.seconds;
    pen.imageSmoothingEnabled = true;
    for (let i = 0; i < this.columns.length;) {
      let count = 1; // columns that follow one another in the recording too
      while (i + count < this.columns.length && this.columns[i + count].from === this.columns[i].from + count) count++;
      const from = Math.min(this.columns[i].from * perUnit, this.frames - 1);
      const wide = Math.max(0.5, Math.min(count * perUnit, this.frames - from));
      pen.drawImage(picture, from, 0, wide, this.picture.mels, i * step, y, count * step + 0.3, SPECTRUM);
      i += count;
    }
  }

  drawGroup(group, y) {
    const { pen, step } = this, gap = step > 5 ? 1 : 0;
    for (let i = 0; i < this.columns.length;) {
      const unit = this.columns[i].tracks[group];
      let count = 1;
      while (i + count < this.columns.length && this.columns[i + count].tracks[group] === unit) count++;
      pen.fillStyle = this.facts.colours[group][unit];
      pen.fillRect(i * step, y, count * step - gap, GROUP);
      if (count * step > 26) {
        pen.fillStyle = "#15181b"; pen.font = "10px system-ui, sans-serif";
        pen.fillText(String(unit), i * step + 4, y + GROUP / 2 + 3.5);
      }
      i += count;
    }
  }

  drawAxis(y, width) {
    const { pen } = this, perSecond = this.step / this.unitSeconds;
    const every = [0.1, 0.2, 0.5, 1, 2, 5, 10].find((seconds) => seconds * perSecond > 52) ?? 10;
    pen.fillStyle = this.colour("--faint"); pen.font = "11px system-ui, sans-serif";
    for (let i = 0; i * every * perSecond < width - 12; i++) {
      const x = i * every * perSecond;
      pen.fillRect(x, y, 1, 4);
      pen.fillText(`${(i * every).toFixed(every < 1 ? 1 : 0)} s`, x + 3, y + 13);
    }
  }

  drawChosen(height) {
    if (!this.chosenByHand) return;
    const { pen, step } = this, x = this.first * step, width = (this.last - this.first + 1) * step;
    pen.fillStyle = this.colour("--chosen");
    pen.fillRect(x, 0, width, height);
    pen.strokeStyle = this.colour("--ink");
    pen.lineWidth = 1.5;
    pen.strokeRect(x, 0.75, Math.max(width, 2), height - 1.5);
  }

  // Shows where in all that is shown a sound is; null: nowhere.
  playhead(seconds) {
    this.head.hidden = seconds === null || !this.step;
    if (seconds !== null) this.head.style.transform = `translateX(${seconds / this.unitSeconds * this.step}px)`;
  }
}
