"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("script");
  const each = (selector, act) => document.querySelectorAll(selector).forEach(act);

  // Theme: the reader's system decides until the button is used.
  const theme = document.getElementById("theme");
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const name = () => { theme.textContent = dark() ? "Light" : "Dark"; };
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; name(); });
  name();

  const table = document.getElementById("matrix");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const said = document.getElementById("count");

  // Sorting: numbers by data-v, texts otherwise; what was not measured always comes last.
  const value = (row, place, numeric) => {
    const cell = row.cells[place];
    const text = cell.dataset.v === undefined ? cell.textContent.trim().toLowerCase() : cell.dataset.v;
    return text === "" ? null : numeric ? Number(text) : text;
  };
  const sort = (head) => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    const place = head.cellIndex;
    const numeric = head.dataset.numeric === "1";
    each("#matrix thead th", (other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    rows.map((row, order) => ({ row, order, key: value(row, place, numeric) }))
      .sort((a, b) => {
        if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.order - b.order;
        const difference = numeric ? a.key - b.key : a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
        return (up ? difference : -difference) || a.order - b.order;
      })
      .forEach(({ row }) => body.append(row));
    each("#matrix tr.model-start", (row) => row.classList.remove("model-start"));
    said.textContent = `${shown()}, sorted by ${head.textContent.trim()}, ${up ? "smallest" : "largest"} first`;
  };
  each("#matrix thead th button", (button) => button.addEventListener("click", () => sort(button.closest("th"))));

  // Filters: every choice narrows; pictures of other models go with their rows.
  const search = document.getElementById("search");
  const choices = Array.from(document.querySelectorAll(".controls select"));
  const shown = () => `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row) => {
      const text = row.dataset.text;
      row.hidden = !words.every((word) => text.includes(word)) ||
        !choices.every((choice) => choice.value === "" || row.dataset[choice.dataset.key] === choice.value);
    });
    const models = new Set(rows.filter((row) => !row.hidden).map((row) => row.dataset.model));
    each("figure[data-model]", (figure) => figure.classList.toggle("hide", !models.has(figure.dataset.model)));
    said.textContent = shown();
  };
  search.addEventListener("input", filter);
  choices.forEach((choice) => choice.addEventListener("change", filter));
  document.getElementById("reset").addEventListener("click", () => {
    search.value = "";
    choices.forEach((choice) => { choice.value = ""; });
    filter();
    search.focus();
  });
  each(".controls input[data-group]", (box) => box.addEventListener("change", () => {
    each(`#matrix .extra.g-${box.dataset.group}`, (cell) => { cell.style.display = box.checked ? "table-cell" : ""; });
  }));
  said.textContent = shown();
})();
