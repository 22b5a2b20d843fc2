for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("thead th").forEach((head, column) => {
    let down = false;
    head.addEventListener("click", () => {
      down = !down;
      const body = table.tBodies[0];
      const key = (row) => row.cells[column].dataset.value === undefined
        ? row.cells[column].textContent : Number(row.cells[column].dataset.value);
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        return (x > y ? 1 : x < y ? -1 : 0) * (down ? -1 : 1);
      });
      body.append(...rows);
    });
  });
}
