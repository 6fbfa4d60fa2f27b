// The page: joins its parts and keeps them in step.

import { Api, newKey } from "./api.js";
import { Auth } from "./auth.js";
import { confirmDelete } from "./confirm.js";
import { $, debounced, icon, toast } from "./dom.js";
import { Editor, tellFailure } from "./editor.js";
import { line } from "./fields.js";
import { List } from "./list.js";
import { Live } from "./live.js";
import { Query } from "./query.js";
import { Session } from "./session.js";
import { zone } from "./time.js";

const STATES = {
  connecting: ["Connecting", ""],
  live: ["Live", "Changes show at once."],
  polling: ["Polling", "Live updates are away; the page asks every few seconds."],
  offline: ["Offline", "What you see may be old. It catches up by itself."],
};

const session = new Session();
const api = new Api({
  token: () => session.token,
  onUnauthorized: () => leave("Your session has ended. Log in again."),
  onReach: (was) => live.reached(was),
});
const live = new Live({ api, token: () => session.token, onChanges: changed, onState: tellState });
const auth = new Auth(api, session);
const query = new Query(() => load());
const list = new List(query, (name, task, detail) => ACTIONS[name](task, detail));
const editor = new Editor(api, (task, words) => {
  toast(`${words}: ${task.title}`);
  if (words === "Added") $("quick-title").value = "";
  written();
});

const ACTIONS = {
  edit: (task) => editor.open(task),
  tag: (_, tag) => query.withTag(tag),
  toggle: async (task) => {
    const done = task.status === "completed";
    await attempt("POST", `/api/tasks/${task.id}/${done ? "reopen" : "complete"}`, {}, `${done ? "Open again" : "Done"}: ${task.title}`);
  },
  delete: async (task) => {
    if (await confirmDelete(task)) await attempt("DELETE", `/api/tasks/${task.id}`, { version: task.version }, `Deleted: ${task.title}`);
  },
};

let user = "";
let wanted = 0;
let expiry = 0;
let again = 0;
// Whose words the fields hold.
let last = "";
// The task that a reminder's mail leads to.
let asked = new URLSearchParams(location.search).get("task");
// The title that was added last and is not known to have arrived, and its key: added again it is the same task.
let doubtful = { title: "", key: "" };

async function attempt(method, path, options, words) {
  try {
    await api.write(method, path, options);
    toast(words);
  } catch (error) {
    if (error.status !== 401) tellFailure(error);
  }
  written();
}

/** After a write of ours: show it without waiting for the news of it. */
function written() {
  load(true);
  live.kick();
}

/** Show the page of tasks that the query asks for; of answers that overtake each other the last question's counts. */
async function load(redraw = false) {
  const turn = (wanted += 1);
  if (redraw) list.forget();
  try {
    const page = await api.get("/api/tasks", query.params);
    if (turn !== wanted || !session.token) return;
    // The last task of the last page went: there is a page before it.
    if (!page.items.length && page.total && page.offset) query.toLast(page.total);
    else list.draw(page);
    askAgain(false);
  } catch (error) {
    if (turn === wanted && error.status !== 401) {
      if (error.status && !again) toast(error.message, "bad");
      askAgain(!error.status || error.status === 429 || error.status >= 500);
    }
    list.failed();
  }
}

/** Whether the list is to be asked for again in a moment: what is shown is not what the fields above it say. */
function askAgain(wanting) {
  clearTimeout(again);
  again = wanting ? setTimeout(() => user && load(), 4000) : 0;
}

const soon = debounced(load, 60);

function changed(changes, resync) {
  list.mark(changes.map((change) => change.task.id));
  for (const { task } of changes) editor.changed(task);
  soon(resync);
}

function tellState(state) {
  const [words, more] = STATES[state];
  const box = $("connection");
  if (box.dataset.state !== state || box.hidden) {
    box.dataset.state = state;
    box.title = more;
    box.querySelector(".words").textContent = words;
  }
  if (state !== "offline") editor.back();
  $("offline").hidden = state !== "offline";
  $("offline").textContent = state === "offline" ? offlineWords() : "";
}

const offlineWords = () =>
  navigator.onLine === false
    ? "You are offline. What you see may be old; the page catches up as soon as you are back."
    : "The server can't be reached. The page tries again every few seconds and catches up.";

