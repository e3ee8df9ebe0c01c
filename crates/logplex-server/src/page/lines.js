// What the page holds of a stream: rows that are shown, lines that wait while it is paused, and the number of those
// that neither has room for. After every call: received = shown + waiting + skipped.

/** How many rows are shown at most, and how many may wait; and how long their texts may be together. */
export const KEPT = 20_000;
export const KEPT_LENGTH = 32 * 1024 * 1024;

/** What a row costs beside its text. */
const ROW = 200;

/** Rows, the oldest first, within bounds. */
class Queue {
  rows = [];
  lines = 0;
  length = 0;

  push(row) {
    this.rows.push(row);
    this.#count(row, 1);
  }

  /** Takes out the oldest that there is no room for. */
  takeOver() {
    let over = 0;
    while (this.rows.length - over > KEPT || this.length > KEPT_LENGTH) {
      this.#count(this.rows[over], -1);
      over += 1;
    }
    return this.rows.splice(0, over);
  }

  /** Puts older rows ahead of the rest. */
  unshift(rows) {
    this.rows = [...rows, ...this.rows];
    for (const row of rows) this.#count(row, 1);
  }

  /** Takes out all. */
  takeAll() {
    const { rows } = this;
    [this.rows, this.lines, this.length] = [[], 0, 0];
    return rows;
  }

  #count(row, sign) {
    if (row.kind === "line") this.lines += sign;
    this.length += sign * (ROW + (row.message?.length ?? 0));
  }
}

/**
 * A row is what the server sent with a `kind`: a `line`; a `loss` that the server tells of (`dropped` messages); a
 * `note`; or a `skip`, our own, which stands for `skipped` lines and for the `dropped` messages that losses among
 * them told of.
 */
export class Lines {
  received = 0;
  skipped = 0;
  dropped = 0;
  /** What was ahead of the first row and is here no more. */
  before = skip();
  #shown = new Queue();
  #waiting = new Queue();
  #missed = skip();

  get rows() {
    return this.#shown.rows;
  }

  get shown() {
    return this.#shown.lines;
  }

  get waiting() {
    return this.#waiting.lines;
  }

  /** Takes what came. It waits until it is released; the oldest that there is no room for are counted and let go. */
  take(rows) {
    for (const row of rows) this.#waiting.push(row);
    this.#countNew(rows);
    this.#letGo(this.#waiting.takeOver(), this.#missed);
  }

  /** Shows all that waits. */
  release() {
    if (this.#missed.skipped + this.#missed.dropped > 0) this.#shown.push(this.#missed);
    this.#missed = skip();
    for (const row of this.#waiting.takeAll()) this.#shown.push(row);
    this.#letGo(this.#shown.takeOver(), this.before);
  }

  /** Whether older rows could be put ahead of the rest. */
  hasRoom(rows) {
    const complete = this.before.skipped + this.before.dropped === 0;
    return complete && this.rows.length + rows <= KEPT && this.#shown.length < KEPT_LENGTH / 2;
  }

  /** Puts older rows ahead of the rest. */
  prepend(rows) {
    this.#shown.unshift(rows);
    this.#countNew(rows);
  }

  #countNew(rows) {
    for (const row of rows) {
      if (row.kind === "line") this.received += 1;
      if (row.kind === "loss") this.dropped += row.dropped;
    }
  }

  #letGo(rows, into) {
    for (const row of rows) {
      if (row.kind === "line") {
        this.skipped += 1;
        into.skipped += 1;
      } else if (row.kind === "loss") {
        into.dropped += row.dropped;
      } else if (row.kind === "skip") {
        into.skipped += row.skipped;
        into.dropped += row.dropped;
      }
    }
  }
}

function skip() {
  return { kind: "skip", skipped: 0, dropped: 0 };
}
