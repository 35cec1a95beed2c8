// A button in the corner of every block of code copies it.
document.addEventListener("DOMContentLoaded", () => {
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
