// The task dialog: new and edit, with one key for each save, and both sides shown when two people edited.

import { newKey, Problem } from "./api.js";
import { ask } from "./confirm.js";
import { $, el, icon, toast } from "./dom.js";
import * as fields from "./fields.js";
import { moment, reminder, repetition } from "./time.js";

const LABELS = {
  title: "Title",
  description: "Description",
  due_date: "Due",
  priority: "Priority",
  tags: "Tags",
  reminder_offset: "Reminder",
  recurrence_rule: "Repeats",
};

export class Editor {
  #api;
  #onSaved;
  #task = null;
  #version = 0;
  #theirs = null;
  #key = "";
  #sent = "";
  #suspended = false;
  // Deleted elsewhere: what is here can be saved as a new task only.
  #gone = false;
  // Whether the last save failed because nobody answered.
  #away = false;
  // How the fields were when there was nothing to lose; null while the dialog is closed for good.
  #untouched = null;
  // Which opening a save belongs to: its answer may come after the next one.
  #turn = 0;

  constructor(api, onSaved) {
    this.#api = api;
    this.#onSaved = onSaved;
    fields.prepare();
    $("editor-close").append(icon("close"));
    for (const id of ["editor-close", "editor-cancel"]) $(id).addEventListener("click", () => this.#leave());
    this.#guard($("editor"));
    $("editor-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
    $("conflict-mine").addEventListener("click", () => this.#mine());
    $("conflict-theirs").addEventListener("click", () => this.#takeTheirs());
  }

  /** Open for a task, or for a new one with what is known of it; the dialog gives the focus back when it closes. */
  open(task = null, known = {}) {
    this.#task = task;
    this.#version = task?.version || 0;
    this.#gone = false;
    this.#turn += 1;
    this.#sent = "";
    $("editor-title").textContent = task ? "Edit task" : "New task";
    fields.show(task || known);
    this.#untouched = fields.typed();
    this.#busy(false);
    this.#fail("");
    this.#showConflict(null);
    if (!$("editor").open) $("editor").showModal();
    $("f-title").focus();
  }

  /** Whether closing the dialog would lose what somebody typed. */
  get unsaved() {
    return this.#untouched !== null && this.#untouched !== fields.typed();
  }

  /** Close because the session ended; what was typed waits for `resume`. */
  suspend() {
    this.#suspended = $("editor").open;
    $("editor").close();
  }

  /** The same user is back. */
  resume() {
    if (!this.#suspended) return;
    this.#suspended = false;
    $("editor").showModal();
    $("f-title").focus();
    this.#fail("Not saved yet: your session had ended.");
  }

  /** Keep nothing of what was typed: it was another user's. */
  forget() {
    this.#suspended = false;
    this.#untouched = null;
    this.#task = null;
    fields.show({});
  }

  /** Somebody else changed or deleted a task. */
  changed(task) {
    if (!$("editor").open || this.#task?.id !== task.id || task.version <= this.#version) return;
    // News of the save that is under way, perhaps; if it is another's, the save's answer says so.
    if ($("editor-save").disabled) return;
    if (task.status === "deleted") this.#lost();
    else this.#showConflict(task);
  }

  /** Every way out of the dialog that is not a button: Escape, a press beside it, a phone's back gesture. */
  #guard(dialog) {
    let outside = false;
    const onBackdrop = (event) => event.target === dialog;
    dialog.addEventListener("pointerdown", (event) => (outside = onBackdrop(event)));
    // Text that is selected out over the edge ends in a click there, too.
    dialog.addEventListener("click", (event) => outside && onBackdrop(event) && this.#leave());
    const stay = (event) => {
      if (event.target !== dialog || !this.unsaved) return;
      event.preventDefault();
      this.#leave();
    };
    dialog.addEventListener("cancel", stay);
    // A second Escape can't be cancelled as such, but its key can.
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        $("editor-save").click();
      }
      if (event.key !== "Escape" || event.isComposing || !this.unsaved) return;
      event.preventDefault();
      this.#leave();
    });
    dialog.addEventListener("close", () => {
      if (dialog.open || this.#suspended || !this.unsaved) return;
      dialog.showModal();
      this.#leave();
    });
  }

  /** Close; what was typed goes only when somebody says so. */
  async #leave() {
    if ($("confirm").open) return;
    if (this.unsaved && !(await this.#mayDiscard())) return;
    this.#shut();
  }

  #mayDiscard(yes = "Discard") {
    const title = this.#task ? "Discard your changes?" : "Discard this new task?";
    return ask({ title, words: ["What you entered is not saved."], yes, no: "Keep editing" });
  }

  #shut() {
    this.#untouched = null;
    // The save came through while somebody was asked.
    if ($("confirm").open) $("confirm").close();
    $("editor").close();
  }

  async #save() {
    const wanted = fields.read(this.#task || {});
    const lacking = fields.lacking();
    if (lacking.length) {
      fields.complain(lacking);
      return;
    }
    const body = this.#edits ? fields.difference(this.#task, wanted) : fields.newBody(wanted, this.#task?.zone);
    if (this.#edits && !Object.keys(body).length) {
      this.#shut();
      return;
    }
    const turn = this.#turn;
    const here = () => turn === this.#turn && $("editor").open;
    const words = this.#edits ? "Saved" : this.#gone ? "Saved as a new task" : "Added";
    this.#busy(true);
    try {
      const saved = await this.#send(body);
      if (here()) this.#shut();
      this.#onSaved(saved, words);
    } catch (error) {
      if (here()) await this.#refused(error);
      else if (error.status !== 401) tellFailure(error);
      // Whoever saved from the bottom of the dialog would not see it.
      if (!$("editor-error").hidden) $("editor-error").scrollIntoView({ block: "nearest" });
    } finally {
      if (turn === this.#turn) this.#busy(false);
    }
  }

  get #edits() {
    return this.#task && !this.#gone;
  }

  #send(body) {
    // A save that was left in doubt and is sent again is the same one, unless it says something else.
    const said = JSON.stringify([body, this.#version]);
    if (said !== this.#sent) this.#key = newKey();
    this.#sent = said;
    const options = { body, key: this.#key, version: this.#version };
    if (this.#edits) return this.#api.write("PATCH", `/api/tasks/${this.#task.id}`, options);
    return this.#api.write("POST", "/api/tasks", { body, key: this.#key });
  }

  async #refused(error) {
    if (error instanceof Problem && [409, 412].includes(error.status)) {
      await this.#conflict();
      return;
    }
    if (error instanceof Problem && error.status === 404) this.#lost();
    else if (error.fields?.length) {
      const homeless = fields.complain(error.fields);
      this.#fail(homeless.map(({ field, message }) => `${field}: ${message}`).join("; "));
    } else {
      this.#fail(navigator.onLine === false ? "You are offline. Nothing is lost: save again when you are back." : `${error.message} Nothing is lost: save again.`);
      this.#away = !(error instanceof Problem);
    }
  }

  async #conflict() {
    try {
      this.#showConflict(await this.#api.get(`/api/tasks/${this.#task.id}`));
      $("conflict").focus();
    } catch (error) {
      if (error.status === 404) this.#lost();
      else this.#fail(error.message);
    }
  }

  #lost() {
    this.#gone = true;
    this.#showConflict(null);
    this.#busy(false);
    this.#fail("This task was deleted elsewhere. What you see here can be saved as a new one.");
  }

  #showConflict(theirs) {
    this.#theirs = theirs;
    $("conflict").hidden = !theirs;
    if (!theirs) return;
    const before = this.#task;
    const differing = Object.keys(LABELS).filter((name) => JSON.stringify(theirs[name]) !== JSON.stringify(before[name]));
    const rows = differing.flatMap((name) => [el("dt", {}, LABELS[name]), el("dd", {}, words(name, theirs[name]))]);
    if (theirs.status !== before.status) rows.push(el("dt", {}, "Status"), el("dd", {}, theirs.status === "completed" ? "done" : "open again"));
    $("conflict-fields").replaceChildren(...rows);
  }

  /** Save what is in the fields on top of the newest version. */
  #mine() {
    const wanted = fields.read(this.#task);
    const mine = fields.difference(this.#task, wanted);
    this.#version = this.#theirs.version;
    this.#task = { ...this.#theirs };
    // Fields that only the other side touched stay theirs.
    fields.show({ ...this.#theirs, ...mine });
    if (mine.due_date !== undefined) $("f-due").dataset.shown = "theirs";
    this.#showConflict(null);
    this.#save();
  }

  /** Show the task as it is now; what was typed goes only when somebody says so. */
  async #takeTheirs() {
    if (this.unsaved && !(await this.#mayDiscard("Take theirs"))) return;
    // It may have been deleted, or the session have ended, while somebody was asked.
    if (this.#theirs && $("editor").open) this.open(this.#theirs);
  }

  /** The server answers again: words that ask to wait for it are out of date. */
  back() {
    if (this.#away) this.#fail("The server answers again. Nothing is lost: save again.");
  }

  #fail(words) {
    this.#away = false;
    $("editor-error").textContent = words;
    $("editor-error").hidden = !words;
  }

  #busy(busy) {
    $("editor-save").disabled = busy;
    $("editor-save").textContent = busy ? "Saving…" : this.#gone ? "Save as a new task" : "Save";
    if (busy) this.#fail("");
  }
}

/** Say what went wrong with a write that has no dialog. */
export function tellFailure(error) {
  const conflict = error instanceof Problem && [409, 412].includes(error.status);
  const gone = error instanceof Problem && error.status === 404;
  const offline = navigator.onLine === false ? "You are offline; try again when you are back." : error.message;
  toast(conflict ? "It was changed elsewhere in the meantime; here is how it is now." : gone ? "It was deleted elsewhere." : offline, "bad");
}

function words(name, value) {
  if (value === null || value === "" || value.length === 0) return "none";
  if (name === "due_date") return moment(value);
  if (name === "tags") return value.join(", ");
  if (name === "recurrence_rule") return repetition(value);
  return name === "reminder_offset" ? reminder(value) : value;
}
