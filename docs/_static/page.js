// A button in the corner of every block of code copies it.
document.addEventListener("DOMContentLoaded", () => {
  // On a phone the cells of a row stand below each other: each names its column.
  for (const table of document.querySelectorAll("table:not(.dataframe)")) {
    const names = [...table.querySelectorAll("thead th")].map(th => th.textContent.trim());
    for (const row of table.querySelectorAll("tbody tr")) {
      [...row.cells].forEach((cell, i) => { if (i && names.length > 2 && names[i]) cell.dataset.column = names[i]; });
    }
  }
  for (const block of document.querySelectorAll("div.highlight")) {
    if (block.closest(".cell_output") || block.closest(".highlight-text")) continue;
    const button = document.createElement("button");
    button.className = "copy-code"; button.type = "button"; button.textContent = "copy";
    button.setAttribute("aria-label", "copy this code");
    button.onclick = async () => {
      await navigator.clipboard.writeText(block.querySelector("pre").textContent);
      button.textContent = "copied"; setTimeout(() => { button.textContent = "copy"; }, 1200);
    };
    block.style.position = "relative"; block.append(button);
  }
});
