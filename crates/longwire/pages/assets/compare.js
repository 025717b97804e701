// The price of each transport: the same messages over five lines, side by side.

import { linesOf } from "./compare-lines.js";
import { Tally } from "./compare-tally.js";
import { coloursOf, LaneView } from "./compare-view.js";
import { clearText, setText, startLanguage, t } from "./i18n.js";

const SERVER = "/demo/compare/server";
/** So often the server's clock is read; that is also how the server knows that somebody looks. */
const LOOK_MS = 2000;
const LOOKS_KEPT = 8;
const FIGURES_MS = 500;
/** Nothing gets through for so long after a cut. */
const CUT_MS = 3000;
/** For so long each line is alone while the processor time is measured. */
const MEASURE_MS = 4000;
/** What is not there by then is not waited for any longer. */
const PATIENCE_MS = 10_000;
const TIMES_KEPT = 1000;

const cutButton = document.querySelector("#cut");
const measureButton = document.querySelector("#measure");
const status = document.querySelector("#status");
const complaint = document.querySelector("#complaint");
const lanes = document.querySelector("#lanes");
const dark = matchMedia("(prefers-color-scheme: dark)");

startLanguage(document.querySelectorAll("[data-language-switch]"));

let looks = []; // [{ offset, roundTrip }]: how far the server's clock is before the page's
let server = null; // what the server said last
let every = 200;
const times = new Map(); // number → time, from whichever line had it first

const net = {
  channel: "",
  down: false,
  headBytes: (path) => server.head - SERVER.length + path.length,
  received,
  changed: (line) => laneOf(line)?.view.showState(line.state),
  refused: (message) => setText(complaint, "compare.refused", { message }),
};
const all = Object.entries(linesOf(net)).map(([name, line]) => ({
  name,
  line,
  tally: new Tally(),
  view: new LaneView(name, lanes),
  cpu: NaN,
  arrived: () => {},
}));
for (const { view, tally } of all) {
  view.showState("connecting");
  view.showTally(tally);
}

let colours = coloursOf(lanes);
dark.addEventListener("change", () => (colours = coloursOf(lanes)));
cutButton.addEventListener("click", cut);
measureButton.addEventListener("click", measure);
setInterval(showFigures, FIGURES_MS);
requestAnimationFrame(draw);
begin();

async function begin() {
  while (!(await look())) await pause(LOOK_MS);
  net.channel = server.channel;
  every = server.every;
  for (const { line } of all) line.start();
  setInterval(look, LOOK_MS);
  setBusy(false);
}

/** Reads the server's clock. False if the server cannot be reached. */
async function look() {
  const before = pageNow();
  const answer = await fetch(SERVER, { cache: "no-store" }).catch(() => null);
  const read = answer?.ok ? await answer.json().catch(() => null) : null;
  if (!read) {
    setText(complaint, "compare.unreachable");
    return false;
  }
  const after = pageNow();
  if (complaint.dataset.i18n === "compare.unreachable") clearText(complaint);
  server = read;
  looks.push({ offset: read.now - (before + after) / 2, roundTrip: after - before });
  looks = looks.slice(-LOOKS_KEPT);
  return true;
}

/** The time by the server's clock, as the look with the shortest way there and back has it. */
function now() {
  if (looks.length === 0) return pageNow();
  return pageNow() + looks.reduce((best, look) => (look.roundTrip < best.roundTrip ? look : best)).offset;
}

function pageNow() {
  return performance.timeOrigin + performance.now();
}

// Anybody may publish in the channel; what counts is what the server's own task says.
function received(line, { data, time, from }) {
  if (from || !Number.isInteger(data?.n)) return;
  const lane = laneOf(line);
  const at = now();
  const published = time + 0.5; // somewhere in its millisecond
  const kind = lane.tally.take(data.n, published, at);
  lane.view.mark(data.n, published, at - published, kind);
  lane.arrived();
  times.set(data.n, published);
  if (times.size > TIMES_KEPT) times.delete(times.keys().next().value);
}

function laneOf(line) {
  return all.find((lane) => lane.line === line);
}

async function cut() {
  setBusy(true);
  net.down = true;
  for (const { line, tally, view } of all) {
    tally.cut(now());
    view.cut(now());
    line.cut();
  }
  for (let seconds = CUT_MS / 1000; seconds > 0; seconds -= 1) {
    setText(status, "compare.down", { seconds });
    await pause(1000);
  }
  net.down = false;
  setText(status, "compare.up");
  const end = pageNow() + PATIENCE_MS;
  while (all.some(({ tally }) => tally.isAway) && pageNow() < end) await pause(100);
  setText(status, all.some(({ tally }) => tally.isAway) ? "compare.notUp" : "compare.allUp");
  setBusy(false);
}

/** What each line costs the server: the processor time of its process while it serves this line alone, less what it uses without any. */
async function measure() {
  setBusy(true);
  for (const { line } of all) line.stop();
  setText(status, "compare.measuringNone");
  await pause(1000);
  const idle = await spent();
  for (const lane of all) {
    setText(status, "compare.measuring", { name: t(`compare.name.${lane.name}`) });
    lane.tally.fresh();
    lane.view.clear();
    const first = new Promise((resolve) => (lane.arrived = resolve));
    lane.line.start();
    await Promise.race([first, pause(PATIENCE_MS)]);
    const before = lane.tally.received;
    const cost = await spent();
    lane.cpu = Math.max(0, cost - idle) / (lane.tally.received - before);
    lane.line.stop();
  }
  const measured = all.every(({ cpu }) => Number.isFinite(cpu));
  setText(status, measured ? "compare.measured" : "compare.unmeasured");
  for (const { line, tally, view } of all) {
    tally.fresh();
    view.clear();
    line.start();
  }
  setBusy(false);
}

/** The processor time that the server uses in a while, in microseconds. */
async function spent() {
  await look();
  const before = server.cpu;
  await pause(MEASURE_MS);
  await look();
  return before === null ? NaN : server.cpu - before;
}

function setBusy(busy) {
  cutButton.disabled = measureButton.disabled = busy;
}

function showFigures() {
  const figures = all.map(({ line, tally, cpu }) => ({
    latency: tally.latency,
    bytes: line.bytes / tally.received,
    requests: line.requests,
    cpu,
  }));
  const worst = (name) => Math.max(...figures.map((each) => each[name]).filter(Number.isFinite), Number.MIN_VALUE);
  const most = { latency: worst("latency"), bytes: worst("bytes"), requests: worst("requests"), cpu: worst("cpu") };
  for (const [index, { view, tally }] of all.entries()) {
    const shares = Object.fromEntries(Object.entries(figures[index]).map(([name, value]) => [name, value / most[name]]));
    view.showFigures(figures[index], shares);
    view.showTally(tally);
  }
}

function draw() {
  const at = now();
  for (const { tally, view } of all) {
    view.draw(at, colours, every, [...tally.holes].map((n) => times.get(n)).filter(Boolean));
  }
  requestAnimationFrame(draw);
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
