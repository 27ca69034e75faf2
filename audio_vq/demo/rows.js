// What was spoken: a row for each, heard while it is being made, then to be played again, sought in and kept.

import { Stream, joined, pcmOf, wav } from "./sound.js";

const BARS = 160; // of the picture of a row's waveform

export const playing = { row: null };

export class Row {
  constructor(list, title, rate, seconds) {
    this.rate = rate;
    this.expected = seconds;
    this.parts = [];
    this.samples = 0;
    this.asked = performance.now();
    this.element = document.createElement("li");
    this.element.className = "row making";
    this.element.append(
      this.button = made("button", { type: "button", className: "round", textContent: "■" }),
      made("div", { className: "about" }, this.title = made("strong", { textContent: title }), this.facts = made("span", { className: "hint" })),
      this.wave = made("canvas", { className: "wave", height: 44, width: 480 }),
      this.keep = made("a", { className: "button", textContent: "Download", hidden: true }),
      this.audio = made("audio", { preload: "metadata" }),
    );
    this.button.setAttribute("aria-label", `Stop ${title}`);
    this.wave.setAttribute("role", "slider");
    this.wave.setAttribute("aria-label", `Place in ${title}`);
    this.wave.setAttribute("aria-valuemin", "0");
    this.wave.tabIndex = -1;
    list.prepend(this.element);
    this.button.addEventListener("click", () => this.toggle());
    this.wave.addEventListener("click", (event) => this.seek(event.offsetX / this.wave.clientWidth * this.audio.duration));
    this.wave.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -0.5, ArrowRight: 0.5, Home: -1e9, End: 1e9 }[event.key];
      if (by !== undefined) { event.preventDefault(); this.seek(this.audio.currentTime + by); }
    });
    for (const name of ["timeupdate", "seeked"]) this.audio.addEventListener(name, () => this.draw());
    for (const name of ["play", "pause", "ended"]) this.audio.addEventListener(name, () => this.shown());
    this.stream = new Stream(rate);
  }

  take(step) {
    const pcm = pcmOf(step.pcm);
    this.parts.push(pcm);
    this.samples += pcm.length;
    this.took = step.took;
    if (!this.silenced) {
      if (this.stream.firstSound === null) silence(this);
      this.stream.push(pcm);
      this.first ??= this.stream.firstSound - this.asked;
      this.element.dataset.first = Math.round(this.first);
    }
    this.said(`${(this.samples / this.rate).toFixed(1)} s`);
    this.draw();
  }

  finish() {
    const samples = joined(this.parts);
    const seconds = samples.length / this.rate;
    this.blob = wav(samples, this.rate);
    this.address = URL.createObjectURL(this.blob);
    this.audio.src = this.address;
    this.keep.href = this.address;
    this.keep.download = `${this.title.textContent.replace(/[^\p{L}\p{N} _-]/gu, "").trim() || "speech"}.wav`;
    this.keep.setAttribute("aria-label", `Download ${this.title.textContent}`);
    this.keep.hidden = false;
    this.whole = samples;
    this.element.classList.remove("making");
    this.wave.tabIndex = 0;
    this.wave.setAttribute("aria-valuemax", seconds.toFixed(1));
    const speed = `${seconds.toFixed(1)} s, made in ${this.took.toFixed(1)} s (${(seconds / this.took).toFixed(1)} × real time)`;
    this.said(this.first === undefined ? speed : `${speed}, first sound after ${(this.first / 1000).toFixed(2)} s`);
    this.shown();
    this.draw();
    this.follow();
  }

  fail() {
    this.stream.stop();
    if (this.samples) { this.silenced = true; this.finish(); } else this.element.remove();
  }

  // Until the streamed sound ends, its place is that of the stream.
  follow() {
    const step = () => {
      if (this.stream.left > 0 && !this.silenced) { this.draw(); this.shown(); requestAnimationFrame(step); } else { this.shown(); this.draw(); }
    };
    requestAnimationFrame(step);
  }

  get sounding() { return !this.audio.paused || (!this.silenced && this.stream.left > 0); }
  get position() { return !this.silenced && this.stream.left > 0 ? this.stream.position : this.audio.currentTime; }

  toggle() {
    if (this.sounding || !this.whole) { this.silence(); return; }
    silence(this);
    this.audio.play();
  }

  silence() {
    this.silenced = true;
    this.stream.stop();
    this.audio.pause();
    this.shown();
  }

  seek(seconds) {
    if (!this.whole || !Number.isFinite(this.audio.duration)) return;
    this.silenced = true;
    this.stream.stop();
    this.audio.currentTime = Math.max(0, Math.min(this.audio.duration, seconds));
  }

  said(text) { this.facts.textContent = text; }

  shown() {
    const sounds = this.sounding || (!this.whole && !this.silenced);
    this.button.textContent = sounds ? "■" : "▶";
    this.button.setAttribute("aria-label", `${sounds ? "Stop" : "Play"} ${this.title.textContent}`);
  }

  draw() {
    const pen = this.wave.getContext("2d"), { width, height } = this.wave;
    const style = getComputedStyle(this.wave), total = Math.max(this.samples, this.expected * this.rate || 0);
    const at = this.position * this.rate;
    pen.clearRect(0, 0, width, height);
    this.bars ??= [];
    for (let i = 0; i < BARS; i++) {
      const from = Math.floor(i * total / BARS), to = Math.floor((i + 1) * total / BARS);
      if (to <= this.samples && this.bars[i] === undefined) this.bars[i] = this.loudest(from, to);
      const loud = this.bars[i] ?? 0;
      pen.fillStyle = style.getPropertyValue(this.bars[i] === undefined ? "--line" : from < at ? "--accent" : "--bar");
      const tall = Math.max(2, loud * height);
      pen.fillRect(i * width / BARS, (height - tall) / 2, width / BARS - 1, tall);
    }
    this.wave.setAttribute("aria-valuenow", this.position.toFixed(1));
    this.wave.setAttribute("aria-valuetext", `${this.position.toFixed(1)} seconds`);
  }

  loudest(from, to) {
    let offset = 0, most = 0;
    for (const part of this.parts) {
      const end = offset + part.length;
      for (let i = Math.max(from, offset); i < Math.min(to, end); i += 3) most = Math.max(most, Math.abs(part[i - offset]));
      offset = end;
      if (offset >= to) break;
    }
    return Math.min(1, 1.6 * most / 32768);
  }
}

// One thing sounds at a time.
export function silence(next = null) {
  if (playing.row && playing.row !== next) playing.row.silence();
  playing.row = next;
}

export function made(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}
