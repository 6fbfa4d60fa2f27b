// Dates and spans in the words of this browser's language and zone.

const DAY = 86400000;

/** This browser's zone, or "" when it has no name for it. */
export const zone = (() => {
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
  return name === "Etc/Unknown" ? "" : name;
})();

const language = navigator.language || "en";
const clock = new Intl.DateTimeFormat(language, { hour: "numeric", minute: "2-digit" });
const nearDay = new Intl.DateTimeFormat(language, { weekday: "short", day: "numeric", month: "short" });
const farDay = new Intl.DateTimeFormat(language, { day: "numeric", month: "short", year: "numeric" });
const whole = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "short" });

const midnight = (moment) => new Date(moment.getFullYear(), moment.getMonth(), moment.getDate());
/** Whole days from today's midnight to that of `moment`, whatever the clocks did in between. */
const daysAhead = (moment) => Math.round((midnight(moment) - midnight(new Date())) / DAY);

/** Which heading a due date belongs under. */
export function bucket(due) {
  if (!due) return "No date";
  const moment = new Date(due);
  if (moment < new Date()) return "Overdue";
  const days = daysAhead(moment);
  if (days <= 0) return "Today";
  if (days === 1) return "Tomorrow";
  return days < 7 ? "Next 7 days" : "Later";
}

/** A moment in few words. */
export function moment(text) {
  const when = new Date(text);
  const days = daysAhead(when);
  const near = { 0: "Today", 1: "Tomorrow", "-1": "Yesterday" }[days];
  const day = near || (Math.abs(days) < 180 ? nearDay : farDay).format(when);
  return `${day}, ${clock.format(when)}`;
}

/** A moment in full, for a tooltip. */
export const inFull = (text) => whole.format(new Date(text));

/** An instant as the value of a datetime-local field, and back as ISO 8601. */
export function toField(text) {
  const when = new Date(text);
  const two = (number) => String(number).padStart(2, "0");
  const year = String(when.getFullYear()).padStart(4, "0");
  return `${year}-${two(when.getMonth() + 1)}-${two(when.getDate())}T${two(when.getHours())}:${two(when.getMinutes())}`;
}
export const fromField = (value) => (value ? new Date(value).toISOString() : null);

/** The instant at which a day (YYYY-MM-DD) begins here, `later` days on. */
export function dayStart(value, later = 0) {
  const [year, month, day] = value.split("-").map(Number);
  return new Date(year, month - 1, day + later).toISOString();
}

/** A day as YYYY-MM-DD, `later` days from today. */
export const dayField = (later = 0) => {
  const now = new Date();
  return toField(new Date(now.getFullYear(), now.getMonth(), now.getDate() + later)).slice(0, 10);
};

/** An ISO 8601 duration in words. */
export function span(duration) {
  const match = /^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$/.exec(duration);
  if (!match) return duration;
  const units = ["day", "hour", "minute", "second"];
  const words = units.map((unit, at) => [Number(match[at + 1] || 0), unit]).filter(([number]) => number);
  return words.map(([number, unit]) => `${number} ${unit}${number === 1 ? "" : "s"}`).join(" ") || "when due";
}

/** How long before the due date, in words. */
export function reminder(offset) {
  const words = span(offset);
  return words === "when due" ? words : `${words} before`;
}

export const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
// 2024 began on a Monday.
const named = (style) =>
  DAYS.map((_, at) => new Intl.DateTimeFormat(language, { weekday: style }).format(new Date(2024, 0, at + 1)));
export const SHORT_DAYS = named("short");
export const LONG_DAYS = named("long");

/** A recurrence rule in words. */
export function repetition(rule) {
  const unit = { daily: "day", weekly: "week", monthly: "month" }[rule.frequency];
  const every = rule.interval > 1 ? `every ${rule.interval} ${unit}s` : { day: "daily", week: "weekly", month: "monthly" }[unit];
  const on = rule.days_of_week ? ` on ${rule.days_of_week.map((day) => SHORT_DAYS[DAYS.indexOf(day)]).join(", ")}` : "";
  const monthday = rule.day_of_month ? ` on day ${rule.day_of_month}` : "";
  const end = rule.until ? ` until ${rule.until.slice(0, 10)}` : rule.count ? `, ${rule.count} times` : "";
  return every + on + monthday + end;
}
