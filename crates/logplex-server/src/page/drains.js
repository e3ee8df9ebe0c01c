// A channel's drains: how each fares, and a button that sends one marked line through it.

import { clock, element, grouped, oneLine } from "./text.js";
import { total } from "./chart.js";

export class Drains {
  #root;
  #api;
  #path;
  #cards = new Map();

  constructor(root) {
    this.#root = root;
  }

  /** Whom to ask, and of which channel. */
  use(api, channel) {
    [this.#api, this.#path] = [api, `v3/channels/${encodeURIComponent(channel)}/drains`];
    this.#cards.clear();
    this.#root.replaceChildren(element("p", { class: "quiet" }, "Asking…"));
  }

  async refresh() {
    const path = this.#path;
    const drains = await this.#api.get(path);
    // Another channel may have been chosen meanwhile.
    if (path === this.#path) this.#show(drains);
  }

  #show(drains) {
    const gone = [...this.#cards.keys()].filter((id) => !drains.some((drain) => drain.id === id));
    for (const id of gone) this.#cards.delete(id);
    for (const drain of drains) {
      // A card stays the same element, so that its button keeps the focus and its report stays.
      const card = this.#cards.get(drain.id) ?? this.#makeCard(drain.id);
      card.head.replaceChildren(...head(drain));
      card.facts.replaceChildren(...facts(drain));
    }
    const cards = [...this.#cards.values()].map((card) => card.root);
    const none = element("p", { class: "quiet" }, "This channel has no drains. Add one: logplex drains add CHANNEL URL");
    const wanted = cards.length > 0 ? cards : [none];
    const same = wanted.length === this.#root.children.length && wanted.every((one, at) => one === this.#root.children[at]);
    if (!same) this.#root.replaceChildren(...wanted);
  }

  #makeCard(id) {
    const button = element("button", { type: "button" }, "Test");
    const report = element("div", { class: "report", role: "status" });
    const card = { head: element("div", { class: "drain-head" }), facts: element("dl", { class: "facts" }) };
    card.root = element("article", { class: "drain" }, card.head, card.facts, button, report);
    button.addEventListener("click", () => this.#test(id, button, report));
    this.#cards.set(id, card);
    return card;
  }

  async #test(id, button, report) {
    button.disabled = true;
    report.replaceChildren("Sending one marked line…");
    try {
      const answer = await this.#api.post(`${this.#path}/${id}/test`);
      report.replaceChildren(...answer.report.steps.map(step), verdict(answer.ok));
    } catch (problem) {
      report.replaceChildren(oneLine(`The test could not be made: ${problem.message}`));
    }
    button.disabled = false;
    button.focus();
  }
}

function head(drain) {
  return [
    element("h3", {}, oneLine(drain.url)),
    element("span", { class: `drain-state ${drain.state}` }, drain.state),
  ];
}

function facts(drain) {
  const known = {
    delivered: grouped(drain.delivered),
    held: held(drain),
    dropped: reasons(drain.dropped),
    lost: reasons(drain.lost),
    "last try": drain.last_attempt_at === null ? "none yet" : clock(drain.last_attempt_at),
    "last answer": drain.last_status === null ? null : String(drain.last_status),
    "last error": drain.last_error,
    "next try": nextTry(drain.next_try_at),
    options: drain.options.join(" "),
  };
  const given = Object.entries(known).filter(([, value]) => value !== null && value !== "");
  return given.map(([name, value]) =>
    element("div", { class: name.replace(" ", "-") }, element("dt", {}, name), element("dd", {}, oneLine(value))),
  );
}

function held(drain) {
  const oldest = drain.oldest_held_seconds;
  return grouped(drain.held) + (oldest === null ? "" : `, the oldest for ${span(oldest)}`);
}

function reasons(counts) {
  const each = Object.entries(counts);
  if (each.length === 0) return "0";
  const named = each.length === 1 ? each[0][0] : each.map(([reason, count]) => `${grouped(count)} ${reason}`).join(", ");
  return `${grouped(total(counts))} (${named})`;
}

function nextTry(at) {
  if (at === null) return null;
  return `in ${span(Math.max(0, Math.round((new Date(at) - Date.now()) / 1000)))}`;
}

/** A time in seconds, in words. */
function span(seconds) {
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
}

function step({ step, ok, detail, ms }) {
  return element("p", { class: ok ? "fine" : "failed" }, `${ok ? "✓" : "✗"} ${step}  ${oneLine(detail)}  (${ms} ms)`);
}

function verdict(ok) {
  return element("p", { class: ok ? "fine" : "failed" }, ok ? "The line arrived." : "The line did not arrive.");
}
