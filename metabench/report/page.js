// Sorting and filtering of tables: a comfort, nothing on the page depends on it.
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const say = document.createElement("span");
  say.setAttribute("role", "status");
  const value = (row, i) => {
    const text = row.cells[i].textContent.trim();
    const found = parseFloat(text);
    return { text, number: Number.isNaN(found) ? Infinity : found };
  };
  heads.forEach((head, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const sign = down ? -1 : 1;
      const rows = [...body.rows].map((row) => ({ row, ...value(row, i) }));
      rows.sort((a, b) => {
        if (a.number === b.number) return sign * a.text.localeCompare(b.text, "en", { numeric: true });
        if (a.number === Infinity || b.number === Infinity) return a.number - b.number;
        return sign * (a.number - b.number);
      });
      body.append(...rows.map(({ row }) => row));
    });
  });
  if (body.rows.length > 5) {
    const label = document.createElement("label");
    label.className = "filter";
    const input = document.createElement("input");
    input.type = "search";
    label.append("Filter rows ", input, " ", say);
    table.closest(".block").prepend(label);
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/);
      let shown = 0;
      for (const row of body.rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      say.textContent = input.value ? `${shown} of ${body.rows.length} rows` : "";
    });
  }
}
