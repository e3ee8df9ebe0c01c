// Requests to the management API, with the key.

/** How long an answer may take. A drain's test is the slowest: the server gives each of its steps some seconds. */
const PATIENCE = 60_000;

/** How much of an answer that is no JSON is shown. */
const REASON_MAX = 200;

/** What the server refused: its status and its words. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export class Api {
  #key;

  constructor(key) {
    this.#key = key;
  }

  /** The answer's JSON, or null if it has none. Throws `Refused`, or another error where there was no answer. */
  async call(method, path, body) {
    const headers = { Authorization: `Bearer ${this.#key}` };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const response = await fetch(address(path), {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.timeout(PATIENCE),
    });
    const text = await response.text();
    if (!response.ok) throw new Refused(response.status, reason(text) ?? `the server answered ${response.status}`);
    return text === "" ? null : JSON.parse(text);
  }

  get(path) {
    return this.call("GET", path);
  }

  post(path, body) {
    return this.call("POST", path, body);
  }

  /** Makes a session; the part of its URL that makes it this one. */
  async makeSession(body) {
    const { url } = await this.post("v3/sessions", body);
    return new URL(url).pathname.split("/").pop();
  }

  /** Ends a session early. Nobody waits for it: a session that nobody uses ends by itself. */
  endSession(session) {
    this.call("DELETE", `v3/sessions/${session}`).catch(() => {});
  }
}

/** An address on this server, which may be below a path of a proxy's: all paths are relative to the page's own. */
export function address(path) {
  return new URL(path, document.baseURI);
}

/** Waits, in milliseconds. */
export function pause(time) {
  return new Promise((resume) => setTimeout(resume, time));
}

/** What an answer says of itself, if it does. What stands between may answer with a page of its own, which is none. */
function reason(text) {
  try {
    const { error, detail } = JSON.parse(text);
    return detail === undefined ? error : `${error}: ${detail}`;
  } catch {
    const words = text.trim();
    return words === "" || words.startsWith("<") ? undefined : words.slice(0, REASON_MAX);
  }
}
