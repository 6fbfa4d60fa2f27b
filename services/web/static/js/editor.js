// The task dialog: new and edit, with one key for each save, and both sides shown when two people edited.

import { newKey, Problem } from "./api.js";
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
  #shown = "";
  #leaves = false;
  #asking = false;

  constructor(api, onSaved) {
    this.#api = api;
    this.#onSaved = onSaved;
    fields.prepare();
    $("editor-close").append(icon("close"));
    for (const id of ["editor-close", "editor-cancel"]) $(id).addEventListener("click", () => this.#close());
    $("editor").addEventListener("cancel", (event) => {
      event.preventDefault();
      // One that can't be stopped is seen when it has closed.
      if (event.cancelable) this.#close();
    });
    $("editor").addEventListener("close", () => this.#closed());
    $("editor-anew").addEventListener("click", () => this.#anew());
    $("editor-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
    $("conflict-mine").addEventListener("click", () => this.#mine());
    $("conflict-theirs").addEventListener("click", () => this.open(this.#theirs));
  }

  /** Open for a task, or for a new one with what is known of it; the dialog gives the focus back when it closes. */
  open(task = null, known = {}) {
    this.#task = task;
    this.#version = task?.version || 0;
    this.#sent = "";
    $("editor-title").textContent = task ? "Edit task" : "New task";
    fields.show(task || known);
    this.#shown = this.#said();
    this.#fail("");
    this.#showConflict(null);
    if (!$("editor").open) $("editor").showModal();
    $("f-title").focus();
  }

  /** Close, and ask before something that was typed is lost. */
  async #close() {
    if (this.#asking) return;
    if (this.#hasWords() && !(await this.#mayDiscard())) return;
    this.#shut();
  }

  async #mayDiscard() {
    this.#asking = true;
    const may = await ask("Discard your changes?", "They are not saved.", "Keep editing", "Discard");
    // The same Escape may close both dialogs, one event after the other.
    setTimeout(() => (this.#asking = false));
    return may;
  }

  #shut() {
    this.#leaves = true;
    $("editor").close();
  }

  /** Of several Escapes in a row a browser lets only the first be stopped, and one closes all that they opened. */
  #closed() {
    const forced = !this.#leaves && this.#hasWords();
    this.#leaves = false;
    if (forced) {
      $("editor").showModal();
      this.#close();
    } else if ($("confirm").open) $("confirm").close();
  }

  #hasWords() {
    return this.#said() !== this.#shown || fields.halfFilled();
  }

  /** What the fields say. */
  #said() {
    return JSON.stringify(fields.read(this.#task || {}));
  }

  /** Close because the session ended; what was typed waits for `resume`. */
  suspend() {
    this.#suspended = $("editor").open;
    if (this.#suspended) this.#shut();
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
    this.#task = null;
    fields.show({});
  }

  /** Somebody else changed or deleted a task. */
  changed(task) {
    if (!$("editor").open || this.#task?.id !== task.id || task.version <= this.#version) return;
    // News of the save that is under way, perhaps; if it is another's, the save's answer says so.
    if ($("editor-save").disabled) return;
    if (task.status === "deleted") this.#gone();
    else this.#showConflict(task);
  }

  async #save() {
    const wanted = fields.read(this.#task || {});
    const lacking = fields.lacking();
    if (lacking.length) {
      fields.complain(lacking);
      return;
    }
    const body = this.#task ? fields.difference(this.#task, wanted) : fields.newBody(wanted);
    if (this.#task && !Object.keys(body).length) {
      this.#shut();
      return;
    }
    this.#busy(true);
    try {
      const saved = await this.#send(body);
      this.#shut();
      this.#onSaved(saved, this.#task ? "Saved" : "Added");
    } catch (error) {
      await this.#refused(error);
    } finally {
      this.#busy(false);
    }
  }

  #send(body) {
    // A save that was left in doubt and is sent again is the same one, unless it says something else.
    const said = JSON.stringify([body, this.#version]);
    if (said !== this.#sent) this.#key = newKey();
    this.#sent = said;
    const options = { body, key: this.#key, version: this.#version };
    return this.#task ? this.#api.write("PATCH", `/api/tasks/${this.#task.id}`, options) : this.#api.write("POST", "/api/tasks", options);
  }

  async #refused(error) {
    if (error instanceof Problem && [409, 412].includes(error.status)) {
      await this.#conflict();
      return;
    }
    if (error instanceof Problem && error.status === 404) this.#gone();
    else if (error.fields?.length) {
      const homeless = fields.complain(error.fields);
      this.#fail(homeless.map(({ field, message }) => `${field}: ${message}`).join("; "));
    } else this.#fail(navigator.onLine === false ? "You are offline. Nothing is lost: save again when you are back." : `${error.message} Nothing is lost: save again.`);
  }

  async #conflict() {
    try {
      this.#showConflict(await this.#api.get(`/api/tasks/${this.#task.id}`));
      $("conflict").focus();
    } catch (error) {
      if (error.status === 404) this.#gone();
      else this.#fail(error.message);
    }
  }

  #gone() {
    this.#showConflict(null);
    this.#fail("This task was deleted elsewhere.");
    $("editor-anew").hidden = false;
  }

  /** What was typed for a task that is gone becomes a task of its own. */
  #anew() {
    const said = fields.read(this.#task);
    this.open(null, { ...this.#task, ...said });
    this.#save();
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

  #fail(words) {
    $("editor-error").textContent = words;
    $("editor-error").hidden = !words;
    $("editor-anew").hidden = true;
  }

  #busy(busy) {
    $("editor-save").disabled = busy;
    $("editor-save").textContent = busy ? "Saving…" : "Save";
    if (busy) this.#fail("");
  }
}

/** Ask before a task is deleted. */
export function confirmDelete(task) {
  const repeats = task.recurrence_rule && task.status === "open" ? " It repeats: its series ends with it." : "";
  return ask("Delete this task?", `“${task.title}” will be gone.${repeats}`, "Keep it", "Delete");
}

/** Whether somebody says yes; what is there stays where they say no, or nothing. */
function ask(title, words, no, yes) {
  for (const [id, text] of Object.entries({ title, words, no, yes })) $(`confirm-${id}`).textContent = text;
  const dialog = $("confirm");
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((answer) => {
    dialog.addEventListener("close", () => answer(dialog.returnValue === "yes"), { once: true });
  });
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
