// Text from outside, made fit to be shown. It only ever becomes a text node: nothing here, or elsewhere, reads markup.

const COLOURS = 8;

// What would show as something else than it is: control characters, and those that turn the text around them.
const HOSTILE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

const NAMED = { "\n": "\\n", "\r": "\\r" };

/** The text on one line, with everything in it to be seen. */
export function oneLine(text) {
  return text.replace(/\n/g, "\\n").replace(HOSTILE, escaped);
}

/** The text as it is, line breaks and all, but for what would hide. */
export function visible(text) {
  return text.replace(/\r\n/g, "\n").replace(HOSTILE, escaped);
}

function escaped(char) {
  const code = char.codePointAt(0).toString(16);
  return NAMED[char] ?? (code.length > 2 ? `\\u{${code}}` : `\\x${code.padStart(2, "0")}`);
}

/** `1,101`, whatever the reader's language: as the server's own notices and `logplex tail` write it. */
export function grouped(number) {
  return number.toLocaleString("en");
}

/** `1 line`, `2 lines`. */
export function counted(number, word) {
  return `${grouped(number)} ${word}${number === 1 ? "" : "s"}`;
}

const colours = new Map();

/** Which colour a process has, 0 to 7; the same that `logplex tail` gives it (FNV-1a, which is not seeded). */
export function colourOf(process) {
  let colour = colours.get(process);
  if (colour === undefined) {
    const add = (hash, byte) => Math.imul(hash ^ byte, 0x01000193);
    const hash = new TextEncoder().encode(process).reduce(add, 0x811c9dc5);
    colour = (hash >>> 16) % COLOURS;
    // Names come from outside: there may be any number of them.
    if (colours.size >= 1000) colours.clear();
    colours.set(process, colour);
  }
  return colour;
}

const pad = (number, width = 2) => String(number).padStart(width, "0");

/** A time as this reader's clock shows it, in at most 12 characters: `03:04:05.678`, `03:04:05` where no more is known,
 * or another day's `Jan 02 03:04`. */
export function clock(time) {
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) return oneLine(time).slice(0, 12);
  const hours = `${pad(at.getHours())}:${pad(at.getMinutes())}`;
  if (at.toDateString() === new Date().toDateString()) {
    const seconds = `${hours}:${pad(at.getSeconds())}`;
    return time.includes(".") ? `${seconds}.${pad(at.getMilliseconds(), 3)}` : seconds;
  }
  return `${at.toLocaleString("en", { month: "short" })} ${pad(at.getDate())} ${hours}`;
}

/** An element with attributes, and children that are elements or texts; what is null is left out. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}
