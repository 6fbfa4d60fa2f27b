// The list: drawn anew when something changed, with the focus where it was.

import { $, el, icon } from "./dom.js";
import { PAGE } from "./query.js";
import { bucket, inFull, moment, reminder, repetition } from "./time.js";

const PRIORITY = { urgent: "Urgent", high: "High", medium: "Medium", low: "Low" };

export class List {
  #query;
  #act;
  #shown = "";
  #page = null;
  #fresh = new Set();
  #left = null;

  /** `act(name, task, detail)` hears what somebody wants: toggle, edit, delete, tag. */
  constructor(query, act) {
    this.#query = query;
    this.#act = (...given) => {
      this.#left = focused();
      act(...given);
    };
    $("previous").addEventListener("click", () => query.turn(-1));
    $("next").addEventListener("click", () => query.turn(1));
  }

  /** Mark these tasks the next time they are drawn: something changed them elsewhere. */
  mark(ids) {
    for (const id of ids) this.#fresh.add(id);
  }

  /** Draw the next page even if it is the one that is shown: a box may be ticked that the service did not accept. */
  forget() {
    this.#shown = "";
  }

  /** A dialog closed: give the focus back also where the button that opened it was drawn anew. */
  refocus() {
    if (document.activeElement === document.body || document.activeElement?.closest("dialog:not([open])")) restore(this.#left);
  }

  /** Nothing new came: what was shown before still holds, as far as we know. */
  failed() {
    $("list").setAttribute("aria-busy", "false");
    if (this.#page && !this.#shown) this.draw(this.#page);
  }

  /** Show nothing: somebody logged out. */
  clear() {
    this.#shown = "";
    this.#page = null;
    for (const id of ["list", "known-tags"]) $(id).replaceChildren();
    $("summary").textContent = "";
  }

  draw(page) {
    const { byDue, status, narrowed, contrary } = this.#query;
    const shown = JSON.stringify([page, byDue, status, narrowed, contrary, page.items.map((task) => bucket(task.due_date))]);
    $("list").setAttribute("aria-busy", "false");
    if (shown !== this.#shown) {
      this.#shown = shown;
      this.#page = page;
      const focus = focused();
      $("list").replaceChildren(...(page.items.length ? this.#groups(page.items) : [this.#empty(page)]));
      restore(focus);
      this.#fresh.clear();
    }
    this.#pages(page);
    suggest(page.items);
  }

  #groups(tasks) {
    if (!this.#query.byDue) return [el("ul", { class: "tasks", "aria-label": "Tasks" }, ...tasks.map((task) => this.#row(task)))];
    const groups = new Map();
    for (const task of tasks) {
      const name = bucket(task.due_date);
      groups.set(name, [...(groups.get(name) || []), task]);
    }
    return [...groups].map(([name, members]) => {
      const id = `group-${name.toLowerCase().replaceAll(" ", "-")}`;
      const heading = el("h2", { id, class: `group ${name === "Overdue" ? "late" : ""}` }, name);
      const list = el("ul", { class: "tasks", "aria-labelledby": id }, ...members.map((task) => this.#row(task)));
      return el("section", {}, heading, list);
    });
  }

  #row(task) {
    const done = task.status === "completed";
    const box = el("input", {
      type: "checkbox",
      class: "tick",
      "data-act": "toggle",
      "aria-label": `${done ? "Reopen" : "Complete"}: ${task.title}`,
      onchange: () => this.#act("toggle", task),
    });
    box.checked = done;
    const title = el(
      "button",
      { type: "button", class: "title", dir: "auto", "data-act": "open", "aria-haspopup": "dialog", onclick: () => this.#act("edit", task) },
      task.title,
    );
    const description = task.description ? el("p", { class: "description", dir: "auto" }, task.description) : null;
    const marks = el("div", { class: "marks" }, ...this.#marks(task, done));
    const words = el("div", { class: "words" }, title, description, marks.childElementCount ? marks : null);
    const classes = ["task", `priority-${task.priority}`, done ? "done" : "", this.#fresh.has(task.id) ? "fresh" : ""];
    return el("li", { class: classes.join(" ").trim(), "data-id": task.id }, box, words, this.#buttons(task));
  }

  #buttons(task) {
    const button = (act, drawing, words) =>
      el(
        "button",
        { type: "button", class: "icon-button", "data-act": act, "aria-label": `${words}: ${task.title}`, title: words, onclick: () => this.#act(act, task) },
        icon(drawing),
      );
    return el("div", { class: "row-actions" }, button("edit", "edit", "Edit"), button("delete", "trash", "Delete"));
  }

  #marks(task, done) {
    const marks = [];
    if (task.priority !== "medium") {
      marks.push(el("span", { class: "mark level" }, el("span", { class: "unseen" }, "Priority: "), PRIORITY[task.priority]));
    }
    if (task.due_date) {
      const late = !done && new Date(task.due_date) < new Date();
      const label = late ? "Overdue since " : "Due ";
      const time = el("time", { datetime: task.due_date, title: inFull(task.due_date) }, moment(task.due_date));
      marks.push(el("span", { class: `mark due ${late ? "late" : ""}` }, icon("clock"), el("span", { class: "unseen" }, label), time));
    }
    if (task.recurrence_rule) {
      marks.push(el("span", { class: "mark" }, icon("repeat"), el("span", { class: "unseen" }, "Repeats "), repetition(task.recurrence_rule)));
    }
    if (task.reminder_offset) {
      marks.push(el("span", { class: "mark" }, icon("bell"), el("span", { class: "unseen" }, "Reminder "), reminder(task.reminder_offset)));
    }
    for (const tag of task.tags) {
      const attributes = { type: "button", class: "chip", "data-act": `tag-${tag}`, title: "Show tasks with this tag", onclick: () => this.#act("tag", task, tag) };
      marks.push(el("button", attributes, el("span", { class: "unseen" }, "Only tasks with tag "), tag));
    }
    return marks;
  }

  #empty(page) {
    if (page.total > 0) return el("p", { class: "empty" }, "Nothing on this page any more.");
    const [words, more] = this.#query.narrowed
      ? ["No task fits.", this.#query.contrary ? "Due from is later than due until." : "Try fewer words or filters."]
      : { open: ["All done.", "Nothing is open. Enjoy it, or add what comes next."], completed: ["Nothing done yet.", "What you complete is kept here."] }[
          this.#query.status
        ] || ["No tasks yet.", "Write the first one above."];
    const clear = this.#query.narrowed ? el("button", { type: "button", onclick: () => this.#query.clear() }, "Show all") : null;
    return el("div", { class: "empty" }, el("p", { class: "empty-title" }, words), el("p", { class: "muted" }, more), clear);
  }

  #pages({ items, total, offset }) {
    $("pages").hidden = total <= PAGE && offset === 0;
    const active = document.activeElement;
    $("previous").disabled = offset === 0;
    $("next").disabled = offset + items.length >= total;
    if (active === $("next") && active.disabled) $("previous").focus();
    if (active === $("previous") && active.disabled) $("next").focus();
    $("page-words").textContent = items.length ? `${offset + 1} to ${offset + items.length} of ${total}` : `${total} in all`;
    const what = { open: "open", completed: "done" }[this.#query.status];
    const tasks = `${total} ${what ? `${what} ` : ""}${total === 1 ? "task" : "tasks"}`;
    say(this.#query.narrowed ? `${tasks} found` : tasks);
  }
}

/** Written only when it differs: each writing is read out. */
function say(words) {
  if ($("summary").textContent !== words) $("summary").textContent = words;
}

function focused() {
  const active = document.activeElement;
  const row = active?.closest("#list li[data-id]");
  // The button of an empty list goes with it.
  if (!row) return active?.closest("#list") ? { id: "", act: "open", at: 0 } : null;
  const rows = [...document.querySelectorAll("#list li[data-id]")];
  return { id: row.dataset.id, act: active.dataset.act, at: rows.indexOf(row) };
}

/** Focus what was focused; where its task is gone, the same button of the one that took its place. */
function restore(focus) {
  if (!focus) return;
  const rows = [...document.querySelectorAll("#list li[data-id]")];
  const row = rows.find((candidate) => candidate.dataset.id === focus.id) || rows[Math.min(focus.at, rows.length - 1)];
  const buttons = row ? [...row.querySelectorAll("[data-act]")] : [];
  const next = buttons.find((button) => button.dataset.act === focus.act) || buttons[0] || $("quick-title");
  next.focus({ preventScroll: true });
}

function suggest(tasks) {
  const known = new Set([...$("known-tags").children].map((option) => option.value));
  for (const tag of tasks.flatMap((task) => task.tags)) {
    if (known.has(tag) || known.size >= 200) continue;
    known.add(tag);
    $("known-tags").append(el("option", { value: tag }));
  }
}
