// A click on the head of a column sorts the table by it: numbers by size, what has none comes last.
document.querySelectorAll("table.sortable").forEach(table => table.tHead.addEventListener("click", event => {
  const head = event.target.closest("th"); if (!head) return;
  const down = head.getAttribute("aria-sort") === "ascending", at = head.cellIndex;
  table.querySelectorAll("thead th").forEach(th => th.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = row => row.cells[at].textContent.trim(), body = table.tBodies[0];
  const compare = (a, b) => {
    const x = key(a), y = key(b), m = parseFloat(x), n = parseFloat(y);
    if (!x || !y) return (x ? 0 : 1) - (y ? 0 : 1);
    const order = isNaN(m) || isNaN(n) ? x.localeCompare(y) : m - n;
    return down ? -order : order;
  };
  Array.from(body.rows).sort(compare).forEach(row => body.append(row));
}));
