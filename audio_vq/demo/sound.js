// Sound in and out: what arrives in blocks is played without a gap, the microphone's samples become a WAV file.

const LEAD = 0.06; // seconds between the first block and its sound: what later blocks may be late by
const CATCH_UP = 0.15; // seconds to wait after the blocks came too late

let context = null;

// To be asked for first while a click or key is handled, or browsers stay silent.
export function output(sampleRate) {
  context ??= new AudioContext({ sampleRate, latencyHint: "interactive" });
  if (context.state === "suspended") context.resume();
  return context;
}

export class Stream {
  constructor(sampleRate) {
    this.rate = sampleRate;
    this.context = output(sampleRate);
    this.next = 0; // when what was scheduled ends, in the context's seconds
    this.firstSound = null; // performance.now() of it
    this.gaps = 0;
    this.samples = 0;
    this.sources = new Set();
  }

  push(pcm) {
    const now = this.context.currentTime;
    if (this.firstSound === null) {
      this.next = now + LEAD;
      this.begin = this.next;
      this.firstSound = performance.now() + 1000 * (LEAD + (this.context.outputLatency || 0));
    } else if (this.next < now) {
      this.gaps += 1;
      this.next = now + CATCH_UP;
    }
    const buffer = this.context.createBuffer(1, pcm.length, this.rate);
    const channel = buffer.getChannelData(0);
    for (let i = 0; i < pcm.length; i++) channel[i] = pcm[i] / 32768;
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.context.destination);
    source.start(this.next);
    this.sources.add(source);
    source.onended = () => this.sources.delete(source);
    this.next += buffer.duration;
    this.samples += pcm.length;
  }

  get left() { return Math.max(0, this.next - this.context.currentTime); } // seconds still to be heard
  get position() { return Math.max(0, this.samples / this.rate - this.left); }

  stop() {
    for (const source of this.sources) source.stop();
    this.sources.clear();
    this.next = 0;
  }
}

export function pcmOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new Int16Array(bytes.buffer);
}

export function joined(parts) {
  const whole = new Int16Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { whole.set(part, at); at += part.length; }
  return whole;
}

export function wav(samples, rate) {
  const header = new DataView(new ArrayBuffer(44));
  const bytes = 2 * samples.length;
  const text = (at, word) => [...word].forEach((letter, i) => header.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF"); header.setUint32(4, 36 + bytes, true); text(8, "WAVEfmt "); header.setUint32(16, 16, true);
  header.setUint16(20, 1, true); header.setUint16(22, 1, true); header.setUint32(24, rate, true);
  header.setUint32(28, 2 * rate, true); header.setUint16(32, 2, true); header.setUint16(34, 16, true);
  text(36, "data"); header.setUint32(40, bytes, true);
  return new Blob([header, samples], { type: "audio/wav" });
}

// What browsers read and the server may not (M4A, WebM), as WAV.
export async function decoded(blob) {
  const offline = new OfflineAudioContext(1, 1, 48000);
  const sound = await offline.decodeAudioData(await blob.arrayBuffer());
  const samples = new Int16Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++) {
    const data = sound.getChannelData(channel);
    for (let i = 0; i < samples.length; i++) samples[i] += clipped(data[i] / sound.numberOfChannels);
  }
  return wav(samples, sound.sampleRate);
}

const clipped = (value) => Math.max(-32768, Math.min(32767, Math.round(32768 * value)));

// Records until it is stopped, or as long as it may; `level` is told how loud it is, 0 to 1, and the seconds.
export async function record(longest, level) {
  const media = await navigator.mediaDevices.getUserMedia({
    audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: true },
  });
  const input = new AudioContext();
  await input.audioWorklet.addModule("parts/microphone.js");
  const node = new AudioWorkletNode(input, "microphone");
  const parts = [];
  let samples = 0, end;
  const ended = new Promise((resolve) => { end = resolve; });
  node.port.onmessage = ({ data }) => {
    const pcm = Int16Array.from(data, clipped);
    parts.push(pcm);
    samples += pcm.length;
    level(Math.min(1, 4 * Math.sqrt(data.reduce((sum, x) => sum + x * x, 0) / data.length)), samples / input.sampleRate);
    if (samples >= longest * input.sampleRate) end();
  };
  input.createMediaStreamSource(media).connect(node);
  return {
    stop: () => end(),
    blob: ended.then(async () => {
      media.getTracks().forEach((track) => track.stop());
      node.port.onmessage = null;
      await input.close();
      return wav(joined(parts).subarray(0, longest * input.sampleRate), input.sampleRate);
    }),
  };
}
