// The lines on the screen: a list of any length of which only what is to be seen is in the document. All rows are
// equally high, so that a place in the list is a number; a line that is longer is read in the details.

import { clock, colourOf, counted, element, grouped, oneLine } from "./text.js";
import { KEPT, KEPT_LENGTH } from "./lines.js";
import { PAGE } from "./stream.js";

/** What the page keeps, in words. */
const ROOM = `this page keeps ${grouped(KEPT)}, of ${KEPT_LENGTH / 1024 / 1024} MiB at most`;

/** Rows beyond the edges, so that there is something to see until the next picture. */
const BEYOND = 6;

/** How much of a line's text stands in its row: more than any screen is wide. */
const TEXT_MAX = 2000;

/** Codes of lines that tell of losses elsewhere: drains and shuttles. */
const TOLD = new Set(["L10", "L12", "L13"]);

/** What stands at the top, by how far back the list goes. */
const TOP = {
  more: "↑ Older lines",
  loading: "Loading older lines…",
  begin: "The server keeps nothing before this",
  failed: "Older lines cannot be had now; try again",
};

export class List {
  /** Whether the newest line is kept in sight. */
  following = true;
  #scroller;
  #canvas;
  #on;
  #lines;
  #marked = [];
  #top = "more";
  #slots = [];
  #selected = null;
  #height = 20;
  #scrolledTo = 0;
  #scheduled = false;

