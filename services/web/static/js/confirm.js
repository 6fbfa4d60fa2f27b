// Questions before something goes for good; the answer that keeps it has the focus.

import { $, el } from "./dom.js";

// Left to the browser, Escape can close the dialog below at the same time.
$("confirm").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  event.preventDefault();
  $("confirm").close();
});

/** Ask before a task is deleted. */
export function confirmDelete(task) {
  const repeats = task.recurrence_rule && task.status === "open" ? " It repeats: its series ends with it." : "";
  return ask({ title: "Delete this task?", words: ["“", el("bdi", {}, task.title), `” will be gone.${repeats}`], yes: "Delete", no: "Keep it" });
}

/** Ask; whether the answer is yes. `words` are texts and nodes. */
export function ask({ title, words, yes, no }) {
  $("confirm-title").textContent = title;
  $("confirm-words").replaceChildren(...words);
  $("confirm-yes").textContent = yes;
  $("confirm-no").textContent = no;
  const dialog = $("confirm");
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((answer) => {
    const closed = () => {
      // The last question's closing is told late; this one is still open.
      if (dialog.open) return;
      dialog.removeEventListener("close", closed);
      answer(dialog.returnValue === "yes");
    };
    dialog.addEventListener("close", closed);
  });
}
