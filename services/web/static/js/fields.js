// The fields of the task dialog: a task in, what the user wants out, and the words for fields that don't fit.

import { $, el, icon } from "./dom.js";
import { DAYS, LONG_DAYS, SHORT_DAYS, fromField, reminder, toField, zone } from "./time.js";

const REMINDERS = ["PT0S", "PT10M", "PT30M", "PT1H", "PT3H", "P1D", "P2D", "P7D"];
const UNITS = { daily: "days", weekly: "weeks", monthly: "months" };
const MOST_TAGS = 20;
const LONGEST_TITLE = 200;
const LONGEST_DESCRIPTION = 10000;
// Where in the dialog a part of a field is.
const PARTS = {
  "recurrence_rule.interval": "f-interval",
  "recurrence_rule.day_of_month": "f-monthday",
  "recurrence_rule.until": "f-until",
  "recurrence_rule.count": "f-count",
};
const TOO_MANY_TAGS = `A task has at most ${MOST_TAGS} tags.`;

// Alone they show nothing; the service refuses the same.
const SEEN = /[^\p{Z}\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\u2800]/u;

let tags = [];

/** A line without the blanks around it, or "" where nothing of it can be seen; a tab out of a spreadsheet is a blank. */
export const line = (text) => (SEEN.test(text) ? text.replace(/\p{Cc}+/gu, " ").trim() : "");

/** Prepare what the page's file can't hold: weekdays in the user's language, reminders in words. */
export function prepare() {
  DAYS.forEach((day, at) => {
    const box = el("input", { type: "checkbox", name: "day", value: day, "aria-label": LONG_DAYS[at] });
    $("f-days").append(el("label", {}, box, el("span", { "aria-hidden": "true" }, SHORT_DAYS[at])));
  });
  $("f-tag").addEventListener("keydown", tagKey);
  $("f-tag").addEventListener("input", () => $("f-tag").value.includes(",") && addTags());
  $("f-tag").addEventListener("blur", addTags);
  for (const id of ["f-due", "f-frequency", "repeat"]) $(id).addEventListener("input", settle);
  // Before the field's own listener, which may complain again.
  $("editor-form").addEventListener("input", (event) => appease(event.target), { capture: true });
}

/** Show a task, or an empty one. */
export function show(task) {
  $("f-title").value = task.title || "";
  $("f-description").value = task.description || "";
  $("f-description").dataset.shown = $("f-description").value;
  $("f-due").value = task.due_date ? toField(task.due_date) : "";
  $("f-due").dataset.shown = $("f-due").value;
  $("f-priority").value = task.priority || "medium";
  tags = [...(task.tags || [])];
  $("f-tag").value = "";
  drawTags();
  showReminder(task.reminder_offset || "");
  showRule(task.recurrence_rule);
  $("other-zone").textContent = task.zone && task.zone !== zone ? `Days and times are counted in ${task.zone}.` : "";
  $("other-zone").hidden = !$("other-zone").textContent;
  settle();
  complain([]);
}

/** Everything that somebody chose or typed, half a date and half a tag too; for comparing only. */
export function typed() {
  const controls = [...$("editor-form").querySelectorAll("input, select, textarea")];
  return JSON.stringify([tags, ...controls.map((field) => [field.value, field.checked, field.validity.badInput])]);
}

/** What the fields say, as the API takes it; what a field can't show to the second, or the line's end, stays while untouched. */
export function read(task) {
  addTags();
  const touched = $("f-due").value !== $("f-due").dataset.shown;
  const due = touched ? fromField($("f-due").value) : task.due_date || null;
  return {
    title: line($("f-title").value),
    description: $("f-description").value === $("f-description").dataset.shown ? task.description || "" : $("f-description").value,
    priority: $("f-priority").value,
    tags: [...tags],
    due_date: due,
    reminder_offset: due ? $("f-reminder").value || null : null,
    recurrence_rule: due ? readRule(task.recurrence_rule) : null,
  };
}

