// Staying current: sync says over Socket.IO that something changed, GET /api/changes says what; without sync the page asks.
// Every change comes through one door, in the user's order, from the cursor on: nothing is applied twice or left out.

const ASK = 4000; // without sync
const ASK_HIDDEN = 20000; // without sync, when nobody looks
const CHECK = 30000; // beside sync: a connection may be dead and not know it
const CLIENT_RETRY = 30000;

/** States: "live", "polling", "offline". */
export class Live {
  #api;
  #token;
  #onChanges;
  #onState;
  #config = { sync_url: "", sync_client: "" };
  #socket = null;
  #cursor = 0;
  #running = false;
  #timer = 0;
  #asking = null;
  #again = false;
  #reached = true;
  #triedClient = 0;

  /** `onChanges(changes, resync)` gets what changed after the cursor; with `resync` everything may have. */
  constructor({ api, token, onChanges, onState }) {
    this.#api = api;
    this.#token = token;
    this.#onChanges = onChanges;
    this.#onState = onState;
    addEventListener("online", () => this.kick());
    addEventListener("offline", () => this.#tell());
    document.addEventListener("visibilitychange", () => document.hidden || this.kick());
  }

  get state() {
    if (navigator.onLine === false || !this.#reached) return "offline";
    return this.#socket?.connected ? "live" : "polling";
  }

  /** Begin after `cursor`. */
  async start(cursor) {
    this.#cursor = cursor;
    this.#running = true;
    this.#tell();
    this.#plan();
    await this.#connect();
  }

  stop() {
    this.#running = false;
    clearTimeout(this.#timer);
    this.#socket?.disconnect();
    this.#socket = null;
  }

  /** Ask now: the network is back, somebody looks again, or we wrote something. */
  kick() {
    if (!this.#running) return;
    if (this.#socket && !this.#socket.connected) this.#socket.connect();
    this.ask();
  }

  /** The API was, or was not, reached by somebody else. */
  reached(was) {
    const back = was && !this.#reached;
    this.#reached = was;
    if (this.#running) this.#tell();
    if (back) this.kick();
  }

  /** A new token, after another login of the same user. */
  renew() {
    if (this.#socket?.connected) this.#socket.emit("token.refresh", { token: this.#token() });
    this.kick();
  }

  /** Fetch what came after the cursor; asked while it runs, it runs once more. */
  ask() {
    if (this.#asking) this.#again = true;
    else {
      this.#asking = this.#fetch().finally(() => {
        this.#asking = null;
        this.#plan();
        if (this.#again && this.#running) {
          this.#again = false;
          this.ask();
        }
      });
    }
    return this.#asking;
  }

  async #fetch() {
    try {
      for (let more = true; more && this.#running; ) {
        const page = await this.#api.get("/api/changes", { since: this.#cursor, limit: 200 });
        if (!this.#running) return;
        this.#cursor = page.cursor;
        if (page.resync || page.items.length) this.#onChanges(page.items, page.resync);
        more = !page.resync && page.items.length > 0 && page.cursor < page.head;
      }
    } catch {
      // The next round asks again; the state says why nothing comes.
    }
  }

  #plan() {
    clearTimeout(this.#timer);
    if (!this.#running) return;
    const pause = this.#socket?.connected ? CHECK : document.hidden ? ASK_HIDDEN : ASK;
    this.#timer = setTimeout(() => {
      if (!this.#socket && Date.now() - this.#triedClient > CLIENT_RETRY) this.#connect();
      this.ask();
    }, pause);
  }

  async #connect() {
    this.#triedClient = Date.now();
    try {
      this.#config = await this.#api.get("/api/config");
      if (!this.#config.sync_url || !this.#config.sync_client) return;
      const { io } = await import(this.#config.sync_client);
      if (this.#running && !this.#socket) this.#listen(io);
    } catch {
      // Without the client the page asks; it looks for it again later.
    }
  }

  #listen(io) {
    const socket = io(this.#config.sync_url, {
      transports: ["websocket"],
      auth: (give) => give({ token: this.#token(), cursor: this.#cursor }),
      reconnectionDelay: 500,
      reconnectionDelayMax: 10000,
    });
    this.#socket = socket;
    const changed = () => {
      this.#tell();
      this.ask();
    };
    socket.on("connect", changed);
    socket.on("disconnect", (reason) => {
      changed();
      // The service ended it (an expired token, a limit): Socket.IO leaves coming back to us.
      if (reason === "io server disconnect") setTimeout(() => this.#running && this.#token() && socket.connect(), 2000);
    });
    socket.on("connect_error", () => {
      this.#tell();
      if (!socket.active) setTimeout(() => this.#running && this.#token() && socket.connect(), 10000);
    });
    socket.on("task.sync", (news) => {
      if (!(news?.user_seq <= this.#cursor)) this.ask();
    });
    socket.on("task.resync", () => this.ask());
  }

  #tell() {
    this.#onState(this.state);
  }
}
