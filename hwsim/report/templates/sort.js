// Sort a table by the column whose heading is activated; numbers by data-v, others by text.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (head.classList.contains("nosort")) return;
    head.tabIndex = 0;
    head.setAttribute("aria-sort", "none");
    const value = (row) => {
      const cell = row.cells[column];
      const text = cell.dataset.v ?? cell.textContent.trim();
      return text !== "" && isFinite(text) ? Number(text) : text.toLowerCase();
    };
    const sort = () => {
      const start = head.classList.contains("num") && column > 0 ? "descending" : "ascending";
      const other = start === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === start ? other : start;
      heads.forEach((h) => h.hasAttribute("aria-sort") && h.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;
        return x < y ? -sign : x > y ? sign : 0;
      });
      table.tBodies[0].append(...rows);
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
    });
  });
}