/** What the service could not miss, because it would read like an empty field: half a date, an end without a day. */
export function lacking() {
  const due = $("f-due");
  const title = [...line($("f-title").value)].length;
  const description = [...$("f-description").value].length;
  const repeats = due.value && $("f-frequency").value;
  const odd = (id) => !$(id).validity.valid;
  const missing = (id) => odd(id) || !$(id).value;
  const found = [
    [!title, "title", "A task needs a title."],
    [title > LONGEST_TITLE, "title", `A title has at most ${LONGEST_TITLE} characters; this one has ${title}.`],
    [description > LONGEST_DESCRIPTION, "description", `A description has at most ${LONGEST_DESCRIPTION} characters; this one has ${description}.`],
    [odd("f-due"), "due_date", due.validity.rangeOverflow ? "The year must be before 9000." : "It needs a day and a time."],
    [$("f-tag").value.trim(), "tags", TOO_MANY_TAGS],
    [repeats && missing("f-interval"), "recurrence_rule.interval", "Every how many? A whole number from 1 to 999."],
    [repeats === "monthly" && odd("f-monthday"), "recurrence_rule.day_of_month", "The day of the month is a whole number from 1 to 31."],
    [repeats && chosenEnd() === "until" && missing("f-until"), "recurrence_rule.until", "Until which day?"],
    [repeats && chosenEnd() === "count" && missing("f-count"), "recurrence_rule.count", "How many times? A whole number from 1 to 9999."],
  ];
  return found.filter(([wrong]) => wrong).map(([, field, message]) => ({ field, message }));
}

/** The wanted fields that differ from the task. */
export function difference(task, wanted) {
  const same = (a, b) => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);
  return Object.fromEntries(
    Object.entries(wanted).filter(([name, value]) => !same(value, name === "recurrence_rule" ? ordered(task[name]) : task[name])),
  );
}

/** A new task's body; one that takes the place of a deleted task keeps that one's zone. */
export function newBody(wanted, kept = zone) {
  return { ...wanted, ...(kept ? { zone: kept } : {}) };
}

/** Put the service's words beside their fields; gives those that have no field here. */
export function complain(errors) {
  for (const control of document.querySelectorAll("#editor [aria-invalid]")) appease(control);
  const homeless = errors.filter((error) => !complainAt(error));
  document.querySelector("#editor [aria-invalid]")?.focus();
  // The field may be the last one that can be seen.
  document.querySelector("#editor .field-error")?.scrollIntoView({ block: "nearest" });
  return homeless;
}

function complainAt({ field, message }) {
  const place = document.querySelector(`#editor [data-field="${CSS.escape(field.split(".")[0])}"]`);
  if (!place) return false;
  const id = `error-${field.split(".")[0]}`;
  if ($(id)) return true;
  const part = $(PARTS[field]);
  const control = part?.checkVisibility() ? part : place.querySelector("input, select, textarea");
  const hint = control.getAttribute("aria-describedby") || "";
  control.dataset.hint = hint;
  control.setAttribute("aria-invalid", "true");
  control.setAttribute("aria-errormessage", id);
  // Not every screen reader reads the former.
  control.setAttribute("aria-describedby", `${id} ${hint}`.trim());
  (control.closest(".row, .ends") || place).append(el("p", { id, class: "field-error" }, sentence(message)));
  return true;
}

/** The complaint about a field is answered. */
function appease(control) {
  if (!control.hasAttribute("aria-invalid")) return;
  $(control.getAttribute("aria-errormessage"))?.remove();
  for (const name of ["aria-invalid", "aria-errormessage", "aria-describedby"]) control.removeAttribute(name);
  if (control.dataset.hint) control.setAttribute("aria-describedby", control.dataset.hint);
}

const sentence = (words) => words.charAt(0).toUpperCase() + words.slice(1);

