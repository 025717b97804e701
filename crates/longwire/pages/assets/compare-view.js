// One line of the comparison on the page: its state, its last seconds as a picture, its figures.

import { locale, onLanguageChange, setText } from "./i18n.js";

const WINDOW_MS = 20_000;
/** As high as the picture: what is later is not drawn higher. */
const HIGHEST_MS = 5000;
const SLOT = 0.62; // of the place between two messages a bar is so wide

export class LaneView {
  #element;
  #canvas;
  #state = null;
  #marks = []; // { n, time, latency, kind }: what has come, by its number
  #cuts = []; // [{ from, to }] on the server's clock; `to` is null while the line is away

  constructor(name, parent) {
    const template = document.querySelector("#lane");
    this.#element = template.content.firstElementChild.cloneNode(true);
    this.#element.dataset.transport = name;
    this.#canvas = this.#element.querySelector("canvas");
    setText(this.#element.querySelector("h2"), `compare.name.${name}`);
    setText(this.#element.querySelector(".how"), `compare.how.${name}`);
    for (const text of this.#element.querySelectorAll("dt")) setText(text, text.dataset.i18n);
    parent.append(this.#element);
  }

  /** Shows the state of the line: "connecting", "open", "lost" or "stopped". */
  showState(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.#element.querySelector(".line").dataset.state = state;
    setText(this.#element.querySelector(".word"), `compare.state.${state}`);
  }

  /** A message has come: `kind` is what Tally.take said. */
  mark(n, time, latency, kind) {
    this.#marks.push({ n, time, latency, kind });
    const cut = this.#cuts.at(-1);
    if (cut?.to === null) cut.to = time + latency;
  }

  cut(now) {
    const last = this.#cuts.at(-1);
    if (last?.to !== null) this.#cuts.push({ from: now, to: null });
  }

  /** Nothing is expected any more of what the picture shows. */
  clear() {
    this.#marks = [];
    this.#cuts = [];
  }

  /** Draws the time up to `now`; `missing` are the times of messages that are not here though newer ones are. */
  draw(now, colours, every, missing) {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const scale = devicePixelRatio;
    if (this.#canvas.width !== Math.round(width * scale)) this.#canvas.width = Math.round(width * scale);
    if (this.#canvas.height !== Math.round(height * scale)) this.#canvas.height = Math.round(height * scale);
    const pen = this.#canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const start = now - WINDOW_MS;
    const x = (time) => ((time - start) / WINDOW_MS) * width;
    this.#marks = this.#marks.filter(({ time }) => time > start - every);
    this.#cuts = this.#cuts.filter(({ to }) => to === null || to > start);

    pen.fillStyle = colours.away;
    for (const { from, to } of this.#cuts) pen.fillRect(x(from), 0, x(to ?? now) - x(from), height);
    const wide = Math.max(1.5, (every / WINDOW_MS) * width * SLOT);
    for (const { time, latency, kind } of this.#marks) {
      const tall = Math.max(2, Math.sqrt(Math.min(1, Math.max(0, latency) / HIGHEST_MS)) * (height - 2));
      pen.fillStyle = colours[kind];
      pen.fillRect(x(time), height - tall, wide, tall);
    }
    pen.fillStyle = colours.never;
    for (const time of missing) if (time > start) pen.fillRect(x(time), 0, wide, height);
  }

  /** Shows figures: { latency, bytes, requests, cpu } and for each of them how it compares to the worst, from 0 to 1. */
  showFigures(figures, shares) {
    for (const [name, value] of Object.entries(figures)) {
      const cell = this.#element.querySelector(`[data-figure=${name}]`);
      const known = Number.isFinite(value);
      const text = known ? WORDS[name](value) : "–";
      const words = cell.querySelector("dd");
      if (words.textContent !== text) words.textContent = text;
      cell.querySelector(".bar > span").style.width = known ? `${Math.max(1.5, 100 * shares[name])}%` : "0";
    }
  }

  /** Shows what the cuts did: a Tally. */
  showTally(tally) {
    const after = this.#element.querySelector(".after");
    const { received, late, twice, never, away, isAway } = tally;
    Object.assign(this.#element.dataset, { received, late, twice, never, away: away === null ? "" : Math.round(away) });
    const back = after.querySelector(".back");
    if (isAway) setText(back, "compare.away");
    else if (away === null) setText(back, "compare.uncut");
    else setText(back, "compare.back", { seconds: decimals(away / 1000, 1) });
    for (const [name, count] of Object.entries({ late, twice, never })) {
      const cell = after.querySelector(`.${name}`);
      cell.classList.toggle("none", count === 0);
      setText(cell, `compare.${name}`, { count });
    }
  }
}

/** The colours of pictures, from the page's style sheet: again after a change of theme. */
export function coloursOf(element) {
  const style = getComputedStyle(element);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  return { live: colour("verdigris"), late: colour("amber"), twice: colour("ink"), never: colour("red"), away: colour("away") };
}

const WORDS = {
  latency: (ms) => `${decimals(ms, ms < 10 ? 1 : 0)} ms`,
  bytes: (bytes) => `${decimals(bytes, 0)} B`,
  requests: (count) => decimals(count, 0),
  cpu: (us) => `${decimals(us, 0)} µs`,
};

let formats = new Map();
onLanguageChange(() => (formats = new Map()));

function decimals(value, digits) {
  let format = formats.get(digits);
  if (!format) {
    format = new Intl.NumberFormat(locale(), { minimumFractionDigits: digits, maximumFractionDigits: digits });
    formats.set(digits, format);
  }
  return format.format(value);
}
