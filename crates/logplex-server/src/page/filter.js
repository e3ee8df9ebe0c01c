// The words of the filter box: those of `logplex tail`, as members of a session.

/** Each word, the member it sets, and whether it may be given again. */
const WORDS = {
  source: { member: "sources", many: true },
  "exclude-source": { member: "exclude_sources", many: true },
  ps: { member: "processes", many: true },
  "exclude-ps": { member: "exclude_processes", many: true },
  grep: { member: "grep", many: true },
  exclude: { member: "exclude", many: true },
  level: { member: "min_severity" },
  code: { member: "code", many: true },
  since: { member: "since" },
  until: { member: "until" },
  num: { member: "num" },
};

const SHORT = { s: "source", p: "ps", g: "grep", e: "exclude", n: "num" };

/** How much history is asked for: what fills a screen or two, and with a time to begin at all that is kept. */
const NUM = 200;
const NUM_MAX = 1500;

/**
 * What is asked for: the members of a session, and the plain texts that all lines kept have in them.
 * Throws an `Error` whose message says what is wrong and how it is written.
 */
export function parse(text) {
  const members = {};
  const words = split(text);
  while (words.length > 0) {
    const [name, value] = option(words);
    if (value === undefined || value === "") throw new Error(`--${name} needs a value, such as --${name}=…`);
    set(members, name, value);
  }
  members.num = number(members.num ?? (members.since === undefined ? NUM : NUM_MAX));
  return { members, marked: (members.grep ?? []).filter(isPlain) };
}

/** Takes the next option and its value off the words. */
function option(words) {
  const { text, quoted } = words.shift();
  const [, dashes, name, value] = /^(-{0,2})([a-z-]*)(?:=(.*))?$/is.exec(text) ?? [text, "", ""];
  if (quoted || (dashes === "" && !(value !== undefined && Object.hasOwn(WORDS, name)))) return ["grep", text];
  const known = dashes === "-" ? SHORT[name] : name;
  if (known === "no-follow") throw new Error("this page follows; Space pauses it, and --until ends it");
  if (!Object.hasOwn(WORDS, known)) throw new Error(unknown(text, name));
  return [known, value ?? words.shift()?.text];
}

function set(members, name, value) {
  const { member, many } = WORDS[name];
  if (many) {
    (members[member] ??= []).push(value);
  } else if (members[member] === undefined) {
    members[member] = value;
  } else {
    throw new Error(`--${name} is given twice`);
  }
}

function number(text) {
  const number = Number(text);
  if (Number.isInteger(number) && number >= 0 && number <= NUM_MAX) return number;
  throw new Error(`--num takes a number of lines, 0 to ${NUM_MAX}, and not ${text}`);
}

function unknown(text, name) {
  const nearest = Object.keys(WORDS).find((word) => distance(word, name) <= 2);
  const meant = nearest === undefined ? `the words are ${Object.keys(WORDS).join(", ")}` : `did you mean --${nearest}?`;
  return `${text} is not known: ${meant} As a text to look for, put it in quotation marks.`;
}

/** Words between blanks; a quotation mark at a word's beginning, or behind `=`, holds one together. */
function split(text) {
  const pattern = /\s*(?:((?:-{0,2}[a-z-]+=)?)(["'])(.*?)\2(?=\s|$)|(\S+))/gisy;
  const words = [];
  for (const [, head, mark, inner, bare] of text.trimEnd().matchAll(pattern)) {
    if (bare !== undefined && /^(-{0,2}[a-z-]+=)?["']/i.test(bare)) {
      throw new Error(`a quotation mark is not closed: ${bare}`);
    }
    words.push(mark === undefined ? { text: bare } : { text: head + inner, quoted: head === "" });
  }
  return words;
}

/** How many letters must change to make one word of another. */
function distance(one, other) {
  let row = Array.from({ length: other.length + 1 }, (_, at) => at);
  for (let i = 1; i <= one.length; i++) {
    const next = [i];
    for (let j = 1; j <= other.length; j++) {
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (one[i - 1] === other[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[other.length];
}

/** Whether an expression stands for itself. Only such are marked in lines: a browser's own expressions may take for
 * ever where the server's never do, and lines are hostile. */
function isPlain(expression) {
  return !/[\\^$.|?*+()[\]{}]/.test(expression);
}
