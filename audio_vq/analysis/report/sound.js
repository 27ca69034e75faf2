// Sound: files are decoded at their first use; then any stretch of them plays to the sample.
const sound = (() => {
  "use strict";
  const RATE = 16000; // Hz
  const decoded = new Map();
  let context, playing, stopShowing = () => {};

  function bytes(base64) {
    return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)).buffer;
  }

  function load(key, base64) {
    // an offline context decodes without leave to make sound, which a page has only after a click or a key
    if (!decoded.has(key)) decoded.set(key, new OfflineAudioContext(1, 1, RATE).decodeAudioData(bytes(base64())));
    return decoded.get(key);
  }

  function stop() {
    if (playing) playing.onended = null, playing.stop();
    playing = undefined;
    stopShowing();
    stopShowing = () => {};
  }

  // `show` is called with the time in seconds as it plays, and with null at the end
  async function play(buffer, from, to, show = () => {}) {
    stop();
    context ??= new AudioContext();
    await context.resume();
    stop(); // whatever began while this one waited
    const source = context.createBufferSource(), level = context.createGain();
    const begin = context.currentTime + 0.01, seconds = Math.max(0.005, to - from), fade = Math.min(0.003, seconds / 4);
    source.buffer = buffer;
    level.gain.setValueAtTime(0, begin); // without fades a cut clicks
    level.gain.linearRampToValueAtTime(1, begin + fade);
    level.gain.setValueAtTime(1, begin + seconds - fade);
    level.gain.linearRampToValueAtTime(0, begin + seconds);
    source.connect(level).connect(context.destination);
    source.start(begin, from, seconds);
    playing = source;
    let shown = true;
    const frame = () => {
      if (!shown) return;
      show(Math.min(to, from + Math.max(0, context.currentTime - begin)));
      requestAnimationFrame(frame);
    };
    frame();
    stopShowing = () => (shown = false, show(null));
    source.onended = stop;
    sound.last = { from, to, seconds: buffer.duration };
  }

  return { load, play, stop, last: null };
})();
