// Logging in and making an account; one form, two uses.

import { $ } from "./dom.js";
import { zone } from "./time.js";

export class Auth {
  #api;
  #session;
  #joining = false;

  constructor(api, session) {
    this.#api = api;
    this.#session = session;
    $("auth-switch").addEventListener("click", () => {
      this.#use(!this.#joining);
      $("email").focus();
    });
    $("auth-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  /** Show the form; `why` says what happened when it was not the user who left. */
  open(why = "") {
    this.#use(false);
    if (why) $("auth-why").textContent = why;
    $("auth").hidden = false;
    $("email").focus();
  }

  #use(joining) {
    this.#joining = joining;
    $("auth-title").textContent = joining ? "Create an account" : "Welcome back";
    $("auth-why").textContent = joining ? "It takes a minute, and only an address." : "Log in to see your tasks.";
    $("auth-submit").textContent = joining ? "Create account" : "Log in";
    $("auth-question").textContent = joining ? "Have an account?" : "New here?";
    $("auth-switch").textContent = joining ? "Log in" : "Create an account";
    $("password").autocomplete = joining ? "new-password" : "current-password";
    $("password-hint").hidden = !joining;
    this.#fail("");
  }

  async #submit() {
    const account = { email: $("email").value.trim(), password: $("password").value };
    const missing = !account.email ? "email" : account.password.length < (this.#joining ? 8 : 1) ? "password" : "";
    if (missing) {
      this.#fail(missing === "email" ? "Your e-mail address is missing." : this.#joining ? "The password needs at least 8 characters." : "Your password is missing.", missing);
      return;
    }
    $("auth-submit").disabled = true;
    try {
      if (this.#joining) await this.#api.open("/api/auth/register", { ...account, zone: zone || "UTC" });
      const { access_token: token, expires_in: seconds } = await this.#api.open("/api/auth/login", account);
      $("auth-form").reset();
      this.#session.begin(token, seconds, account.email);
    } catch (error) {
      this.#fail(...explain(error));
    } finally {
      $("auth-submit").disabled = false;
    }
  }

  #fail(words, field = "") {
    $("auth-error").textContent = words;
    $("auth-error").hidden = !words;
    for (const id of ["email", "password"]) $(id).setAttribute("aria-invalid", String(id === field));
    if (words) $(field || "password").focus();
  }
}

function explain(error) {
  if (error.status === 401) return ["Address and password don't belong together.", "password"];
  if (error.status === 409) return ["There is already an account with this address. Log in with it.", "email"];
  if (error.status === 429) return [`Too many tries. Wait ${error.retryAfter || "a few"} seconds.`];
  const [first] = error.fields || [];
  if (first?.field === "email") return ["That is not an e-mail address.", "email"];
  return [error.message, first ? "password" : ""];
}
