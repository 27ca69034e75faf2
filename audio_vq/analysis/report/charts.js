// Small charts as SVG, and elements made without markup in strings: names come from corpora.
const charts = (() => {
  "use strict";
  const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;

  function make(space, name, attributes, children) {
    const element = space ? document.createElementNS(space, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }
  const html = (name, attributes = {}, ...children) => make(null, name, attributes, children);
  const svg = (name, attributes = {}, ...children) => make(document.getElementById("map").namespaceURI, name, attributes, children);
  const text = (x, y, content, anchor = "middle") => svg("text", { x, y, "text-anchor": anchor }, content);

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

  function spectrum(values, mean, centres) {
    const all = [...values, ...mean];
    const low = 10 * Math.floor(Math.min(...all) / 10), high = 10 * Math.ceil(Math.max(...all) / 10);
    const bands = centres.length, x = (band) => 44 + (308 * (band + 0.5)) / bands;
    const y = (decibel) => 8 + (112 * (high - decibel)) / (high - low);
    const path = (levels) => "M" + levels.map((value, band) => `${x(band).toFixed(1)} ${y(value).toFixed(1)}`).join("L");
    const drawing = svg("svg", { viewBox: "0 0 360 158", role: "img", "aria-label": "Average log-mel spectrum in decibels, beside the mean of all frames (dashed)" });
    for (let level = low; level <= high; level += 20)
      drawing.append(svg("path", { class: "axisline", d: `M44 ${y(level)}h308` }), text(38, y(level) + 4, String(level).replace("-", "−"), "end"));
    for (const hz of [250, 500, 1000, 2000, 4000]) {
      const above = centres.findIndex((centre) => centre >= hz);
      if (above < 1) continue;
      const [a, b] = [centres[above - 1], centres[above]], band = above - 1 + (hz - a) / (b - a);
      drawing.append(svg("path", { class: "axisline", d: `M${x(band)} 120v4` }), text(x(band), 136, hz / 1000));
    }
    drawing.append(text(198, 154, "frequency (kHz)"), svg("text", { transform: "translate(10 64) rotate(-90)", "text-anchor": "middle" }, "dB"),
      svg("path", { class: "mean", d: path(mean) }), svg("path", { class: "curve", d: path(values) }),
      text(352, 18, "dashed: all frames", "end"));
    return drawing;
  }

  function durations(counts, secondsPerUnit) {
    const most = Math.max(...counts), width = 308 / counts.length, whole = counts.reduce((sum, count) => sum + count) || 1;
    const drawing = svg("svg", { viewBox: "0 0 360 112", role: "img", "aria-label": "How many stretches last how long" });
    counts.forEach((count, index) => {
      const height = (72 * count) / most, x = 44 + index * width, longest = index === counts.length - 1;
      const milliseconds = +(1000 * (index + 1) * secondsPerUnit).toFixed(1);
      drawing.append(svg("rect", { x: x + 2, y: 80 - height, width: width - 4, height, rx: 2, style: "fill:var(--accent)" }), text(x + width / 2, 94, `${longest ? "≥" : ""}${milliseconds}`));
    });
    drawing.append(svg("path", { class: "axisline", d: "M44 80h308" }), text(198, 109, "duration (ms)"), text(38, 14, percent(most / whole), "end"), text(38, 84, "0", "end"));
    return drawing;
  }

  return { html, svg, percent, bars, spectrum, durations };
})();