  /** `on.frame()` is called ahead of each picture; `on.open(row)` when a row is to be read; `on.older()` when the top
   * is reached; `on.leave()` and `on.reach()` when the reader moves away from the newest line and back to it. */
  constructor(scroller, canvas, lines, on) {
    this.#scroller = scroller;
    this.#canvas = canvas;
    this.#lines = lines;
    this.#on = on;
    scroller.addEventListener("scroll", () => this.#scrolled());
    scroller.addEventListener("wheel", (event) => this.#wheeled(event), { passive: true });
    scroller.addEventListener("keydown", (event) => this.#pressed(event));
    canvas.addEventListener("click", (event) => this.#clicked(event));
    new ResizeObserver(() => this.#resized()).observe(scroller);
  }

  /** Begins anew with other lines, in which these texts stand out. */
  reset(lines, marked) {
    this.#lines = lines;
    this.#marked = marked;
    this.#selected = null;
    this.following = true;
    // With what they show: who comes after a logout finds nothing.
    this.#slots = [];
    this.setTop("more");
  }

  /** Says what there is ahead of the first row. */
  setTop(top) {
    this.#top = top;
    this.schedule();
  }

  /** Draws soon. */
  schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      this.#on.frame();
      this.#render();
    });
  }

  /** Rows were put ahead of the rest: what is in sight stays where it is. */
  grew(count) {
    this.#canvas.style.height = `${this.#total * this.#height}px`;
    this.#scrollTo(this.#scroller.scrollTop + count * this.#height);
    this.schedule();
  }

  focus() {
    this.#scroller.focus();
  }

  /** Whether the last row is in sight. */
  get atEnd() {
    const { scrollTop, clientHeight, scrollHeight } = this.#scroller;
    return scrollTop + clientHeight >= scrollHeight - this.#height / 2;
  }

  /** All rows and the one at the top, which says what is ahead of them. */
  get #total() {
    return this.#lines.rows.length + 1;
  }

  // === Drawing ===

  #render() {
    const { clientHeight } = this.#scroller;
    this.#canvas.style.height = `${this.#total * this.#height}px`;
    if (this.following) this.#scrollTo(this.#scroller.scrollHeight);
    this.#scroller.setAttribute("aria-rowcount", this.#total);
    this.#makeSlots(Math.ceil(clientHeight / this.#height) + 2 * BEYOND);
    const first = Math.max(0, Math.floor(this.#scroller.scrollTop / this.#height) - BEYOND);
    let active = null;
    // The document has them in their order, which is what a screen reader goes by.
    for (const [place, slot] of this.#slots.entries()) {
      const at = first + place;
      slot.root.hidden = at >= this.#total;
      if (slot.root.hidden) continue;
      slot.root.style.transform = `translateY(${at * this.#height}px)`;
      slot.root.setAttribute("aria-rowindex", at + 1);
      this.#fill(slot, at === 0 ? null : this.#lines.rows[at - 1]);
      if (slot.row !== null && slot.row === this.#selected) active = slot.root;
      slot.root.setAttribute("aria-selected", slot.root === active);
    }
    if (active === null) this.#scroller.removeAttribute("aria-activedescendant");
    else this.#scroller.setAttribute("aria-activedescendant", active.id);
  }

  #makeSlots(count) {
    if (count <= this.#slots.length) return;
    while (this.#slots.length < count) this.#slots.push(makeSlot(this.#slots.length));
    this.#canvas.replaceChildren(...this.#slots.map((slot) => slot.root));
    for (const slot of this.#slots) slot.row = undefined;
  }

  #fill(slot, row) {
    if (row !== null && slot.row === row) return;
    slot.row = row;
    slot.time.textContent = row?.time ? clock(row.time) : "";
    slot.process.textContent = "";
    slot.process.className = "process";
    slot.badge.hidden = true;
    if (row?.kind === "line") return this.#fillLine(slot, row);
    slot.root.className = `row ${row?.kind ?? "top"}`;
    slot.text.textContent = row === null ? this.#topText() : told(row);
  }

  #fillLine(slot, row) {
    const process = `${row.source}[${row.procid}]`;
    slot.root.className = `row line ${weight(row)}`;
    slot.process.textContent = oneLine(process);
    slot.process.classList.add(`p${colourOf(process)}`);
    if (row.code !== undefined) {
      slot.badge.hidden = false;
      slot.badge.textContent = row.code;
      slot.badge.setAttribute("aria-label", `${row.code}: what it means`);
    }
    mark(slot.text, oneLine(row.message.slice(0, TEXT_MAX)), this.#marked);
  }

  #topText() {
    const { skipped, dropped } = this.#lines.before;
    if (skipped + dropped > 0) return told(this.#lines.before);
    if (this.#lines.rows.length === 0) return "No lines yet";
    return this.#lines.hasRoom(PAGE) ? TOP[this.#top] : `There is no room for older lines: ${ROOM}`;
  }

  /** Rows are higher in a narrow window: those in sight stay there when a phone is turned. */
  #resized() {
    const height = parseFloat(getComputedStyle(this.#scroller).getPropertyValue("--row"));
    const place = this.#scroller.scrollTop / this.#height;
    this.#height = height;
    this.#canvas.style.height = `${this.#total * height}px`;
    this.#scrollTo(place * height);
    this.schedule();
  }

  // === Moving ===

  #scrollTo(top) {
    this.#scroller.scrollTop = top;
    this.#scrolledTo = this.#scroller.scrollTop;
  }

  #scrolled() {
    const { scrollTop } = this.#scroller;
    const up = scrollTop < this.#scrolledTo - 1;
    this.#scrolledTo = scrollTop;
    if (this.following && up && !this.atEnd) this.#on.leave();
    if (!this.following && this.atEnd && !up) this.#on.reach();
    if (!this.following && up && scrollTop < this.#height) this.#toOlder();
    this.schedule();
  }

  /** Where there is nothing to scroll, turning the wheel still asks for what was before. */
  #wheeled(event) {
    if (event.deltaY < 0 && this.#scroller.scrollTop === 0) this.#toOlder();
  }

  #toOlder() {
    if (this.#top === "begin" || this.#lines.rows.length === 0) return;
    this.#on.leave();
    this.#on.older();
  }

  #pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.#scroller.clientHeight / this.#height) - 1);
    const moves = { ArrowUp: -1, ArrowDown: 1, PageUp: -page, PageDown: page, Home: -Infinity };
    if (event.key in moves) this.#move(moves[event.key]);
    else if (event.key === "End") this.#toEnd();
    else if (event.key === "Enter" && this.#selected !== null) this.#on.open(this.#selected);
    else return;
    event.preventDefault();
  }

  #move(by) {
    const { rows } = this.#lines;
    const edge = Math.floor((this.#scroller.scrollTop + this.#scroller.clientHeight) / this.#height) - 1;
    const selected = rows.indexOf(this.#selected);
    const from = selected >= 0 ? selected : Math.min(edge, rows.length);
    const to = Math.max(0, Math.min(rows.length - 1, from + by));
    if (by < 0 && to === 0 && from === 0) return this.#toOlder();
    if (by < 0) this.#on.leave();
    this.#selected = rows[to] ?? null;
    this.#show(to === 0 ? 0 : to + 1);
  }

  /** Brings a place in the list into sight. */
  #show(at) {
    const { scrollTop, clientHeight } = this.#scroller;
    const [top, bottom] = [at * this.#height, (at + 1) * this.#height];
    if (top < scrollTop) this.#scrollTo(top);
    else if (bottom > scrollTop + clientHeight) this.#scrollTo(bottom - clientHeight);
    this.schedule();
  }

  #toEnd() {
    this.#selected = null;
    this.#scrollTo(this.#scroller.scrollHeight);
    this.#on.reach();
    this.schedule();
  }

  #clicked(event) {
    const slot = this.#slots.find(({ root }) => root.contains(event.target));
    // Who marks text with the mouse wants to copy it.
    if (slot === undefined || getSelection().type === "Range") return;
    if (slot.row === null) return this.#toOlder();
    this.#selected = slot.row;
    this.#on.open(slot.row);
    this.schedule();
  }
}

function makeSlot(number) {
  const time = element("span", { class: "time", role: "gridcell" });
  const process = element("span", { class: "process", role: "gridcell" });
  // Not for the Tab key: of thousands of lines each would be a stop. Enter on the line leads to the same place.
  const badge = element("button", { class: "badge", type: "button", tabindex: "-1" });
  const text = element("span", { class: "text" });
  const message = element("span", { class: "message", role: "gridcell" }, badge, text);
  const root = element("div", { id: `row-${number}`, role: "row" }, time, process, message);
  return { root, time, process, badge, text, row: undefined };
}

/** Errors and warnings, as `logplex tail` tells them apart (RFC 5424, 6.2.1), and losses that others told. */
function weight(row) {
  if (TOLD.has(row.code)) return "told";
  if (row.severity <= 3) return "error";
  return row.severity === 4 ? "warning" : "";
}

/** What a row says that is no line. */
export function told(row) {
  if (row.kind === "note") return oneLine(row.message);
  if (row.kind === "loss") return `── ${toldLoss(row)} ──`;
  const skipped = `${counted(row.skipped, "line")} skipped here: ${ROOM}`;
  const dropped = row.dropped > 0 ? `; and ${counted(row.dropped, "message")} that the server told as dropped (L11)` : "";
  return `── ${skipped}${dropped} ──`;
}

function toldLoss({ dropped, since, message, code }) {
  // What the notice adds behind its sentence: ` at_most=7 reason=crash`.
  const facts = message.split(since)[1] ?? "";
  const most = facts.includes(" at_most=") ? "at most " : "";
  return oneLine(`${most}${counted(dropped, "message")} dropped since ${clock(since)} (${code}${facts})`);
}

/** Sets a text in which these texts stand out. */
function mark(cell, text, marked) {
  if (marked.length === 0) {
    cell.textContent = text;
    return;
  }
  const parts = [];
  let done = 0;
  while (done < text.length) {
    const found = marked.map((word) => ({ at: text.indexOf(word, done), word })).filter(({ at }) => at >= 0);
    if (found.length === 0) break;
    const { at, word } = found.reduce((one, other) => (other.at < one.at ? other : one));
    parts.push(text.slice(done, at), element("mark", {}, word));
    done = at + word.length;
  }
  cell.replaceChildren(...parts, text.slice(done));
}
