// Who is logged in: the access token, kept for this browser until it expires, and shared by its tabs.

const KEY = "todo.session";

export class Session {
  #held = null;
  #listeners = new Set();

  constructor() {
    this.#held = read();
    addEventListener("storage", (event) => {
      if (event.key !== KEY) return;
      this.#held = read();
      this.#tell();
    });
  }

  /** The token, or null when there is none that still holds. */
  get token() {
    return this.#held && this.#held.expires > Date.now() ? this.#held.token : null;
  }

  get email() {
    return this.#held ? this.#held.email : "";
  }

  /** The user's id out of the token: two logins of one user are one user. */
  get user() {
    try {
      return this.#held ? JSON.parse(atob(this.#held.token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))).sub : "";
    } catch {
      return "";
    }
  }

  /** `listener` is called when somebody logs in or out, in another tab too. */
  onChange(listener) {
    this.#listeners.add(listener);
  }

  begin(token, seconds, email) {
    this.#held = { token, email, expires: Date.now() + seconds * 1000 };
    write(this.#held);
    this.#tell();
  }

  /** The token does not hold any more. Other tabs find that out for themselves, without losing what is typed there. */
  drop() {
    this.#held = null;
  }

  end() {
    this.#held = null;
    write(null);
    this.#tell();
  }

  #tell() {
    for (const listener of this.#listeners) listener();
  }
}

function read() {
  try {
    const held = JSON.parse(localStorage.getItem(KEY));
    return held && typeof held.token === "string" ? held : null;
  } catch {
    return null;
  }
}

function write(held) {
  try {
    if (held) localStorage.setItem(KEY, JSON.stringify(held));
    else localStorage.removeItem(KEY);
  } catch {
    // Without storage the session lives as long as the page.
  }
}
