// The page: who is logged in, which channel and filter are followed, and what the keys do.
//
// The key is kept in this tab's session storage and sent in the Authorization header, nowhere else. What is followed is
// kept there too: an address that is passed on tells nothing.

import { Api, pause, Refused } from "./api.js";
import { Chart } from "./chart.js";
import { Details } from "./details.js";
import { Drains } from "./drains.js";
import { Lines } from "./lines.js";
import { List } from "./list.js";
import { PAGE, Stream } from "./stream.js";
import { element, grouped, oneLine } from "./text.js";
import { parse } from "./filter.js";

/** How often the counts are asked for, while the page is in sight. */
const POLL = 2000;

/** The most channels to choose from; a page of the API has up to 1,000. */
const CHANNELS_MAX = 10_000;

const byId = (id) => document.getElementById(id);

let api = null;
let lines = new Lines();
let stream = null;
/** Why the newest line is not followed: `button`, `scroll`, or null. */
let held = null;
/** How the stream goes, as it last said. */
let state = { name: "ended", text: "" };
let asksOlder = false;
/** Go up with what is asked for and with what is followed, so that what belongs to something earlier is known. */
let asking = 0;
let turn = 0;

const list = new List(byId("list"), byId("canvas"), lines, {
  frame: draw,
  open: (row) => details.open(row),
  older: loadOlder,
  leave: () => hold("scroll"),
  reach: () => held === "scroll" && resume(),
});
const details = new Details(byId("details"), () => list.focus());
const chart = new Chart(byId("chart-picture"), byId("chart-text"));
const drains = new Drains(byId("drains-list"));

// === Logging in and out ===

/** Where there is no answer, it is asked again until there is one, or another key. */
async function logIn(key) {
  const mine = ++asking;
  api = new Api(key);
  try {
    await loadChannels();
  } catch (problem) {
    if (mine !== asking) return;
    if (problem.status === 401) return expel("That is not a key of this server.");
    askForKey(`${problem instanceof Refused ? problem.message : "No answer from the server"}; trying again…`);
    setTimeout(() => mine === asking && logIn(key), POLL);
    return;
  }
  if (mine !== asking) return;
  sessionStorage.setItem("key", key);
  byId("key").value = "";
  byId("login-error").textContent = "";
  byId("login").hidden = true;
  byId("app").hidden = false;
  byId("filter").value = sessionStorage.getItem("filter") ?? "";
  follow();
  list.focus();
}

/** The key is of no use any more. With another one it goes on with the same channel and filter. */
function expel(why) {
  stream?.stop();
  [api, stream] = [null, null];
  asking += 1;
  turn += 1;
  sessionStorage.removeItem("key");
  show(new Lines(), []);
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  askForKey(why);
}

function logOut() {
  expel("");
  sessionStorage.clear();
}

function askForKey(why) {
  byId("login-error").textContent = why;
  byId("app").hidden = true;
  byId("login").hidden = false;
  // Who is at the button stays there: it may be asked again every two seconds.
  if (!byId("login").contains(document.activeElement)) byId("key").focus();
}

// === What is followed ===

async function loadChannels() {
  const names = [];
  let after = "";
  do {
    const { channels, next } = await api.get(`v3/channels?after=${encodeURIComponent(after)}`);
    names.push(...channels.map(({ channel }) => channel));
    after = next;
  } while (after !== undefined && names.length < CHANNELS_MAX);
  const select = byId("channel");
  const chosen = select.value || sessionStorage.getItem("channel");
  // One that is followed stays, though it may be gone.
  if (stream !== null && !names.includes(chosen)) names.unshift(chosen);
  select.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
  if (names.includes(chosen)) select.value = chosen;
}

/** There may be other channels by now; where there was none, the first is followed. */
async function lookAgain() {
  const asked = api;
  try {
    await loadChannels();
    if (asked !== api || stream !== null || byId("channel").value === "") return;
    turn += 1;
    follow();
  } catch (problem) {
    // What else there is to tell, the state of the stream tells.
    if (asked === api && problem.status === 401) fail(problem);
  }
}

/** Follows the chosen channel with the filter as it is written, from the newest lines on. */
async function follow() {
  const channel = byId("channel").value;
  if (channel === "") {
    say("ended", "There is no channel yet: logplex channels add NAME");
    return poll(++turn);
  }
  let asked;
  try {
    asked = parse(byId("filter").value);
  } catch (problem) {
    return refuse(problem.message);
  }
  const written = byId("filter").value;
  const ours = new Stream(api, channel, asked.members, {
    rows: (rows) => ours === stream && take(rows),
    state: (name, text) => ours === stream && say(name, text),
  });
  const mine = ++asking;
  try {
    await ours.prepare();
  } catch (problem) {
    // A filter that is refused takes nothing away; what else is wrong shows when it runs.
    if (mine === asking && problem.status === 400) return refuse(problem.message);
  }
  if (mine !== asking) return ours.stop();
  refuse("");
  sessionStorage.setItem("channel", channel);
  sessionStorage.setItem("filter", written);
  document.title = `${channel} · Logplex`;
  stream?.stop();
  stream = ours;
  details.use(api, channel);
  drains.use(api, channel);
  chart.reset();
  show(new Lines(), asked.marked);
  say("broken", "connecting…");
  poll(++turn);
  try {
    await ours.run();
  } catch (problem) {
    if (ours === stream) fail(problem);
  }
}

/** What the server refused for good. */
function fail(problem) {
  if (problem.status === 401) return expel("The key is not valid any more.");
  turn += 1;
  const gone = problem.status === 404 || problem.status === 422;
  say("ended", `${gone ? "this channel is not there any more" : problem.message}; Apply tries again`);
}

