"use strict";
const filter = document.getElementById("filter");
const words = document.getElementById("words");
const status = document.getElementById("status");
const shown = document.getElementById("shown");
const rows = [...document.querySelectorAll("tbody tr:not(.more)")];
const follower = (row) => row.nextElementSibling?.matches(".more") ? row.nextElementSibling : null;
// What a row and its study say, by name: columns of the table, and settings all its runs share.
const said = (row) => {
  const found = new Map([["seed", row.dataset.seed]]);
  for (const e of row.closest(".study").querySelectorAll(".about [data-key]")) {
    found.set(e.dataset.key.toLowerCase(), e.querySelector("code").textContent);
  }
  for (const cell of row.cells) {
    const key = cell.dataset.label?.toLowerCase();
    if (!key) continue;
    const text = key === "run" ? (cell.firstElementChild ?? cell).textContent : cell.textContent;
    found.set(key, key === "status" ? row.dataset.status : cell.dataset.value ?? text);
  }
  return found;
};
const facts = new Map(rows.map((row) => [row, said(row)]));
const texts = new Map(rows.map((row) => {
  const shared = row.closest(".study").querySelectorAll("h2, .question, .answer, .about");
  const own = [...row.cells].filter((cell) => cell.matches(".setting"));
  return [row, [row.dataset.words, ...[...shared, ...own].map((e) => e.textContent)].join(" ").toLowerCase()];
}));
// A condition is a name, a sign and a value; all else are words.
const CONDITION = /("[^"]+"|[^\s<>=]+)\s*(<=|>=|<|>|=)\s*(\S+)/g;
const compare = {
  "<": (x, y) => x < y, "<=": (x, y) => x <= y, ">": (x, y) => x > y, ">=": (x, y) => x >= y,
  "=": (x, y) => x === y,
};
const holds = (row, [, name, sign, wanted]) => {
  const key = name.replaceAll('"', "");
  const known = facts.get(row);
  const values = known.has(key) ? [known.get(key)] : [...known.keys()].filter((k) => k.includes(key)).map((k) => known.get(k));
  return values.some((value) => {
    const [x, y] = [value.trim(), wanted].map((v) => v === "" ? NaN : Number(v.replaceAll("−", "-")));
    if (!isNaN(x) && !isNaN(y)) return compare[sign](x, y);
    return sign === "=" && value.trim().toLowerCase() === wanted;
  });
};
const apply = () => {
  const text = words.value.toLowerCase();
  const conditions = [...text.matchAll(CONDITION)];
  const wanted = text.replace(CONDITION, " ").split(/\s+/).filter(Boolean);
  let count = 0;
  for (const row of rows) {
    const keep = wanted.every((w) => texts.get(row).includes(w)) && conditions.every((c) => holds(row, c))
      && (!status.value || row.dataset.status === status.value);
    row.hidden = !keep;
    if (follower(row)) follower(row).hidden = !keep;
    count += keep;
  }
  for (const study of document.querySelectorAll(".study")) {
    study.hidden = !study.querySelector("tbody tr:not([hidden])");
  }
  shown.textContent = count === rows.length ? "" : `${count} of ${rows.length} runs`;
};
document.getElementById("example")?.addEventListener("click", (event) => {
  words.value = event.target.textContent;
  apply();
  words.focus();
});
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
