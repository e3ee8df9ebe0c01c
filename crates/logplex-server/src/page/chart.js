// A channel's messages and losses a second, from its ledgers: what its tokens brought, and what its drains and tails
// dropped and lost. It is a picture with the same in words.

import { element, grouped } from "./text.js";

/** How many counts are shown; at one each two seconds, two minutes. */
const COUNTS = 60;

const [WIDTH, HEIGHT] = [120, 28];

export class Chart {
  #picture;
  #text;
  #before = null;
  #counts = [];

  constructor(picture, text) {
    this.#picture = picture;
    this.#text = text;
  }

  reset() {
    this.#before = null;
    this.#counts = [];
    this.#picture.replaceChildren();
    this.#text.textContent = "";
  }

  /** Adds what `GET /v3/channels/:id/stats` says at a time, in milliseconds. */
  add(stats, at) {
    const now = { at, messages: messages(stats), losses: losses(stats) };
    if (this.#before !== null) {
      const seconds = (at - this.#before.at) / 1000;
      const rate = (name) => since(this.#before[name], now[name]) / seconds;
      this.#counts.push({ messages: rate("messages"), losses: rate("losses") });
      this.#counts.splice(0, this.#counts.length - COUNTS);
      this.#draw();
    }
    this.#before = now;
  }

  #draw() {
    const most = Math.max(1, ...this.#counts.map((count) => Math.max(count.messages, count.losses)));
    const x = (at) => WIDTH - (this.#counts.length - 1 - at) * (WIDTH / (COUNTS - 1));
    const y = (rate) => HEIGHT - 1 - (rate / most) * (HEIGHT - 3);
    const points = this.#counts.map((count, at) => `${x(at).toFixed(1)},${y(count.messages).toFixed(1)}`);
    const bars = this.#counts.map((count, at) =>
      count.losses > 0 ? `M${x(at).toFixed(1)},${HEIGHT}V${Math.min(HEIGHT - 3, y(count.losses)).toFixed(1)}` : "",
    );
    this.#picture.replaceChildren(
      path("area", `M${x(0).toFixed(1)},${HEIGHT}L${points.join("L")}V${HEIGHT}Z`),
      path("rate", `M${points.join("L")}`),
      path("losses", bars.join("")),
    );
    const { messages, losses } = this.#counts.at(-1);
    const lost = element("span", { class: losses > 0 ? "losing" : "" }, `${rounded(losses)} dropped or lost/s`);
    this.#text.replaceChildren(`${rounded(messages)} messages/s · `, lost);
    const words = `${this.#text.textContent}; at most ${rounded(most)}/s in the last two minutes`;
    this.#picture.setAttribute("aria-label", words);
  }
}

/** How much a counter went up; after a restart of the server it begins anew. */
function since(before, now) {
  return now < before ? now : now - before;
}

function rounded(rate) {
  return rate > 0 && rate < 10 ? rate.toFixed(1) : grouped(Math.round(rate));
}

function messages({ tokens }) {
  return sum(tokens.map((token) => token.accepted));
}

/** What a tail had not read when it was closed is nobody's loss. */
function losses({ tokens, drains, tails }) {
  const upstream = tokens.map((token) => token.upstream_dropped + token.upstream_lost);
  const drained = drains.map((drain) => total(drain.dropped) + total(drain.lost));
  return sum(upstream) + sum(drained) + total(tails.dropped);
}

/** The sum of counts by reason. */
export function total(counts) {
  return sum(Object.values(counts));
}

function sum(numbers) {
  return numbers.reduce((sum, number) => sum + number, 0);
}

function path(name, data) {
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("class", name);
  path.setAttribute("d", data);
  return path;
}
