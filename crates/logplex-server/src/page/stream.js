// A channel's lines over a websocket: what a session asked of the past, then what comes. A stream that breaks is
// opened again behind the last line that was seen, so that nothing is missing and nothing comes twice.

import { address, pause, Refused } from "./api.js";

/** Pauses between attempts: random up to a bound that doubles from the first of these to the second. */
const BACKOFF = 500;
const BACKOFF_MAX = 10_000;

/** A stream that lasted this long was a good one: the next attempt is made at once. */
const STEADY = 1000;

/** How long a stream may take to open. */
const OPENING = 30_000;

/** How much history there is at most, and how much of it is fetched at once. */
const HISTORY = 1500;
export const PAGE = 300;

/** Why the server closed a stream (RFC 6455, 7.4.1). */
const DONE = 1000;
const REVOKED = 1008;

export class Stream {
  #api;
  #body;
  #on;
  #socket = null;
  #doubted = null;
  #session = null;
  #stopped = false;
  /** The newest cursor; and its epoch and number. */
  #cursor = null;
  #newest = null;
  #opened = 0;

  /** Follows what `members` ask of a channel. `on.rows(rows)` gets what came, `on.state(name, text)` how it goes:
   * `following`, `broken` or `ended`. */
  constructor(api, channel, members, on) {
    this.#api = api;
    this.#body = { ...members, channel_id: channel, tail: true };
    this.#on = on;
  }

  /** Makes the first session, so that it is known what the server refuses before anything else is given up for it. */
  async prepare() {
    if (this.#body.num === 0) {
      // Without a line there is no cursor, and after a break nothing would tell what is old.
      const newest = await this.#past({ channel_id: this.#body.channel_id, num: 1 }, "");
      newest.forEach((row) => this.#isNew(row));
    }
    await this.#makeSession();
  }

  /** Runs until `stop`, or until the server says that there is no more. Throws what the server refuses for good. */
  async run() {
    let failures = 0;
    while (!this.#stopped) {
      const [started, opened] = [performance.now(), this.#opened];
      let why = "connection lost";
      try {
        const code = await this.#follow();
        if (code === DONE) return this.#on.state("ended", "the time of --until has come");
        if (code === REVOKED) return this.#on.state("ended", "the session was revoked; Apply begins another");
        // A browser does not say why a websocket was refused, only that the session for it could be made.
        if (this.#opened === opened) why = "the server answers, but lets no websocket through, or what is between does not";
      } catch (problem) {
        if (!this.#stopped && isFinal(problem)) throw problem;
        if (problem instanceof Refused) why = problem.message;
      } finally {
        this.#leave();
      }
      if (this.#stopped) return;
      if (performance.now() - started >= STEADY) failures = 0;
      this.#on.state("broken", `${why}; reconnecting…`);
      const most = failures === 0 ? 0 : Math.min(BACKOFF * 2 ** failures, BACKOFF_MAX);
      failures += 1;
      await pause(Math.random() * most);
    }
  }

  stop() {
    this.#stopped = true;
    this.#leave();
  }

  /** The server could not be reached another way: this connection may be dead, and nobody would say so. */
  doubt() {
    this.#doubted = this.#socket;
  }

  /** The server is there again: opens the stream anew if it is still the one that was doubted. */
  renew() {
    if (this.#doubted === this.#socket) this.#socket?.close();
    this.#doubted = null;
  }

  /** Up to 300 lines ahead of this cursor that fit, oldest first. */
  older(cursor) {
    return this.#past({ ...this.#body, num: PAGE }, `&before=${encodeURIComponent(cursor)}`);
  }

  /** Lines of the past, and no more. */
  async #past(body, query) {
    const session = await this.#api.makeSession({ ...body, tail: false });
    try {
      const url = address(`sessions/${session}?format=json${query}`);
      const response = await fetch(url, { cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(OPENING) });
      if (!response.ok) throw new Refused(response.status, `the server answered ${response.status}`);
      return read(await response.text());
    } finally {
      this.#api.endSession(session);
    }
  }

  async #makeSession() {
    // Who has seen no line gets all that came meanwhile: there was nothing ahead of it.
    const num = this.#opened > 0 ? HISTORY : this.#body.num;
    const session = await this.#api.makeSession({ ...this.#body, num });
    this.#session = session;
    if (this.#stopped) this.#leave();
  }

  /** One connection, from its session to its end; the code it was closed with. */
  async #follow() {
    if (this.#session === null) await (this.#opened === 0 ? this.prepare() : this.#makeSession());
    if (this.#stopped) return null;
    const url = address(`sessions/${this.#session}?format=json`);
    url.protocol = url.protocol.replace("http", "ws");
    if (this.#cursor !== null) url.searchParams.set("after", this.#cursor);
    return new Promise((closed) => {
      const socket = new WebSocket(url);
      const late = setTimeout(() => socket.close(), OPENING);
      this.#socket = socket;
      socket.onopen = () => {
        clearTimeout(late);
        this.#opened += 1;
        this.#on.state("following", this.#opened > 1 ? "following again, behind the last line" : "following");
      };
      socket.onmessage = (message) => {
        // What a stream brings that was left belongs to nobody any more.
        if (this.#socket === socket) this.#on.rows(read(message.data).filter((row) => this.#isNew(row)));
      };
      socket.onclose = (event) => {
        clearTimeout(late);
        closed(event.code);
      };
    });
  }

  /** Gives up the connection and the session, if there are any. */
  #leave() {
    const [socket, session] = [this.#socket, this.#session];
    [this.#socket, this.#session] = [null, null];
    socket?.close();
    if (session !== null) this.#api.endSession(session);
  }

  /** False for what was there before the connection broke. */
  #isNew(row) {
    if (row.cursor === undefined) return true;
    const [epoch, number] = row.cursor.split("-");
    if (this.#newest?.epoch === epoch && Number(number) <= this.#newest.number) return false;
    this.#newest = { epoch, number: Number(number) };
    this.#cursor = row.cursor;
    return true;
  }
}

/** Whether asking again would not help: the server, or what stands between, refused it, and not for being busy. */
function isFinal(problem) {
  return problem instanceof Refused && problem.status < 500 && problem.status !== 408 && problem.status !== 429;
}

/** The rows of a piece of the stream: one JSON object a line. */
function read(text) {
  return text.split("\n").filter((line) => line !== "").map(row);
}

function row(json) {
  try {
    const line = JSON.parse(json);
    return { ...line, kind: kindOf(line) };
  } catch {
    // It cannot be shown as what it is, and must not disappear.
    return { kind: "line", time: "", source: "", procid: "", message: json };
  }
}

function kindOf(line) {
  if (line.dropped !== undefined) return "loss";
  return line.cursor === undefined ? "note" : "line";
}
