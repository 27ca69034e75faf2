// The page itself: what its buttons do.

import { Client } from "./client.js";
import { Row, made, silence } from "./rows.js";
import { Stream, decoded, output, pcmOf, record } from "./sound.js";
import { Strip } from "./strip.js";

const facts = JSON.parse(document.getElementById("facts").textContent);
const $ = (id) => document.getElementById(id);
const client = new Client(facts.functions);
const HELD_SECONDS = 0.3; // of a single unit that is heard
const LEAST_VOICE_SECONDS = 10; // below which a new voice is not worth learning
const state = { sound: new Audio(), picture: null, working: null, seed: 0, voiceSound: null, voices: facts.voices, recorder: null };

const strip = new Strip($("strip"), facts, () => hear());

// Saying what happens ---------------------------------------------------------------------------------------------------

const say = (text) => { $("status").textContent = text; $("fault").textContent = ""; };
const complain = (error) => {
  $("status").textContent = "";
  $("fault").textContent = error.name === "AbortError" ? "" : `${error.message[0].toUpperCase()}${error.message.slice(1)}${/[.?!]$/.test(error.message) ? "" : "."}`;
};

// One piece of work at a time; Stop ends it.
async function work(name, doing) {
  if (state.working) return;
  const controller = new AbortController();
  state.working = controller;
  document.body.classList.add("busy");
  $("stop").hidden = false;
  const slow = setTimeout(() => say(`${name} … the first time after a start takes longer`), 4000);
  say(`${name} …`);
  try {
    await doing({
      signal: controller.signal,
      wait: (rank) => say(rank ? `${rank} before you` : `${name} …`),
    });
  } catch (error) {
    complain(error);
  } finally {
    clearTimeout(slow);
    state.working = null;
    document.body.classList.remove("busy");
    $("stop").hidden = true;
  }
}
$("stop").addEventListener("click", () => { state.working?.abort(); silence(); });

// A recording comes in --------------------------------------------------------------------------------------------------

async function sent(blob, signal) {
  if (blob.size > facts.limits.upload_bytes) {
    throw new Error(`this file is larger than ${facts.limits.upload_bytes >> 20} MB; cut it, or save it as MP3`);
  }
  if (!blob.size) throw new Error("this file is empty");
  return client.upload(blob, signal);
}

async function take(blob) {
  silence();
  await work("Listening", async (options) => {
    let heard = blob, picture;
    try {
      picture = await client.call("listen", [await sent(heard, options.signal), null], options);
    } catch (error) {
      if (!/not audio/.test(error.message)) throw error;
      heard = await decoded(blob).catch(() => { throw error; });
      picture = await client.call("listen", [await sent(heard, options.signal), null], options);
    }
    show(picture, URL.createObjectURL(heard));
  });
}

function show(picture, address) {
  state.picture = picture;
  state.sound.pause();
  state.sound.src = address;
  $("figure").hidden = false;
  $("work").hidden = false;
  strip.show(picture);
  $("picture-text").textContent = picture.text;
  say(`Heard ${picture.seconds.toFixed(1)} seconds.`);
}

$("file").addEventListener("change", (event) => { if (event.target.files[0]) take(event.target.files[0]); event.target.value = ""; });
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("speech").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
}

function recorder(button, longest, ended) {
  const text = button.querySelector("[data-text]"), before = text.textContent;
  button.addEventListener("click", async () => {
    if (state.recorder) { state.recorder.stop(); return; }
    if (!navigator.mediaDevices?.getUserMedia) {
      complain(new Error("browsers give a microphone only to pages on this machine or over https; choose a file instead"));
      return;
    }
    silence();
    try {
      const recording = await record(longest, (loud, seconds) => {
        $("level").value = loud;
        text.textContent = `Stop (${Math.floor(seconds)} s)`;
      });
      state.recorder = recording;
      $("level").hidden = false;
      button.classList.add("recording");
      say("Recording; press again to stop.");
      const blob = await recording.blob;
      say("");
      await ended(blob);
    } catch (error) {
      complain(error.name === "NotAllowedError" || error.name === "NotFoundError"
        ? new Error("no microphone: allow it in the browser, or choose a file instead") : error);
    } finally {
      state.recorder = null;
      $("level").hidden = true;
      button.classList.remove("recording");
      text.textContent = before;
    }
  });
}
recorder($("record"), facts.limits.speech_seconds, take);

