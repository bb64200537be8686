// What scrolls sideways, and only that: the keyboard stops there, and its edges say that there is more.
const edges = (box) => {
  const more = box.scrollWidth - box.clientWidth;
  box.classList.toggle("before", more > 1 && box.scrollLeft > 1);
  box.classList.toggle("beyond", more > 1 && box.scrollLeft < more - 1);
  if (more > 1) box.tabIndex = 0;
  else box.removeAttribute("tabindex");
};
const boxes = new ResizeObserver((seen) => seen.forEach(({ target }) => edges(target)));
for (const box of document.querySelectorAll("[tabindex='0']")) {
  boxes.observe(box);
  box.addEventListener("scroll", () => edges(box), { passive: true });
}
