// What the list shows: search, filters, order and page, kept in the address so that a reload shows the same.

import { $, debounced, el } from "./dom.js";
import { line } from "./fields.js";
import { dayField, dayStart } from "./time.js";

export const PAGE = 25;
export const PRIORITIES = ["urgent", "high", "medium", "low"];
const NAMES = { urgent: "Urgent", high: "High", medium: "Medium", low: "Low" };

export class Query {
  #onChange;
  offset = 0;
  overdue = false;

  constructor(onChange) {
    this.#onChange = onChange;
    for (const name of PRIORITIES) {
      const box = el("input", { type: "checkbox", name: "priority", value: name });
      $("filter-priority").append(el("label", { class: `check priority-${name}` }, box, ` ${NAMES[name]}`));
    }
    this.#restore();
    this.#listen();
    this.#count();
  }

  /** The query as GET /api/tasks takes it. */
  get params() {
    const [sort, order] = $("sort").value.split(" ");
    const from = $("filter-from").value;
    const to = $("filter-to").value;
    return {
      q: $("q").value.trim(),
      status: this.status,
      priority: this.priorities,
      tags: this.tags,
      due_from: from ? dayStart(from) : "",
      due_to: this.overdue ? new Date().toISOString() : to ? dayStart(to, 1) : "",
      sort,
      order,
      offset: this.offset,
      limit: PAGE,
    };
  }

  get status() {
    return document.querySelector("input[name=status]:checked").value;
  }

  get priorities() {
    return [...document.querySelectorAll("input[name=priority]:checked")].map((box) => box.value);
  }

  get tags() {
    // In quotes a tag may hold a comma.
    const given = [...$("filter-tags").value.matchAll(/"([^"]*)"|[^,]+/g)].map(([all, quoted]) => line(quoted ?? all));
    return [...new Set(given.filter(Boolean))].slice(0, 20);
  }

  /** Whether anything but the status narrows the list. */
  get narrowed() {
    return Boolean($("q").value.trim() || this.#active());
  }

  /** Whether no due date can fit. */
  get contrary() {
    return Boolean($("filter-to").value) && $("filter-from").value > $("filter-to").value;
  }

  /** Whether the list is in the order of due dates, so that headings make sense. */
  get byDue() {
    return $("sort").value === "due_date asc" && this.status === "open";
  }

  /** Show the tasks with a tag. */
  withTag(tag) {
    if (!this.tags.includes(tag)) $("filter-tags").value = [...this.tags, tag].map((one) => (one.includes(",") ? `"${one}"` : one)).join(", ");
    this.#changed();
  }

  /** Another page. */
  turn(by) {
    this.offset = Math.max(0, this.offset + by * PAGE);
    this.#changed(false);
  }

  /** The last page there is. */
  toLast(total) {
    this.offset = Math.floor((total - 1) / PAGE) * PAGE;
    this.#changed(false);
  }

  clear() {
    this.#empty();
    this.#changed();
  }

  /** Nothing is looked for any more, and nothing of it is left in the address: another user may come. */
  forget() {
    this.#empty();
    this.offset = 0;
    this.#count();
    this.#keep();
  }

  #empty() {
    $("filters").reset();
    this.overdue = false;
    $("q").value = "";
  }

  #listen() {
    const soon = debounced(() => this.#changed(), 250);
    $("search").addEventListener("submit", (event) => event.preventDefault());
    $("filters").addEventListener("submit", (event) => event.preventDefault());
    $("q").addEventListener("input", soon);
    $("filter-tags").addEventListener("input", soon);
    for (const id of ["status", "sort", "filter-priority"]) $(id).addEventListener("change", () => this.#changed());
    for (const id of ["filter-from", "filter-to"]) {
      $(id).addEventListener("change", () => {
        this.overdue = false;
        this.#changed();
      });
    }
    for (const button of document.querySelectorAll("[data-preset]")) {
      button.addEventListener("click", () => this.#preset(button.dataset.preset));
    }
    $("filter-clear").addEventListener("click", () => this.clear());
    $("filter-toggle").addEventListener("click", () => this.#open($("filters").hidden));
  }

  #open(open) {
    $("filters").hidden = !open;
    $("filter-toggle").setAttribute("aria-expanded", String(open));
  }

  #preset(name) {
    const days = { overdue: ["", ""], today: [dayField(), dayField()], week: [dayField(), dayField(6)] }[name];
    const again = name === "overdue" && this.overdue;
    [$("filter-from").value, $("filter-to").value] = days;
    this.overdue = name === "overdue" && !again;
    this.#changed();
  }

  #changed(fromStart = true) {
    if (fromStart) this.offset = 0;
    this.#count();
    this.#keep();
    this.#onChange();
  }

  #active() {
    const due = $("filter-from").value || $("filter-to").value || this.overdue;
    return this.priorities.length + this.tags.length + (due ? 1 : 0);
  }

  #count() {
    const active = this.#active();
    $("filter-count").textContent = active ? String(active) : "";
    $("filter-count").hidden = !active;
    $("filter-toggle").setAttribute("aria-label", active ? `Filter, ${active} set` : "Filter");
    for (const button of document.querySelectorAll("[data-preset]")) {
      button.setAttribute("aria-pressed", String(this.#isSet(button.dataset.preset)));
    }
  }

  #isSet(preset) {
    if (preset === "overdue") return this.overdue;
    const [from, to] = [$("filter-from").value, $("filter-to").value];
    return from === dayField() && to === dayField(preset === "today" ? 0 : 6);
  }

  #keep() {
    const kept = new URLSearchParams();
    const values = {
      q: $("q").value.trim(),
      status: this.status === "open" ? "" : this.status || "all",
      sort: $("sort").value === "due_date asc" ? "" : $("sort").value,
      priority: this.priorities.join(","),
      tags: $("filter-tags").value.trim(),
      from: $("filter-from").value,
      to: $("filter-to").value,
      overdue: this.overdue ? "1" : "",
      offset: this.offset || "",
    };
    for (const [name, value] of Object.entries(values)) if (value) kept.set(name, value);
    history.replaceState(null, "", location.pathname + location.search + (kept.size ? `#${kept}` : ""));
  }

  #restore() {
    const kept = new URLSearchParams(location.hash.slice(1));
    $("q").value = kept.get("q") || "";
    const status = { all: "", completed: "completed" }[kept.get("status")] ?? "open";
    for (const radio of document.querySelectorAll("input[name=status]")) radio.checked = radio.value === status;
    if ([...$("sort").options].some((option) => option.value === kept.get("sort"))) $("sort").value = kept.get("sort");
    const priorities = (kept.get("priority") || "").split(",");
    for (const box of document.querySelectorAll("input[name=priority]")) box.checked = priorities.includes(box.value);
    $("filter-tags").value = kept.get("tags") || "";
    $("filter-from").value = kept.get("from") || "";
    $("filter-to").value = kept.get("to") || "";
    this.overdue = kept.get("overdue") === "1";
    this.offset = Math.max(0, Number.parseInt(kept.get("offset"), 10) || 0);
    if (this.#active()) this.#open(true);
  }
}