async function examples() {
  const names = await fetch("examples").then((response) => response.json()).catch(() => []);
  $("examples-said").textContent = names.length ? `Or begin with ${origin}. In the voice of` : `Making examples, ${origin} …`;
  for (const [number, name] of names.entries()) {
    if ($("examples").querySelector(`[data-number="${number}"]`)) continue;
    const button = made("button", { type: "button", textContent: name, ariaLabel: `Example in the voice of ${name}` });
    button.dataset.number = number;
    button.addEventListener("click", () => work("Listening", async (options) => {
      show(await client.call("example", [{ number }, null], options), `examples/${number}`);
    }));
    $("examples").append(button);
  }
  if (names.length < 3 && examples.tries++ < 60) setTimeout(examples, 2000);
}
examples.tries = 0;
const origin = facts.has_prior ? "speech-like sound that the model made up: nobody ever said it" : "units drawn at random: nobody ever said them";

// Playing what was recorded, and hearing units --------------------------------------------------------------------------

$("play").addEventListener("click", () => {
  if (!state.sound.paused) { state.sound.pause(); return; }
  silence({ silence: () => state.sound.pause() });
  state.sound.currentTime = 0;
  state.sound.play();
});
for (const name of ["play", "pause", "ended"]) {
  state.sound.addEventListener(name, () => {
    $("play").textContent = state.sound.paused ? "Play the recording" : "Stop";
    const follow = () => {
      strip.playhead(state.sound.paused || strip.edited ? null : state.sound.currentTime);
      if (!state.sound.paused) requestAnimationFrame(follow);
    };
    follow();
  });
}

function hear() {
  const one = strip.first === strip.last;
  const units = one ? strip.held(strip.first, HELD_SECONDS) : strip.units(strip.first, strip.last);
  output(facts.sample_rate);
  return work("Speaking", async (options) => {
    const stream = new Stream(facts.sample_rate);
    silence({ silence: () => stream.stop() });
    const asked = { units, voice: $("units-voice").value, seed: 0 };
    await client.call("speak", [asked, null], { ...options, step: ({ pcm }) => stream.push(pcmOf(pcm)) });
    say(one ? `Unit ${strip.columns[strip.first].tracks.slice(0, facts.groups).join(" and ")}, held for ${HELD_SECONDS} seconds` : strip.text);
  });
}

// Speaking --------------------------------------------------------------------------------------------------------------

async function speak(title, asked, options) {
  const length = asked.num_samples ?? asked.units[0].length * facts.hop_length;
  $("heard").hidden = false;
  const row = new Row($("rows"), title, facts.sample_rate, length / facts.sample_rate);
  try {
    await client.call("speak", [asked, null], { ...options, step: (step) => row.take(step) });
    row.finish();
    say(`${title}: ${row.facts.textContent}`);
    return row;
  } catch (error) {
    row.fail();
    throw error;
  }
}

// The whole recording, as it is on the strip.
function whole() {
  const asked = { units: strip.units(), seed: state.seed };
  if (!strip.edited) asked.num_samples = Math.round(state.picture.seconds * facts.sample_rate);
  return asked;
}

const chosenVoices = () => [...$("voices").querySelectorAll("input:checked")].map((box) => box.value);

$("convert").addEventListener("click", () => {
  output(facts.sample_rate);
  const flat = document.querySelector("[name=melody]:checked").value === "flat", pitch = Number($("pitch").value);
  const change = [pitch ? `${pitch > 0 ? "+" : "−"}${Math.abs(pitch)} semitones` : "", flat ? "flat" : ""].filter(Boolean).join(", ");
  const voices = chosenVoices();
  if (!voices.length) { complain(new Error("choose a voice first")); return; }
  work("Speaking", async (options) => {
    for (const voice of voices) {
      const row = await speak(change ? `${voice}, ${change}` : voice, { ...whole(), voice, pitch, flat }, options);
      while (voice !== voices.at(-1) && row.sounding && !options.signal.aborted) await new Promise((go) => setTimeout(go, 50));
    }
  });
});
$("pitch").addEventListener("input", ({ target }) => {
  const value = Number(target.value), text = value ? `${value > 0 ? "+" : "−"}${Math.abs(value)} semitones` : "as it is";
  $("pitch-said").textContent = text;
  target.setAttribute("aria-valuetext", text);
});

$("speak-all").addEventListener("click", () => {
  output(facts.sample_rate);
  const voice = $("units-voice").value;
  work("Speaking", (options) => speak(strip.edited ? `${voice}, units changed` : voice, { ...whole(), voice }, options));
});
$("speak-chosen").addEventListener("click", () => {
  output(facts.sample_rate);
  const voice = $("units-voice").value;
  const asked = { units: strip.units(strip.first, strip.last), voice, seed: state.seed };
  work("Speaking", (options) => speak(`${voice}, ${strip.text}`, asked, options));
});

