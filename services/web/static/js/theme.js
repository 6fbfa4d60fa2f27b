// Runs before the first paint: the appearance that was chosen here, else the system's.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("todo.theme");
  } catch {
    // Storage may be forbidden; the system's choice is good too.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
