// Draws the spectrogram of a clip on a canvas, and a frame around the stretch it is about.
const drawClip = (() => {
  "use strict";

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

  return drawClip;
})();