$("share").addEventListener("input", ({ target }) => {
  const text = { 0: "at the start", 50: "half way", 100: "at the end" }[target.value] ?? `${target.value} %`;
  $("share-said").textContent = text;
  target.setAttribute("aria-valuetext", text);
});
$("morph").addEventListener("click", () => {
  output(facts.sample_rate);
  const [from, to, share] = [$("from").value, $("to").value, Number($("share").value) / 100];
  const voice = from === to ? from : { [from]: 1 - share, [to]: share };
  const title = from === to ? from : `${from} ${Math.round(100 - 100 * share)} %, ${to} ${Math.round(100 * share)} %`;
  work("Speaking", (options) => speak(title, { ...whole(), voice }, options));
});

for (const name of ["seconds", "takes", "temperature"]) {
  $(name).addEventListener("input", ({ target }) => { $(`${name}-said`).textContent = target.value; });
}
$("go-on").addEventListener("click", () => {
  output(facts.sample_rate);
  const voice = $("on-voice").value, units = strip.units();
  const settings = { seconds: Number($("seconds").value), takes: Number($("takes").value), temperature: Number($("temperature").value) };
  work("The prior goes on", async (options) => {
    const { takes } = await client.call("go_on", [{ units, voice, ...settings, seed: state.seed++ }, null], options);
    const kept = Math.max(0, Math.round(facts.limits.speech_seconds * facts.sample_rate / facts.hop_length) - takes[0][0].length);
    for (const [number, take] of takes.entries()) {
      const whole = units.map((track, i) => [...track.slice(Math.max(0, track.length - kept)), ...take[i]]);
      const title = `${voice} goes on${takes.length > 1 ? `, take ${number + 1}` : ""}`;
      const row = await speak(title, { units: whole, voice, seed: state.seed }, options);
      while (number < takes.length - 1 && row.sounding && !options.signal.aborted) await new Promise((go) => setTimeout(go, 50));
    }
  });
});

// Units ------------------------------------------------------------------------------------------------------------------

for (const button of document.querySelectorAll("[data-edit]")) {
  button.addEventListener("click", () => {
    const what = button.dataset.edit;
    if (what === "hear") hear();
    else if (what === "grow") strip.choose(strip.first - 1, strip.last + 1);
    else if (what === "shrink") strip.choose(Math.min(strip.first + 1, strip.last), Math.max(strip.last - 1, strip.first));
    else strip.edit(what);
  });
}
strip.onchange = () => {
  $("chosen").textContent = strip.chosenByHand ? strip.text : "";
  const able = { undo: strip.undone.length > 0, reset: strip.edited, paste: Boolean(strip.copied), swap: strip.canSwap };
  for (const [what, can] of Object.entries(able)) document.querySelector(`[data-edit=${what}]`).disabled = !can;
  $("narrower").disabled = strip.zoom === 1;
  const seconds = (strip.columns.length * strip.unitSeconds).toFixed(1);
  $("units-hint").textContent = `${strip.columns.length} units, ${seconds} seconds. Choose a stretch in the picture, change it, and speak it again.`;
};
$("wider").addEventListener("click", () => { strip.zoom = Math.min(64, strip.zoom * 2); strip.draw(); strip.choose(strip.anchor, strip.focus, false); });
$("narrower").addEventListener("click", () => { strip.zoom = Math.max(1, strip.zoom / 2); strip.draw(); strip.choose(strip.anchor, strip.focus, false); });

// Voices -----------------------------------------------------------------------------------------------------------------

function listVoices(chosen) {
  $("voices").replaceChildren(...state.voices.map((voice) => {
    const about = [{ F: "female", M: "male" }[voice.gender], voice.hertz ? `${voice.hertz} Hz` : ""].filter(Boolean).join(" · ");
    const box = made("input", { type: "checkbox", value: voice.name, checked: chosen.includes(voice.name) });
    box.addEventListener("change", countVoices);
    return made("label", { className: "voice" }, box, made("span", {}, made("b", { textContent: voice.name }), made("small", { textContent: about }), made("small", { textContent: voice.corpus })));
  }));
  for (const select of document.querySelectorAll("[data-voices]")) {
    const before = select.value;
    select.replaceChildren(...state.voices.map(({ name }) => made("option", { value: name, textContent: name })));
    if (before) select.value = before;
  }
  countVoices();
}
function countVoices() {
  const count = chosenVoices().length;
  $("convert").textContent = count > 1 ? `Speak in ${count} voices` : "Speak";
}
const last = facts.voices.find((voice) => voice.name === "slt") ?? facts.voices.at(-1);
listVoices([last.name]);
$("units-voice").value = $("on-voice").value = last.name;
$("to").value = facts.voices.find((voice) => voice.name !== last.name)?.name ?? last.name;
$("from").value = last.name;

