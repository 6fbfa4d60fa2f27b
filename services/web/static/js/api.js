// The HTTP API: problems as errors, one idempotency key for each write, retries of what was left in doubt.

const PATIENCE = [300, 900, 2000, 4000]; // milliseconds before each retry
const SECONDS = 20;

// What the page calls the fields of which a toast may have to tell.
const NAMES = { q: "Search", tags: "Tags", due_from: "Due from", due_to: "Due until", title: "Title", password: "Password" };

/** What the service said went wrong; `fields` has its words for single fields. */
export class Problem extends Error {
  constructor(status, body, retryAfter) {
    const fields = Array.isArray(body.errors) ? body.errors : [];
    const named = fields.map(({ field, message }) => `${NAMES[field.split(".")[0]] || field}: ${message}`).join("; ");
    super(sentence(named || body.detail || "something went wrong"));
    this.status = status;
    this.code = body.code || "";
    this.fields = fields;
    this.retryAfter = retryAfter;
  }
}

const sentence = (words) => words.charAt(0).toUpperCase() + words.slice(1).replace(/[.]?$/, ".");

/** Nobody answered: no network, or nobody there. */
export class Unreachable extends Error {
  constructor() {
    super("The server can't be reached.");
  }
}

export class Api {
  #token = () => null;
  #onUnauthorized = () => {};
  #onReach = () => {};

  /** `token` gives the access token, `onUnauthorized` hears of a refused one, `onReach` whether there was an answer. */
  constructor({ token, onUnauthorized, onReach }) {
    this.#token = token;
    this.#onUnauthorized = onUnauthorized;
    this.#onReach = onReach;
  }

  get(path, query = {}) {
    const given = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) {
      for (const one of [value].flat()) if (one !== "" && one !== null && one !== undefined) given.append(name, one);
    }
    const text = given.toString();
    return this.#call("GET", text ? `${path}?${text}` : path, {});
  }

  /** A write; sent again with the same key it has one effect. */
  write(method, path, { body, version, key = newKey() } = {}) {
    const headers = { "Idempotency-Key": key };
    if (version) headers["If-Match"] = `"${version}"`;
    return this.#persist(method, path, { body, headers });
  }

  /** A request without a token: register and log in. */
  open(path, body) {
    return this.#call("POST", path, { body, anonymous: true });
  }

  async #persist(method, path, options) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#call(method, path, options);
      } catch (error) {
        const pause = PATIENCE[attempt];
        const passing = error instanceof Unreachable || [429, 502, 503, 504].includes(error.status);
        if (!passing || pause === undefined || navigator.onLine === false) throw error;
        await new Promise((go) => setTimeout(go, Math.max(pause, Math.min(error.retryAfter || 0, 5) * 1000)));
      }
    }
  }

  async #call(method, path, { body, headers = {}, anonymous = false }) {
    const sent = { ...headers, Accept: "application/json" };
    const token = anonymous ? null : this.#token();
    if (token) sent.Authorization = `Bearer ${token}`;
    if (body !== undefined) sent["Content-Type"] = "application/json";
    const response = await this.#fetch(path, { method, headers: sent, body: body && JSON.stringify(body) });
    if (response.ok) return response.status === 204 ? null : response.json();
    const told = await response.json().catch(() => ({}));
    if (response.status === 401 && !anonymous && token === this.#token()) this.#onUnauthorized();
    throw new Problem(response.status, told, Number(response.headers.get("Retry-After")) || 0);
  }

  async #fetch(path, options) {
    try {
      const response = await fetch(path, {
        ...options,
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
        signal: AbortSignal.timeout(SECONDS * 1000),
      });
      this.#onReach(true);
      return response;
    } catch {
      this.#onReach(false);
      throw new Unreachable();
    }
  }
}

/** A new name for a write. */
export function newKey() {
  // randomUUID wants a secure context; a plain address in the office's network is none.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
