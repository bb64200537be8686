// On a narrow screen the panels of a figure come one below the other, as wide as the text allows.
// Each is drawn again from the one figure. Panels whose ticks are named on the left or at the bottom of
// all alone get that axis again; those that need their neighbour stay beside it, as scales of colour do.
const MOST_BESIDE = 4;
const axis = (part, along) => ({
  id: part ? part.id : "", place: part ? box([part]) : null,
  named: Boolean(part && part.querySelector("text")),
  said: part ? [...part.querySelectorAll("[id*='tick_'] text")].map((e) => e.textContent).join() : "",
  steps: part ? [...part.querySelectorAll("use")].map((e) => e.getAttribute(along)).join(" ") : "",
});
const panel = (group) => {
  // data may reach beyond the frame, where it is not drawn; the first patch is the ground
  const own = within(group, /(axis_\d+|text_\d+|legend_\d+)$/);
  const ground = within(group, /patch_\d+$/)[0], [across, upright] = within(group, /axis_\d+$/);
  return {
    ...box(ground ? [ground, ...own] : own), id: group.id, ground: box(ground ? [ground] : own),
    across: axis(across, "x"), upright: axis(upright, "y"),
  };
};
// whose axis a panel can take, as it has the same steps: the nearest on the left, or below
const lender = (one, panels, way, lies) => (one[way].named || !one[way].steps ? null : lies(
  panels.filter((other) => other[way].named && other[way].steps === one[way].steps),
));
const beside = (one, panels) => lender(one, panels, "upright", (others) => others.findLast(
  (other) => other.ground.left < one.ground.left && other.ground.left > other.upright.place.left,
));
const under = (one, panels) => lender(one, panels, "across", (others) => others.find(
  (other) => other.ground.top > one.ground.top && other.ground.bottom < other.across.place.bottom,
)) || common(one, panels);
// steps from where a panel begins, and that of a column which ends early: what all with its steps say
const places = ({ across, ground }) => across.steps.split(" ").map((x) => Number(x) - ground.left);
const common = (one, panels) => {
  if (one.across.named || !one.across.steps) return null;
  const own = places(one), others = panels.filter((other) => {
    const theirs = other.across.named ? places(other) : [];
    return theirs.length === own.length && own.every((x, i) => Math.abs(x - theirs[i]) < 0.1);
  });
  return others.every(({ across }) => across.said === others[0].across.said) ? others.at(-1) : null;
};
// the panel with room for what it takes
const whole = (one, panels) => {
  const left = beside(one, panels), below = under(one, panels), borrowed = [];
  const room = { left: one.left, right: one.right, top: one.top, bottom: one.bottom };
  if (left) {
    const by = one.ground.left - left.ground.left;
    room.left = Math.min(room.left, left.upright.place.left + by);
    borrowed.push({ id: left.upright.id, by: `${by} 0` });
  }
  if (below) {
    const by = one.ground.bottom - below.ground.bottom;
    const over = one.ground.left - below.ground.left, { place } = below.across;
    room.left = Math.min(room.left, place.left + over);
    room.right = Math.max(room.right, place.right + over);
    room.bottom = Math.max(room.bottom, place.bottom + by);
    borrowed.push({ id: below.across.id, by: `${over} ${by}` });
  }
  return { ...room, id: one.id, borrowed };
};
// whether two stand in one row: words of one may reach a little into the next
const level = (a, b) => Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top)
  > 0.1 * Math.min(a.height, b.height);
const windows = (svg) => {
  const figure = svg.querySelector(":scope > g[id$='figure_1']");
  if (!figure) return [];
  const groups = within(figure, /axes_\d+$/);
  if (groups.length < 2) return [];
  // places of a grid that hold nothing are panels too
  const panels = groups.map(panel).filter((one) => Number.isFinite(one.left));
  const width = svg.viewBox.baseVal.width;
  const told = panels.map((one) => (
    one.upright.named || !one.upright.steps || Boolean(beside(one, panels))
  ));
  const alone = panels.every((one, i) => one.width > width / 7 && panels.every((other, k) => {
    if (i === k) return true;
    const across = Math.min(one.right, other.right) - Math.max(one.left, other.left);
    if (!level(one, other)) return true;
    return across < 0.1 * Math.min(one.width, other.width) && told[i] === told[k];
  }));
  if (!alone || panels.every((one) => one.width > 0.6 * width)) return [];
  const others = within(figure, /(text_\d+|legend_\d+)$/).map((part) => {
    const place = box([part]), upright = /text_/.test(part.id) && place.height > place.width;
    if (!upright) return { ...place, id: part.id, over: true };
    const top = Math.min(...panels.map((one) => one.top)) - 1;
    return { ...place, top, bottom: top, height: 0, said: part.textContent.trim() };
  });
  return [...others, ...panels].sort((a, b) => (
    level(a, b) ? a.left - b.left : a.top - b.top
  )).map((one) => {
    const frame = document.createElement("div");
    if (one.said) { // what stands upright beside all panels is told above them
      frame.textContent = `↑ ${one.said}`;
      frame.className = "said";
      frame.style.flexBasis = "100%";
      return frame;
    }
    const { left, right, top, bottom, borrowed } = one.over ? { ...one, borrowed: [] } : whole(one, panels);
    const view = document.createElementNS(NS, "svg"), wide = right - left + 6, high = bottom - top + 6;
    view.setAttribute("viewBox", [left - 3, top - 3, wide, high].join(" "));
    view.style.aspectRatio = `${wide} / ${high}`;
    view.style.maxWidth = `${(one.over ? 1 : 1.4) * wide}px`;
    // what stands over all panels keeps its size, and scrolls
    view.style.minWidth = one.over ? `${0.8 * wide}px` : "";
    frame.style.flexBasis = one.over ? "100%" : `${0.85 * wide}px`;
    for (const { id, by } of [{ id: one.id }, ...borrowed]) {
      const use = document.createElementNS(NS, "use");
      use.setAttribute("href", `#${id}`);
      if (by) use.setAttribute("transform", `translate(${by})`);
      view.append(use);
    }
    frame.append(view);
    return frame;
  });
};
// a legend wider than the screen is drawn once more, in the lines that it needs
const unfold = (place) => {
  for (const view of place.querySelectorAll("svg")) {
    const use = view.firstElementChild, id = use.getAttribute("href").slice(1);
    const room = place.clientWidth;
    if (!/legend_\d+$/.test(id) || view.viewBox.baseVal.width <= room) continue;
    const copy = document.getElementById(id).cloneNode(true);
    for (const part of [copy, ...copy.querySelectorAll("[id]")]) part.id = `again-${part.id}`;
    use.replaceWith(copy);
    reflow(copy, room - 6, 0);
    const { top, height } = box([copy]), high = height + 6;
    view.setAttribute("viewBox", [-3, top - 3, room, high].join(" "));
    view.style.aspectRatio = `${room} / ${high}`;
    view.style.maxWidth = `${room}px`;
    view.style.minWidth = "0";
  }
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
    unfold(place);
  }
};
const arrange = () => { if (narrow.matches) stack(); };
narrow.addEventListener("change", arrange);
arrange();
