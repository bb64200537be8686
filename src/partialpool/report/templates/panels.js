// On a narrow screen the panels of a figure come one below the other, as wide as the text allows.
// Each is drawn again from the one figure. Panels of a row whose ticks are named on the left alone get
// that axis again; those that need their neighbour stay beside it, as scales of colour do.
const NS = "http://www.w3.org/2000/svg";
const MOST_BESIDE = 4;
const narrow = matchMedia("(max-width: 44rem)");
const box = (parts) => {
  const all = parts.map((part) => part.getBBox()).filter((b) => b.width || b.height);
  const left = Math.min(...all.map((b) => b.x)), top = Math.min(...all.map((b) => b.y));
  const right = Math.max(...all.map((b) => b.x + b.width));
  const bottom = Math.max(...all.map((b) => b.y + b.height));
  return { left, top, right, bottom, width: right - left, height: bottom - top };
};
const within = (group, names) => [...group.children].filter((part) => names.test(part.id));
const panel = (group) => {
  // data may reach beyond the frame, where it is not drawn; the first patch is the ground
  const own = within(group, /(axis_\d+|text_\d+|legend_\d+)$/);
  const ground = within(group, /patch_\d+$/)[0], upright = within(group, /axis_\d+$/)[1];
  const named = Boolean(upright && upright.querySelector("text"));
  const steps = upright ? [...upright.querySelectorAll("use")].map((e) => e.getAttribute("y")) : [];
  return {
    ...box(ground ? [ground, ...own] : own), named, id: group.id, steps: steps.join(" "),
    start: ground ? box([ground]).left : NaN, axis: upright ? upright.id : "",
  };
};
// the axis of the nearest panel on the left with the same steps, and room for it
const borrow = (one, panels) => {
  const lender = panels.findLast((other) => other.named && other.steps && other.start < one.start
    && other.steps === one.steps && other.start > other.left);
  if (one.named || !one.steps || !lender) return one;
  const left = Math.min(one.left, one.start - lender.start + lender.left);
  return {
    ...one, named: true, left, width: one.right - left,
    borrowed: { id: lender.axis, by: one.start - lender.start },
  };
};
const windows = (svg) => {
  const whole = svg.querySelector(":scope > g[id$='figure_1']");
  if (!whole) return [];
  const groups = within(whole, /axes_\d+$/);
  if (groups.length < 2) return [];
  // places of a grid that hold nothing are panels too
  const drawn = groups.map(panel).filter((one) => Number.isFinite(one.left));
  const width = svg.viewBox.baseVal.width;
  const panels = drawn.map((one) => borrow(one, drawn));
  const alone = panels.every((one, i) => one.width > width / 7 && panels.every((other, k) => {
    if (i === k) return true;
    const across = Math.min(one.right, other.right) - Math.max(drawn[i].left, drawn[k].left);
    const down = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
    if (down <= 0) return true;
    return across < 0.1 * Math.min(one.width, other.width) && one.named === other.named;
  }));
  if (!alone || panels.every((one) => one.width > 0.6 * width)) return [];
  const others = within(whole, /(text_\d+|legend_\d+)$/).map((part) => {
    const place = box([part]), upright = /text_/.test(part.id) && place.height > place.width;
    if (!upright) return { ...place, id: part.id, across: true };
    const top = Math.min(...panels.map((one) => one.top)) - 1;
    return { ...place, top, bottom: top, said: part.textContent.trim() };
  });
  return [...others, ...panels].sort((a, b) => (
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 0 ? a.left - b.left : a.top - b.top
  )).map((one) => {
    const frame = document.createElement("div");
    if (one.said) { // what stands upright beside all panels is told above them
      frame.textContent = `↑ ${one.said}`;
      frame.className = "said";
      frame.style.flexBasis = "100%";
      return frame;
    }
    const view = document.createElementNS(NS, "svg");
    const use = document.createElementNS(NS, "use"), wide = one.width + 6, high = one.height + 6;
    view.setAttribute("viewBox", [one.left - 3, one.top - 3, wide, high].join(" "));
    view.style.aspectRatio = `${wide} / ${high}`;
    view.style.maxWidth = `${(one.across ? 1 : 1.4) * wide}px`;
    // what stands over all panels keeps its size, and scrolls
    view.style.minWidth = one.across ? `${0.8 * wide}px` : "";
    frame.style.flexBasis = one.across ? "100%" : `${0.85 * wide}px`;
    use.setAttribute("href", `#${one.id}`);
    view.append(use);
    if (one.borrowed) {
      const axis = document.createElementNS(NS, "use");
      axis.setAttribute("href", `#${one.borrowed.id}`);
      axis.setAttribute("transform", `translate(${one.borrowed.by} 0)`);
      view.append(axis);
    }
    frame.append(view);
    return frame;
  });
};
const stack = () => {
  for (const figure of document.querySelectorAll("figure")) {
    const svg = figure.querySelector(":scope > svg");
    if (!svg || figure.querySelector(".windows") || !svg.getBoundingClientRect().width) continue;
    const found = windows(svg);
    if (!found.length) continue;
    const place = document.createElement("div");
    place.className = "windows";
    place.setAttribute("aria-hidden", "true");
    place.append(...found);
    // fillers of no height: or the last row, if it has fewer panels, would draw them larger
    const last = found.findLast((frame) => frame.style.flexBasis !== "100%");
    for (let i = 1; i < MOST_BESIDE; i++) {
      const filler = document.createElement("div");
      filler.className = "filler";
      filler.style.flexBasis = last.style.flexBasis;
      last.after(filler);
    }
    figure.append(place);
    figure.classList.add("stacked");
  }
};
const arrange = () => { if (narrow.matches) stack(); };
narrow.addEventListener("change", arrange);
arrange();