function settle() {
  const due = $("f-due").value !== "";
  $("with-due").disabled = !due;
  $("needs-due").hidden = due;
  const frequency = $("f-frequency").value;
  $("repeat").hidden = !due || !frequency;
  $("weekly").hidden = frequency !== "weekly";
  $("monthly").hidden = frequency !== "monthly";
  const unit = UNITS[frequency] || "days";
  $("f-unit").textContent = $("f-interval").value === "1" ? unit.slice(0, -1) : unit;
  const ends = chosenEnd();
  $("f-until").hidden = ends !== "until";
  $("f-count").hidden = ends !== "count";
}

const chosenEnd = () => document.querySelector("input[name=ends]:checked").value;

function showReminder(offset) {
  const offsets = REMINDERS.includes(offset) || !offset ? REMINDERS : [...REMINDERS, offset];
  const words = (value) => (value === "PT0S" ? "When it is due" : reminder(value));
  const options = offsets.map((value) => el("option", { value }, words(value)));
  $("f-reminder").replaceChildren(el("option", { value: "" }, "None"), ...options);
  $("f-reminder").value = offset;
}

function showRule(rule) {
  $("f-frequency").value = rule?.frequency || "";
  $("f-interval").value = rule?.interval || 1;
  for (const box of document.querySelectorAll("input[name=day]")) box.checked = Boolean(rule?.days_of_week?.includes(box.value));
  $("f-monthday").value = rule?.day_of_month || "";
  const ends = rule?.until ? "until" : rule?.count ? "count" : "never";
  for (const radio of document.querySelectorAll("input[name=ends]")) radio.checked = radio.value === ends;
  $("f-until").value = rule?.until ? rule.until.slice(0, 10) : "";
  $("f-count").value = rule?.count || 10;
  $("f-basis").value = rule?.basis || "schedule";
}

function readRule(before) {
  const frequency = $("f-frequency").value;
  if (!frequency) return null;
  const rule = { frequency, interval: Number($("f-interval").value), basis: $("f-basis").value };
  const days = [...document.querySelectorAll("input[name=day]:checked")].map((box) => box.value);
  if (frequency === "weekly" && days.length) rule.days_of_week = days;
  if (frequency === "monthly" && $("f-monthday").value) rule.day_of_month = Number($("f-monthday").value);
  const until = $("f-until").value;
  // A rule that ends at a time of day keeps it while its day stays.
  if (chosenEnd() === "until" && until) rule.until = before?.until?.startsWith(until) ? before.until : until;
  if (chosenEnd() === "count") rule.count = Number($("f-count").value);
  return ordered(rule);
}

/** A rule with its defaults, in one order, so that equal rules look equal. */
function ordered(rule) {
  if (!rule) return null;
  const whole = { interval: 1, basis: "schedule", ...rule };
  return Object.fromEntries(Object.keys(whole).sort().map((name) => [name, whole[name]]));
}

function tagKey(event) {
  // With an input method Enter ends a word, not the tag.
  if (event.isComposing) return;
  if (event.key === "Enter" && $("f-tag").value.trim()) {
    event.preventDefault();
    addTags();
  } else if (event.key === "Backspace" && !$("f-tag").value && tags.length) {
    tags.pop();
    drawTags();
  }
}

function addTags() {
  const given = $("f-tag").value.split(",").map(line).filter(Boolean);
  const wanted = [...new Set([...tags, ...given])];
  // Chips that are there stay: leaving the field by a press on one's button ends here, before the press becomes a click.
  $("f-tags").append(...wanted.slice(tags.length, MOST_TAGS).map(chip));
  tags = wanted.slice(0, MOST_TAGS);
  const surplus = wanted.slice(MOST_TAGS);
  $("f-tag").value = surplus.join(", ");
  if (surplus.length) complainAt({ field: "tags", message: TOO_MANY_TAGS });
}

const drawTags = () => $("f-tags").replaceChildren(...tags.map(chip));

function chip(tag) {
  const remove = () => {
    tags = tags.filter((other) => other !== tag);
    drawTags();
    appease($("f-tag"));
    $("f-tag").focus();
  };
  return el("li", { class: "chip" }, tag, el("button", { type: "button", "aria-label": `Remove tag ${tag}`, onclick: remove }, icon("close")));
}
