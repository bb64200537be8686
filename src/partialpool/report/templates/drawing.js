// What both arrangements of figures on a narrow screen use: boxes of parts, words in lines, legends.
const NS = "http://www.w3.org/2000/svg";
const narrow = matchMedia("(max-width: 44rem)");
const box = (parts) => {
  const all = parts.map((part) => part.getBBox()).filter((b) => b.width || b.height);
  const left = Math.min(...all.map((b) => b.x)), top = Math.min(...all.map((b) => b.y));
  const right = Math.max(...all.map((b) => b.x + b.width));
  const bottom = Math.max(...all.map((b) => b.y + b.height));
  return { left, top, right, bottom, width: right - left, height: bottom - top };
};
const within = (group, names) => [...group.children].filter((part) => names.test(part.id));
// powers have no place of their own, but that of their group
const holder = (text) => text.closest("g[id*='text_']");
const at = (part, name) => Number(part.getAttribute(name));
const shift = (part, x, y = 0) => {
  part.setAttribute("transform", `translate(${x} ${y}) ${part.getAttribute("transform") || ""}`);
};
// words in lines of some width, of which the first begins higher by a part of what was added
const wrap = (text, width, up) => {
  const words = text.textContent.split(" "), lines = [""];
  const most = 0.95 * text.textContent.length * width / text.getComputedTextLength();
  for (const word of words) {
    const longer = `${lines.at(-1)} ${word}`.trim();
    if (longer.length <= most || !lines.at(-1)) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  if (lines.length < 2) return 1;
  text.textContent = "";
  lines.forEach((line, i) => {
    const part = document.createElementNS(NS, "tspan");
    part.setAttribute("x", text.getAttribute("x"));
    part.setAttribute("dy", `${i ? 1.15 : -1.15 * up * (lines.length - 1)}em`);
    part.textContent = line;
    text.append(part);
  });
  return lines.length;
};
const reflow = (legend, width, floor) => {
  const items = [[]];
  for (const part of legend.children) {
    items.at(-1).push(part);
    if (/text_\d+$/.test(part.id)) items.push([]);
  }
  const rows = [{ items: [], width: 0, lines: 1 }];
  for (const parts of items.filter((one) => one.some((part) => /text_\d+$/.test(part.id)))) {
    const whole = box(parts), text = parts.at(-1).querySelector("text");
    const long = whole.width > width && text.getComputedTextLength();
    const lines = long ? wrap(text, width - whole.width + long, 0) : 1;
    const place = { ...whole, width: box(parts).width }, gap = rows.at(-1).items.length ? 12 : 0;
    if (rows.at(-1).width + gap + place.width > width && gap) {
      rows.push({ items: [], width: 0, lines: 1 });
    }
    const row = rows.at(-1);
    row.lines = Math.max(row.lines, lines);
    row.items.push({ parts, place, left: row.width + gap });
    row.width += gap + place.width;
  }
  let line = floor;
  for (const row of rows.reverse()) {
    line -= 14 * (row.lines - 1);
    for (const { parts, place, left } of row.items) {
      const middle = (place.top + place.bottom) / 2;
      const x = (width - row.width) / 2 + left - place.left;
      for (const part of parts) shift(part, x, line - middle);
    }
    line -= 14;
  }
};