function refuse(text) {
  byId("filter-error").textContent = text;
  byId("filter").setAttribute("aria-invalid", text !== "");
}

function say(name, text) {
  state = { name, text };
  showState();
}

/** How the stream goes; where it goes well, whether it is looked at. */
function showState() {
  const paused = held !== null && state.name === "following";
  byId("state").className = paused ? "paused" : state.name;
  byId("state").textContent = paused ? "paused; what comes waits" : state.text;
}

// === Lines ===

function show(own, marked) {
  lines = own;
  if (details.isOpen) details.close();
  setHeld(null);
  list.reset(lines, marked);
}

function take(rows) {
  lines.take(rows);
  list.schedule();
}

/** Ahead of each picture. Where there are none, in a tab out of sight, what comes waits as it does in a pause. */
function draw() {
  if (held === null) lines.release();
  for (const name of ["received", "shown", "waiting", "skipped", "dropped"]) {
    byId(name).textContent = grouped(lines[name]);
  }
  byId("newer").textContent = `↓ ${grouped(lines.waiting)} new`;
  byId("newer").hidden = held === null || lines.waiting === 0;
}

function hold(why) {
  if (held !== "button") setHeld(why);
}

function resume() {
  setHeld(null);
  list.schedule();
}

function setHeld(why) {
  held = why;
  list.following = why === null;
  byId("pause").textContent = why === null ? "Pause" : "Go on";
  byId("pause").classList.toggle("primary", why !== null);
  showState();
}

async function loadOlder() {
  const oldest = lines.rows.find((row) => row.cursor !== undefined);
  if (asksOlder || oldest === undefined || !lines.hasRoom(PAGE)) return;
  asksOlder = true;
  list.setTop("loading");
  const own = lines;
  try {
    const rows = await stream.older(oldest.cursor);
    if (own !== lines) return;
    const found = rows.some((row) => row.kind === "line");
    if (found && lines.hasRoom(rows.length)) {
      lines.prepend(rows);
      list.grew(rows.length);
    }
    list.setTop(found ? "more" : "begin");
    // Nothing was before, and nothing is out of sight: there was no reason to pause.
    if (!found && held === "scroll" && list.atEnd) resume();
  } catch {
    if (own === lines) list.setTop("failed");
  } finally {
    asksOlder = false;
  }
}

// === Counts ===

/** Asks for counts while nothing else is followed. Whether there is an answer also tells of a connection that died in
 * silence: a browser does not say when the server was last heard on a websocket. */
async function poll(mine) {
  while (mine === turn) {
    if (!document.hidden) await ask();
    await pause(POLL);
  }
}

async function ask() {
  const asked = stream;
  if (asked === null) return lookAgain();
  try {
    const stats = await api.get(`v3/channels/${encodeURIComponent(byId("channel").value)}/stats`);
    if (asked !== stream) return;
    chart.add(stats, performance.now());
    stream.renew();
    if (byId("drains").open) await drains.refresh();
  } catch (problem) {
    if (asked !== stream) return;
    if (!(problem instanceof Refused)) stream.doubt();
    else if (problem.status === 401 || (problem.status === 404 && state.name === "ended")) fail(problem);
  }
}

// === Looks ===

function isDark() {
  const theme = document.documentElement.dataset.theme;
  return theme === undefined ? matchMedia("(prefers-color-scheme: dark)").matches : theme === "dark";
}

function setTheme(theme) {
  if (theme !== null) document.documentElement.dataset.theme = theme;
  byId("theme").textContent = isDark() ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", `Use ${isDark() ? "light" : "dark"} colours`);
}

function toggleTheme() {
  const theme = isDark() ? "light" : "dark";
  localStorage.setItem("theme", theme);
  setTheme(theme);
}

// === Keys and buttons ===

function togglePause() {
  if (held === null) setHeld("button");
  else resume();
}

async function openDrains() {
  byId("drains").showModal();
  try {
    await drains.refresh();
  } catch (problem) {
    byId("drains-list").textContent = oneLine(problem.message);
  }
}

const KEYS = {
  "/": () => byId("filter").select(),
  " ": togglePause,
  d: openDrains,
  "?": () => byId("help").showModal(),
  Escape: () => details.isOpen && details.close(),
};

document.addEventListener("keydown", (event) => {
  const taken = event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey;
  if (taken || byId("app").hidden || document.querySelector("dialog[open]") !== null) return;
  const typing = event.target.closest("input, select") !== null;
  if (typing && event.key === "Escape") return list.focus();
  const pressing = event.key === " " && event.target.closest("button") !== null;
  if (typing || pressing || !Object.hasOwn(KEYS, event.key)) return;
  event.preventDefault();
  KEYS[event.key]();
});

byId("login-form").addEventListener("submit", (event) => {
  event.preventDefault();
  logIn(byId("key").value.trim());
});
byId("filter-form").addEventListener("submit", (event) => {
  event.preventDefault();
  follow();
});
byId("channel").addEventListener("change", follow);
byId("pause").addEventListener("click", togglePause);
byId("newer").addEventListener("click", () => {
  resume();
  list.focus();
});
byId("open-drains").addEventListener("click", openDrains);
byId("open-help").addEventListener("click", KEYS["?"]);
byId("theme").addEventListener("click", toggleTheme);
byId("log-out").addEventListener("click", logOut);
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  // A click beside it lands on the dialog itself, as its backdrop.
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(null));
window.addEventListener("focus", () => byId("app").hidden || lookAgain());
// What each count is stands in the page for who has it read out; a pointer asks for it.
for (const count of byId("counts").children) count.title = count.querySelector(".visually-hidden").textContent;

setTheme(localStorage.getItem("theme"));
const key = sessionStorage.getItem("key");
if (key === null) askForKey("");
else logIn(key);