// A new voice ------------------------------------------------------------------------------------------------------------

async function takeVoice(blob) {
  const sound = new Audio();
  sound.preload = "metadata";
  const known = new Promise((resolve) => { sound.onloadedmetadata = sound.onerror = resolve; setTimeout(resolve, 3000); });
  sound.src = URL.createObjectURL(blob);
  await known;
  state.voiceSound = blob;
  const seconds = Number.isFinite(sound.duration) ? `${Math.round(sound.duration)} seconds` : "a recording";
  $("voice-said").textContent = sound.duration < LEAST_VOICE_SECONDS ? `${seconds}: more would be better` : seconds;
  $("learn").disabled = false;
}
recorder($("record-voice"), 60, takeVoice);
$("voice-file").addEventListener("change", (event) => { if (event.target.files[0]) takeVoice(event.target.files[0]); event.target.value = ""; });

$("learn").addEventListener("click", () => work("Learning", async (options) => {
  const bits = [];
  let spoken = 0;
  $("fitting").hidden = false;
  $("fit-progress").value = 0;
  const learned = await client.call("learn", [$("name").value, await sent(state.voiceSound, options.signal), null, null], {
    ...options,
    step: (fit) => {
      if (fit.done) return;
      bits.push(fit.valid_bits);
      $("fit-progress").value = Math.max(fit.step / fit.steps, fit.seconds / facts.limits.fit_seconds);
      $("fit-said").textContent = `Step ${fit.step} of ${fit.steps}, ${fit.seconds.toFixed(0)} seconds: ${fit.valid_bits.toFixed(3)} bits per sample of speech it has not seen, ${fit.best_bits.toFixed(3)} at best.`;
      if (performance.now() - spoken > 10000) { spoken = performance.now(); say($("fit-said").textContent); }
      drawFit(bits);
    },
  });
  $("fit-progress").value = 1;
  state.voices = learned.voices;
  listVoices([learned.name]);
  $("units-voice").value = $("on-voice").value = $("to").value = learned.name;
  say(`${learned.name} is among the voices now, and chosen.`);
}));

function drawFit(bits) {
  const canvas = $("fit-canvas"), pen = canvas.getContext("2d"), style = getComputedStyle(canvas);
  const low = Math.min(...bits), high = Math.max(...bits), range = Math.max(high - low, 0.01);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.strokeStyle = style.getPropertyValue("--accent");
  pen.lineWidth = 3; pen.lineJoin = "round";
  pen.beginPath();
  bits.forEach((value, i) => pen.lineTo(8 + i * (canvas.width - 16) / Math.max(1, bits.length - 1), 10 + (high - value) / range * (canvas.height - 20)));
  pen.stroke();
}

// Tabs and theme ---------------------------------------------------------------------------------------------------------

const tabs = [...$("tabs").children];
function openTab(tab) {
  for (const each of tabs) {
    each.setAttribute("aria-selected", String(each === tab));
    each.tabIndex = each === tab ? 0 : -1;
    $(each.getAttribute("aria-controls")).hidden = each !== tab;
  }
  tab.scrollIntoView({ block: "nearest", inline: "center" });
}
tabs.forEach((tab, i) => {
  tab.addEventListener("click", () => openTab(tab));
  tab.addEventListener("keydown", (event) => {
    const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = tabs[(to + tabs.length) % tabs.length];
    openTab(next);
    next.focus();
  });
});
if (!facts.has_prior) {
  $("on-hint").textContent = "There is no prior for this model; audio-vq demo CHECKPOINT --prior PRIOR gives it one.";
  $("go-on").disabled = true;
}
if (!facts.pitch_classes) $("melody").hidden = true;
$("legend").textContent = facts.pitch_classes
  ? `From above: pitch, spectrogram, ${facts.groups > 1 ? `${facts.groups} groups of units` : "units"}; like colours sound alike.`
  : "Spectrogram and units; like colours sound alike.";
$("about").textContent = `${facts.voices.length} voices, ${(facts.sample_rate / facts.hop_length).toFixed(0)} units a second, ${facts.bits_per_second} bits a second. Conversions are made while you hear them, on the processor of the machine that serves this page.`;

function theme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  $("theme").textContent = dark ? "Light" : "Dark";
  $("theme").setAttribute("aria-pressed", String(dark));
  $("theme").setAttribute("aria-label", dark ? "Light colours" : "Dark colours");
  strip.draw();
}
const wished = matchMedia("(prefers-color-scheme: dark)");
theme(wished.matches);
wished.addEventListener("change", () => theme(wished.matches));
$("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme !== "dark"));

examples();
