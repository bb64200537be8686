"use strict";
// One switch shows all code, which is not seen before; where a notebook broke, its code always is.
const button = document.getElementById("code-switch");
if (button) {
  button.hidden = false;
  document.documentElement.classList.add("bare");
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(open));
    document.documentElement.classList.toggle("bare", !open);
    button.textContent = open ? "Hide code" : "Show code";
    document.querySelectorAll("details.code").forEach((cell) => { cell.open = open; });
  });
}
// The contents list is folded where it would push the page down, and follows the reader elsewhere.
const contents = document.querySelector(".contents details");
const wide = matchMedia("(min-width: 72rem)");
const fold = () => { if (contents) contents.open = wide.matches; };
wide.addEventListener("change", fold);
fold();
const links = [...document.querySelectorAll(".contents a")];
const targets = links.map((link) => document.getElementById(decodeURIComponent(link.hash.slice(1))));
const follow = () => {
  const end = scrollY + innerHeight >= document.documentElement.scrollHeight - 4;
  let current = 0;
  targets.forEach((target, i) => {
    if (target && (end ? i === targets.length - 1 : target.getBoundingClientRect().top < 120)) current = i;
  });
  links.forEach((link, i) => {
    if (i === current) link.setAttribute("aria-current", "location");
    else link.removeAttribute("aria-current");
  });
};
let waiting = false;
addEventListener("scroll", () => {
  if (!waiting) requestAnimationFrame(() => { waiting = false; follow(); });
  waiting = true;
}, { passive: true });
follow();
