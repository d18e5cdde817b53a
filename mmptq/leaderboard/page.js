"use strict";
// Sorts, filters and tells; the page is complete without it.
document.documentElement.classList.add("js");
const tip = document.getElementById("tip");

for (const board of document.querySelectorAll("section.board")) {
  const body = board.querySelector("tbody");
  const rows = [...body.rows];
  const byId = new Map(rows.map((row) => [row.id, row]));
  const points = [...board.querySelectorAll(".pt")];
  const selects = [...board.querySelectorAll("select.filter")];

  // --- sort: numbers by value, text as people read it, cells without a value last
  const headings = [...board.querySelectorAll("thead th")];
  const value = (row, column) => row.cells[column].dataset.v ?? "";
  const sort = (column, sign) => {
    const numeric = headings[column].dataset.kind === "number";
    const order = (a, b) => {
      const [x, y] = [value(a, column), value(b, column)];
      if (x === "" || y === "") return (x === "") - (y === "");
      return sign * (numeric ? x - y : x.localeCompare(y, undefined, { numeric: true }));
    };
    body.append(...[...body.rows].sort(order));
    headings.forEach((th, i) => {
      if (i === column) th.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      else th.removeAttribute("aria-sort");
    });
  };
  headings.forEach((th, column) => {
    const button = th.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const before = th.getAttribute("aria-sort");
      const first = th.dataset.kind === "number" ? -1 : 1; // of numbers the best is wanted first
      sort(column, before ? (before === "ascending" ? -1 : 1) : first);
    });
  });

  const sorter = board.querySelector("select.sort"); // of cards, which have no headings
  sorter.addEventListener("change", () => {
    const column = +sorter.value;
    sort(column, headings[column].dataset.kind === "number" ? -1 : 1);
  });

  // --- filter: float and min-max stay beside what is left
  const filter = () => {
    const wanted = selects.filter((s) => s.value !== "");
    const hits = rows.filter((row) => wanted.every((s) => row.dataset[s.name] === s.value));
    const shown = new Set(hits);
    for (const row of hits) {
      for (const id of [row.dataset.float, row.dataset.minmax]) {
        if (byId.has(id)) shown.add(byId.get(id));
      }
    }
    for (const row of rows) row.hidden = !shown.has(row);
    for (const point of points) point.toggleAttribute("hidden", !shown.has(byId.get(point.dataset.row)));
    for (const svg of board.querySelectorAll(".plots svg[role=img]")) drawFront(svg);
    board.querySelector("output").textContent = `${shown.size} of ${rows.length} rows`;
  };
  const drawFront = (svg) => {
    const left = [...svg.querySelectorAll(".pt:not([hidden])")].map((p) => p.dataset);
    left.sort((a, b) => a.x - b.x || b.y - a.y);
    let best = -Infinity;
    const front = left.filter((p) => +p.y > best && ((best = +p.y), true));
    svg.querySelector(".front").setAttribute("points", front.map((p) => p.at).join(" "));
  };
  for (const select of selects) select.addEventListener("change", filter);
  board.querySelector("button.all").addEventListener("click", () => {
    for (const select of selects) select.value = "";
    filter();
  });
  filter();

  // --- hover: a point tells its row, and both are marked
  const mark = (id, on) => {
    byId.get(id).classList.toggle("on", on);
    for (const p of points) if (p.dataset.row === id) p.classList.toggle("on", on);
  };
  for (const point of points) {
    const title = point.querySelector("title");
    const text = title.textContent;
    title.remove(); // the browser would show it a second time
    point.setAttribute("aria-label", text);
    const show = () => {
      mark(point.dataset.row, true);
      tip.textContent = text.replaceAll("; ", "\n");
      tip.hidden = false;
      const at = point.getBoundingClientRect();
      const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
      tip.style.left = `${Math.max(4, Math.min(at.right + 8, room))}px`;
      const above = at.top - tip.offsetHeight - 8;
      tip.style.top = `${above > 4 ? above : at.bottom + 8}px`;
    };
    const hide = () => {
      mark(point.dataset.row, false);
      tip.hidden = true;
    };
    point.addEventListener("mouseenter", show);
    point.addEventListener("focus", show);
    point.addEventListener("mouseleave", hide);
    point.addEventListener("blur", hide);
  }
  for (const row of rows) {
    row.addEventListener("mouseenter", () => mark(row.id, true));
    row.addEventListener("mouseleave", () => mark(row.id, false));
    // The details of a row lie below, folded.
    row.querySelector("a.more").addEventListener("click", () => {
      document.getElementById(`${row.id}-details`).open = true;
    });
  }
}