async function enter() {
  user = session.user;
  $("auth").hidden = true;
  for (const id of ["app", "connection", "account"]) $(id).hidden = false;
  $("account-email").textContent = session.email;
  tellState("connecting");
  if (last && last !== user) forget();
  last = user;
  // On a phone the field would bring up the keyboard.
  (matchMedia("(pointer: fine)").matches ? $("quick-title") : $("main")).focus();
  editor.resume();
  watchExpiry();
  const cursor = await head();
  if (session.user !== user) return;
  await load(true);
  openAsked();
  await live.start(cursor);
}

async function openAsked() {
  if (!asked) return;
  const id = asked;
  asked = null;
  history.replaceState(null, "", location.pathname + location.hash);
  try {
    editor.open(await api.get(`/api/tasks/${encodeURIComponent(id)}`));
  } catch (error) {
    toast([404, 422].includes(error.status) ? "This task is not among yours any more." : error.message, "bad");
  }
}

/** Where the user's changes end now; read before the tasks, so that nothing falls in between. */
async function head() {
  try {
    return (await api.get("/api/changes", { since: 0, limit: 1 })).head;
  } catch {
    return 0;
  }
}

/** Back to the login form. */
function leave(why = "") {
  if (!user) return;
  user = "";
  wanted += 1;
  live.stop();
  if (why) session.drop();
  else session.end();
  clearInterval(expiry);
  askAgain(false);
  editor.suspend();
  if (!why) forget();
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  for (const id of ["app", "connection", "account", "offline"]) $(id).hidden = true;
  $("account").open = false;
  list.clear();
  auth.open(why);
}

/** Take what a user wrote out of the fields, before another one sees it. */
function forget() {
  query.forget();
  editor.forget();
  $("quick-title").value = "";
  $("toasts").replaceChildren();
  doubtful = { title: "", key: "" };
}

function watchExpiry() {
  clearInterval(expiry);
  expiry = setInterval(() => session.token || leave("Your session has ended. Log in again."), 5000);
}

session.onChange(() => {
  if (!session.token) leave();
  else if (!user) enter();
  else if (session.user !== user) {
    editor.forget();
    location.reload();
  }
  else live.renew();
});

for (const id of ["editor", "confirm"]) $(id).addEventListener("close", () => list.refocus());
$("logout").addEventListener("click", () => session.end());
$("account-button").append(icon("user"));
addEventListener("beforeunload", (event) => editor.unsaved && event.preventDefault());
document.addEventListener("click", (event) => event.target.closest("#account") || ($("account").open = false));
$("account").addEventListener("focusout", (event) => event.relatedTarget && !event.currentTarget.contains(event.relatedTarget) && ($("account").open = false));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && $("account").open) {
    $("account").open = false;
    $("account-button").focus();
  }
  if (!user || document.querySelector("dialog[open]")) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") focusOn(event, "q");
  if (event.altKey && event.key.toLowerCase() === "n") focusOn(event, "quick-title");
});

function focusOn(event, id) {
  event.preventDefault();
  $(id).focus();
}

$("quick").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = $("quick-title");
  const title = line(field.value);
  if (!title) return;
  field.value = "";
  if (title !== doubtful.title) doubtful = { title, key: newKey() };
  await add(title, doubtful.key);
});

async function add(title, key) {
  const field = $("quick-title");
  try {
    await api.write("POST", "/api/tasks", { key, body: { title, ...(zone ? { zone } : {}) } });
    if (doubtful.key === key) doubtful = { title: "", key: "" };
    toast(`Added: ${title}`);
  } catch (error) {
    // The next words may stand there already.
    if (!field.value) field.value = title;
    else if (field.value !== title) toast(`Not added: ${title}`, "bad", { words: "Add again", act: () => add(title, key) });
    tellFailure(error);
  }
  written();
}

$("quick-details").addEventListener("click", () => editor.open(null, { title: $("quick-title").value.trim() }));

const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";

function drawTheme() {
  $("theme").setAttribute("aria-pressed", String(isDark()));
  $("theme").replaceChildren(icon(isDark() ? "sun" : "moon"));
}

$("theme").addEventListener("click", () => {
  const chosen = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = chosen;
  try {
    localStorage.setItem("todo.theme", chosen);
  } catch {
    // It holds until the page is closed.
  }
  drawTheme();
});
dark.addEventListener("change", drawTheme);
drawTheme();

// What is overdue changes by itself, without any news.
setInterval(() => user && !document.hidden && load(), 60000);

if (session.token) enter();
else auth.open();
