// The microphone's samples, 50 ms at a time.
registerProcessor("microphone", class extends AudioWorkletProcessor {
  constructor() { super(); this.held = []; this.count = 0; }
  process([[channel]]) {
    if (channel) {
      this.held.push(channel.slice());
      this.count += channel.length;
      if (this.count >= 0.05 * sampleRate) {
        const whole = new Float32Array(this.count);
        let at = 0;
        for (const part of this.held) { whole.set(part, at); at += part.length; }
        this.port.postMessage(whole, [whole.buffer]);
        this.held = []; this.count = 0;
      }
    }
    return true;
  }
});
