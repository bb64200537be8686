// On a narrow screen the one panel of a figure is drawn as wide as the screen and as high as it was:
// what it shows is moved across, words keep their size, and a legend takes the lines that it needs.
const UNIT = 0.8 * 4 / 3; // pixels of a unit of the drawing: as small as figures become elsewhere
const drawn = new Map();
const pair = /(-?[\d.]+(?:e[-+]?\d+)?) (-?[\d.]+(?:e[-+]?\d+)?)/g;
const squeeze = (svg, wide) => {
  const [axes, other] = within(svg.querySelector(":scope > g"), /axes_\d+$/);
  const view = svg.viewBox.baseVal;
  if (!axes || other || wide >= view.width) return false;
  const [across, upright] = within(axes, /axis_\d+$/);
  if (!across) return false; // a map keeps its shape
  const ground = box(within(axes, /patch_\d+$/).slice(0, 1)), { left, right } = ground;
  const legends = [...svg.querySelectorAll("g[id*='legend_']")];
  const free = (part) => !legends.some((legend) => legend.contains(part));
  const texts = [...svg.querySelectorAll("text")].filter(free);
  // the names of rows, in lines of more words where they would touch
  const rows = upright ? [...upright.querySelectorAll("[id*='tick_'] text")] : [];
  const called = rows.map((text) => text.textContent);
  const long = rows.map((text) => text.getComputedTextLength());
  const touch = (text, i) => rows.some((other, k) => k > i
    && Math.min(box([holder(text)]).bottom, box([holder(other)]).bottom) + 1
    > Math.max(box([holder(text)]).top, box([holder(other)]).top));
  for (const share of [0.4, 0.5, 0.6]) {
    rows.forEach((text, i) => {
      if (long[i] <= 0.4 * wide) return;
      text.textContent = called[i];
      if (long[i] > share * wide) wrap(text, share * wide, 0.5);
    });
    if (!rows.some(touch)) break;
  }
  const ticks = [...across.querySelectorAll("[id*='xtick_'] text")];
  const places = new Map(texts.map((text) => {
    const { left: from, right: to } = box([holder(text)]);
    return [text, text.hasAttribute("x") ? at(text, "x") : (from + to) / 2];
  }));
  const sides = texts.filter((text) => (
    ticks.includes(text) || places.get(text) < left || places.get(text) > right
  )).map((text) => box([holder(text)]));
  const margin = left + 3 - Math.min(left, ...sides.map((one) => one.left));
  const rest = 3 - right + Math.max(right, ...sides.map((one) => one.right));
  const room = wide - margin - rest;
  if (room < 0.3 * wide) return false;
  // lines that leave the panel keep their slopes, words beside it their distance
  const move = (x) => margin + (x - left) * room / ground.width;
  const beside = (x) => (x < left ? move(left) + x - left : move(right) + x - right);
  const redraw = (path) => path.setAttribute("d", path.getAttribute("d").replace(
    pair, (_, x, y) => `${move(Number(x)).toFixed(2)} ${y}`,
  ));
  const marks = new Set();
  for (const use of [...svg.querySelectorAll("use")].filter(free)) {
    // a mark that stands at zero has its place in its own path
    if (at(use, "x")) use.setAttribute("x", move(at(use, "x")));
    else marks.add(svg.getElementById(use.getAttribute("xlink:href").slice(1)));
  }
  marks.forEach(redraw);
  for (const path of [...svg.querySelectorAll("path")].filter(free)) {
    if (!path.closest("defs")) redraw(path);
  }
  for (const part of svg.querySelectorAll("image, clipPath rect")) {
    const start = move(at(part, "x")), end = move(at(part, "x") + at(part, "width"));
    part.setAttribute("x", start);
    part.setAttribute("width", end - start);
    part.setAttribute("preserveAspectRatio", "none");
  }
  for (const [text, x] of places) {
    shift(holder(text).firstElementChild, (x < left || x > right ? beside(x) : move(x)) - x);
  }
  // ticks that have no room any more: every second of numbers stays, or every third
  const overlap = (shown) => shown.some((text, i) => (
    i && box([holder(text)]).left < box([holder(shown[i - 1])]).right + 3
  ));
  let every = 1;
  while (overlap(ticks.filter((_, i) => i % every === 0))) every += 1;
  if (every > 1 && ticks.some((text) => !/^[-−+\d.,%\s]+$/.test(text.textContent))) return false;
  ticks.forEach((text, i) => { if (i % every) holder(text).remove(); });
  // what is said of the whole stays inside: a title grows upwards, a label below the panel downwards
  for (const text of texts.filter((one) => one.isConnected && !ticks.includes(one))) {
    const upwards = box([holder(text)]).top < ground.top ? 1 : 0;
    if (text.getComputedTextLength() > wide - 4 && box([holder(text)]).width > wide - 4) {
      wrap(text, wide - 8, upwards);
    }
    const place = box([holder(text)]);
    const by = Math.max(0, 2 - place.left) || Math.min(0, wide - 2 - place.right);
    if (by) shift(holder(text).firstElementChild, by);
  }
  const said = box(texts.filter((text) => text.isConnected).map(holder));
  for (const legend of legends) {
    const place = box([legend]), middle = (place.left + place.right) / 2;
    if (place.bottom <= ground.top + 2 || place.left >= right - 2) {
      reflow(legend, wide, Math.min(ground.top, said.top) - 9);
    } else if (place.width > room) {
      return false;
    } else {
      shift(legend, middle < (left + right) / 2 ? margin - left : wide - rest - right);
    }
  }
  const all = [ground, said, ...legends.map((legend) => box([legend]))];
  const top = Math.min(...all.map((one) => one.top)) - 3;
  const high = Math.max(...all.map((one) => one.bottom)) + 3 - top;
  svg.setAttribute("viewBox", [0, top, wide, high].join(" "));
  svg.style.minWidth = "0";
  svg.style.maxWidth = `${wide * 4 / 3}px`;
  return true;
};
const narrowed = () => {
  for (const svg of document.querySelectorAll("figure > svg")) {
    const figure = svg.parentNode, wide = figure.clientWidth / UNIT;
    if (!narrow.matches || drawn.has(svg) || !wide || figure.matches(".stacked")) continue;
    const kept = [svg.innerHTML, svg.getAttribute("viewBox"), svg.getAttribute("style")];
    drawn.set(svg, kept);
    if (!squeeze(svg, wide)) restore(svg);
  }
  if (!narrow.matches) [...drawn.keys()].forEach(restore);
};
const restore = (svg) => {
  const [inside, view, style] = drawn.get(svg);
  drawn.delete(svg);
  svg.innerHTML = inside;
  svg.setAttribute("viewBox", view);
  svg.setAttribute("style", style);
};
narrow.addEventListener("change", narrowed);
narrowed();
