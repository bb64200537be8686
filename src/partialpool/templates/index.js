"use strict";
const filter = document.getElementById("filter");
const words = document.getElementById("words");
const status = document.getElementById("status");
const shown = document.getElementById("shown");
const rows = [...document.querySelectorAll("tbody tr:not(.more)")];
const follower = (row) => row.nextElementSibling?.matches(".more") ? row.nextElementSibling : null;
// `Days>10` asks a column of numbers, `method=nutpie` one of words; anything else is a word.
const tests = {
  ">": (a, b) => a > b, "<": (a, b) => a < b, ">=": (a, b) => a >= b, "<=": (a, b) => a <= b,
  "=": (a, b) => a === b,
};
const ask = (word) => {
  const [, name, sign, bound] = word.match(/^(.+?)(>=|<=|>|<|=)(.+)$/) ?? [];
  if (!name) return (row) => row.dataset.words.toLowerCase().includes(word);
  return (row) => {
    const cell = [...row.cells].find((c) => c.dataset.label?.toLowerCase() === name);
    if (!cell) return false;
    const value = (cell.dataset.value ?? cell.textContent).trim().toLowerCase();
    const numbers = value !== "" && !isNaN(value) && !isNaN(bound);
    return numbers ? tests[sign](+value, +bound) : sign === "=" && value === bound;
  };
};
const apply = () => {
  const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean).map(ask);
  let count = 0;
  for (const row of rows) {
    const keep = wanted.every((holds) => holds(row)) && (!status.value || row.dataset.status === status.value);
    row.hidden = !keep;
    if (follower(row)) follower(row).hidden = !keep;
    count += keep;
  }
  for (const study of document.querySelectorAll(".study")) {
    study.hidden = !study.querySelector("tbody tr:not([hidden])");
  }
  shown.textContent = count === rows.length ? "" : `${count} of ${rows.length} runs`;
};
if (rows.length > 1) filter.hidden = false;
filter.addEventListener("submit", (event) => event.preventDefault());
words.addEventListener("input", apply);
status.addEventListener("change", apply);
// Every column header sorts its table; a second press turns the order round.
for (const head of document.querySelectorAll("th[data-sort]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = head.textContent;
  head.replaceChildren(button);
  button.addEventListener("click", () => {
    const key = head.dataset.sort;
    const down = head.getAttribute("aria-sort") === "ascending";
    const body = head.closest("table").tBodies[0];
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => {
      const cell = [...row.cells].find((c) => c.dataset.label === key);
      return cell ? (cell.dataset.value ?? cell.textContent) : "";
    };
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = isNaN(x) || isNaN(y) ? String(x).localeCompare(String(y)) : x - y;
      return down ? -order : order;
    };
    const sorted = [...body.rows].filter((r) => !r.matches(".more")).map((r) => [r, follower(r)]);
    sorted.sort((a, b) => compare(a[0], b[0]));
    for (const pair of sorted) body.append(...pair.filter(Boolean));
  });
}
