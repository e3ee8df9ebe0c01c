// One line in full, and what its code means: in the server's own words, which are those of `logplex explain`.

import { element, visible } from "./text.js";
import { told } from "./list.js";

export class Details {
  #root;
  #api;
  #channel;
  #onClose;
  #codes = new Map();
  #row = null;

  constructor(root, onClose) {
    this.#root = root;
    this.#onClose = onClose;
  }

  /** Whom to ask, and what stands for CHANNEL in its answers. */
  use(api, channel) {
    [this.#api, this.#channel] = [api, channel];
  }

  get isOpen() {
    return !this.#root.hidden;
  }

  /** Closes it; `onClose` is told if the focus was here and must go somewhere. */
  close() {
    const focused = this.#root.contains(document.activeElement);
    this.#row = null;
    this.#root.hidden = true;
    this.#root.replaceChildren();
    if (focused) this.#onClose();
  }

  /** Shows a row; the focus goes there, so that it is read out and Esc leads back. */
  async open(row) {
    this.#row = row;
    const text = row.kind === "line" || row.kind === "loss" ? visible(row.message) : told(row);
    const whole = element("pre", { id: "whole", tabindex: "0", "aria-label": "Message" }, text);
    const explained = element("section", { id: "explained", "aria-live": "polite" });
    this.#root.replaceChildren(this.#head(whole), facts(row), whole, explained);
    this.#root.hidden = false;
    this.#root.focus();
    if (row.code !== undefined) await this.#explain(row, explained);
  }

  #head(whole) {
    const copy = element("button", { type: "button", id: "copy" }, "Copy");
    copy.addEventListener("click", async () => {
      copy.textContent = (await copied(whole)) ? "Copied" : "Selected";
    });
    const close = element("button", { type: "button", class: "close", "aria-label": "Close" }, "✕");
    close.addEventListener("click", () => this.close());
    return element("div", { class: "dialog-head" }, element("h2", { id: "details-title" }, "Line"), copy, close);
  }

  async #explain(row, section) {
    section.textContent = `${row.code}…`;
    try {
      const entry = await this.#entry(row.code);
      if (this.#row === row) section.replaceChildren(...explanation(entry, this.#channel));
    } catch (problem) {
      section.textContent = `${row.code} cannot be explained now: ${problem.message}`;
    }
  }

  async #entry(code) {
    if (!this.#codes.has(code)) {
      this.#codes.set(code, await this.#api.get(`v3/codes/${encodeURIComponent(code)}`));
    }
    return this.#codes.get(code);
  }
}

function facts(row) {
  const severities = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
  const known = {
    time: row.time,
    source: row.source,
    process: row.procid,
    severity: severities[row.severity],
    cursor: row.cursor,
  };
  const given = Object.entries(known).filter(([, value]) => value !== undefined && value !== "");
  const fact = ([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, visible(value)));
  return element("dl", { class: "facts" }, ...given.map(fact));
}

function explanation(entry, channel) {
  const statuses = entry.statuses.length > 0 ? ` · status ${entry.statuses.join(", ")}` : "";
  const state = entry.state === "present" ? "" : ` · ${entry.state}`;
  return [
    element("h3", {}, element("span", { class: "badge" }, entry.name), ` ${entry.title}`),
    element("p", { class: "quiet" }, `${entry.severity} · whose doing: ${entry.fault}${statuses}${state}`),
    element("p", {}, ...withCode(entry.meaning)),
    element("h4", {}, "What to check"),
    element("ol", {}, ...entry.checks.map((check) => element("li", {}, ...withCode(check)))),
    element("h4", {}, "Evidence"),
    element("pre", { tabindex: "0", "aria-label": "Command" }, entry.tail.replace("CHANNEL", channel)),
    element("h4", {}, "Example"),
    element("pre", { tabindex: "0", "aria-label": "Example" }, entry.example),
  ];
}

/** A text with what stands between backticks set as code. */
function withCode(text) {
  return text.split("`").map((part, at) => (at % 2 === 1 ? element("code", {}, part) : part));
}

/** Copies a text, or selects it where a browser lets no page copy: without TLS, but for loopback. */
async function copied(whole) {
  try {
    await navigator.clipboard.writeText(whole.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(whole);
    return false;
  }
}
