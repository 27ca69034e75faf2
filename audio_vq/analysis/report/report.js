// The page apart from the atlas: light and dark, and excerpts that can be heard stretch by stretch.
(() => {
  "use strict";
  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = (root.dataset.theme ?? (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
  });

  if (document.getElementById("conversion")) { // evaluate may add this section later
    const link = document.createElement("a");
    link.href = "#conversion";
    link.textContent = "Conversion";
    document.querySelector("nav a[href='#method']").before(link);
  }

  for (const excerpt of document.querySelectorAll(".excerpt")) {
    const picture = excerpt.querySelector(".speech"), head = picture.querySelector(".playhead");
    const { left, width, seconds } = picture.dataset;
    const status = excerpt.querySelector(".status");

    async function play(box) {
      const key = excerpt.querySelector("input:checked").value;
      const audio = excerpt.querySelector(`audio[data-key="${key}"]`);
      const buffer = await sound.load(`${excerpt.id} ${key}`, () => audio.src.split(",")[1]);
      await sound.play(buffer, Number(box.dataset.from), Number(box.dataset.to), (time) => {
        head.setAttribute("visibility", time === null ? "hidden" : "visible");
        box.classList.toggle("sounding", time !== null);
        if (time !== null) head.setAttribute("transform", `translate(${Number(left) + (time / seconds) * width})`);
      });
      status.textContent = `${key}: ${box.getAttribute("aria-label")} `;
      if (box.dataset.unit) {
        const link = document.createElement("a");
        link.href = `#unit-${box.dataset.unit}`;
        link.textContent = `unit ${box.dataset.unit} in the atlas`;
        status.append(link);
      }
    }

    picture.addEventListener("click", (event) => {
      const box = event.target.closest(".box");
      if (box) focus(box), play(box);
    });

    function focus(box) {
      for (const other of box.parentElement.children) other.setAttribute("tabindex", other === box ? 0 : -1);
      box.focus({ preventScroll: true });
      const frame = picture.parentElement, place = (box.dataset.from / seconds) * picture.clientWidth;
      if (frame.scrollWidth > frame.clientWidth) frame.scrollLeft = place - frame.clientWidth / 2;
    }

    picture.addEventListener("keydown", (event) => {
      const box = event.target.closest(".box");
      if (!box) return;
      const strip = [...box.parentElement.children], here = strip.indexOf(box);
      const to = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: strip.length - 1 }[event.key];
      if (to !== undefined) focus(strip[Math.min(strip.length - 1, Math.max(0, to))]);
      else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
        const strips = [...picture.querySelectorAll(".strip")];
        const next = strips[strips.indexOf(box.parentElement) + (event.key === "ArrowUp" ? -1 : 1)];
        const middle = (Number(box.dataset.from) + Number(box.dataset.to)) / 2;
        if (next) focus([...next.children].findLast((other) => other.dataset.from <= middle) ?? next.children[0]);
      } else if (event.key === "Enter" || event.key === " ") play(box);
      else if (event.key === "Escape") sound.stop();
      else return;
      event.preventDefault();
    });
  }
})();
