// What the page holds of a stream: rows that are shown, lines that wait while it is paused, and the number of those
// that neither has room for. After every call: received = shown + waiting + skipped.

/** How many rows are kept, and how many may wait. */
export const KEPT = 20_000;

/**
 * A row is what the server sent with a `kind`: a `line`; a `loss` that the server tells of (`dropped` messages); a
 * `note`; or a `skip`, our own, which stands for `skipped` lines and for the `lost` messages that losses among them
 * told of.
 */
export class Lines {
  rows = [];
  received = 0;
  shown = 0;
  skipped = 0;
  lost = 0;
  /** What was ahead of the first row and is here no more. */
  before = { kind: "skip", skipped: 0, lost: 0 };
  #waiting = [];
  #waitingLines = 0;
  #missed = { kind: "skip", skipped: 0, lost: 0 };

  get waiting() {
    return this.#waitingLines;
  }

  /** Whether `rows` is not all there is. */
  get hasWaiting() {
    return this.#waiting.length > 0;
  }

  /** Takes what came. It waits until it is released; beyond the bound the oldest are counted and let go. */
  take(rows) {
    for (const row of rows) {
      this.#waiting.push(row);
      if (row.kind === "line") this.#waitingLines += 1;
      if (row.kind === "loss") this.lost += row.dropped;
    }
    this.received += countLines(rows);
    const over = this.#waiting.splice(0, Math.max(0, this.#waiting.length - KEPT));
    this.#waitingLines -= countLines(over);
    this.#letGo(over, this.#missed);
  }

  /** Shows all that waits. Returns how many rows went from the top for it. */
  release() {
    const missed = this.#missed.skipped + this.#missed.lost > 0;
    const rows = missed ? [this.#missed, ...this.#waiting] : this.#waiting;
    for (const row of rows) this.rows.push(row);
    this.shown += this.#waitingLines;
    this.#missed = { kind: "skip", skipped: 0, lost: 0 };
    [this.#waiting, this.#waitingLines] = [[], 0];
    const over = this.rows.splice(0, Math.max(0, this.rows.length - KEPT));
    this.shown -= countLines(over);
    this.#letGo(over, this.before);
    return over.length;
  }

  /** Whether older lines could be put ahead of the rest. */
  hasRoom(count) {
    return this.before.skipped === 0 && this.rows.length + count <= KEPT;
  }

  /** Puts older lines ahead of the rest. */
  prepend(rows) {
    this.rows = [...rows, ...this.rows];
    const lines = countLines(rows);
    this.received += lines;
    this.shown += lines;
  }

  #letGo(rows, into) {
    for (const row of rows) {
      if (row.kind === "line") {
        this.skipped += 1;
        into.skipped += 1;
      } else if (row.kind === "loss") {
        into.lost += row.dropped;
      } else if (row.kind === "skip") {
        into.skipped += row.skipped;
        into.lost += row.lost;
      }
    }
  }
}

function countLines(rows) {
  return rows.reduce((count, row) => count + (row.kind === "line" ? 1 : 0), 0);
}
