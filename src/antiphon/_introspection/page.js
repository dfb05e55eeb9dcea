"use strict";

const find = (selector, root = document) => [...root.querySelectorAll(selector)];
const getFlags = (element) => (element.dataset.flags ?? "").split(" ");

const filter = document.getElementById("filter");
const boxes = find("[data-show]");
const folds = find("details");
const openButton = document.getElementById("open");
// How many rows of a group are shown at first.
const rowLimit = matchMedia("(max-width: 48em)").matches ? 20 : 50;
const groups = find(".group").map((group) => {
  const head = group.querySelector(".head").textContent.toLowerCase();
  const flags = getFlags(group);
  const items = find(".item", group).map((item) => ({
    element: item,
    text: `${head} ${item.textContent.toLowerCase()}`,
    flags: [...flags, ...getFlags(item)],
  }));
  // A group without items is its own item.
  const found = { element: group, items: items.length ? items : [{ element: group, text: head, flags }], limit: rowLimit };
  if (items.length > found.limit) {
    found.more = document.createElement("button");
    found.more.className = "more";
    found.more.addEventListener("click", () => {
      found.limit = Infinity;
      update();
    });
    group.append(found.more);
  }
  return found;
});

let openBefore = null;

function update() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const selected = boxes.filter((box) => box.checked).map((box) => box.dataset.show);
  const isFiltered = words.length + selected.length > 0;
  let total = 0;
  let visible = 0;
  for (const group of groups) {
    let matches = 0;
    for (const { element, text, flags } of group.items) {
      const match =
        words.every((word) => text.includes(word)) && (!selected.length || selected.some((flag) => flags.includes(flag)));
      matches += match;
      element.hidden = !match || matches > group.limit;
    }
    if (group.more) {
      group.more.hidden = matches <= group.limit;
      group.more.textContent = `Show all ${matches} rows`;
    }
    group.element.hidden = isFiltered && !matches;
    total += group.items.length;
    visible += matches;
  }
  document.getElementById("count").textContent = isFiltered ? `${visible} of ${total} rows` : `${total} rows`;

  // A filter opens what it finds. Without a filter, everything is as it was.
  if (isFiltered) {
    openBefore ??= folds.map((fold) => fold.open);
    folds.forEach((fold) => (fold.open = true));
  } else if (openBefore) {
    folds.forEach((fold, number) => (fold.open = openBefore[number]));
    openBefore = null;
  }
  labelButton();
}

function labelButton() {
  openButton.hidden = !folds.length;
  openButton.textContent = folds.every((fold) => fold.open) ? "Close all" : "Open all";
}

function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target?.matches("details")) {
    target.open = true;
    target.parentNode.open = true;
    target.scrollIntoView();
  }
}

function sortBy(header) {
  const table = header.closest("table");
  const column = [...header.parentNode.children].indexOf(header);
  const isNumber = header.classList.contains("number");
  const before = header.getAttribute("aria-sort");
  // Numbers start with the largest one.
  const isAscending = before ? before === "descending" : !isNumber;
  find("th", table).forEach((each) => each.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", isAscending ? "ascending" : "descending");
  const getValue = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const compare = isNumber
    ? (one, other) => getValue(one) - getValue(other)
    : (one, other) => getValue(one).localeCompare(getValue(other));
  const rows = [...table.tBodies[0].rows].sort((one, other) => (isAscending ? compare(one, other) : compare(other, one)));
  table.tBodies[0].append(...rows);
  const group = groups.find(({ element }) => element.contains(table));
  const items = new Map(group.items.map((item) => [item.element, item]));
  group.items = rows.map((row) => items.get(row));
  update();
}

filter.addEventListener("input", update);
boxes.forEach((box) => box.addEventListener("change", update));
folds.forEach((fold) => fold.addEventListener("toggle", labelButton));
openButton.addEventListener("click", () => {
  const open = !folds.every((fold) => fold.open);
  folds.forEach((fold) => (fold.open = open));
});
find("th button").forEach((button) => button.addEventListener("click", () => sortBy(button.parentNode)));
window.addEventListener("hashchange", openTarget);
document.querySelector(".tools").hidden = false;
update();
openTarget();
