// The first page: one live line to /ws, and what is needed to open another one.

import { copyButton } from "./copy.js";
import { setText, startLanguage } from "./i18n.js";
import { Line, lineAddress } from "./line.js";
import { LineView } from "./line-view.js";
import { Wire } from "./wire.js";

const KEPT_MESSAGES = 100;
/** Questions whose answer is still to come; a server that never answers must not make this grow. */
const KEPT_QUESTIONS = 100;

const traffic = document.querySelector("#traffic");
const input = document.querySelector("#send-text");
const address = lineAddress("/ws");

for (const place of document.querySelectorAll("[data-address]")) place.textContent = address;
for (const place of document.querySelectorAll("[data-origin]")) place.textContent = location.origin;
for (const place of document.querySelectorAll("[data-server]")) place.textContent = lineAddress("");
setText(document.querySelector("#here"), "home.here", { host: location.host });
startLanguage(document.querySelectorAll("[data-language-switch]"));
for (const button of document.querySelectorAll("[data-copy]")) {
  copyButton(button, () => document.querySelector(button.dataset.copy).textContent);
}

const line = new Line(address);
const lineView = new LineView(() => line.retryNow());
const wire = new Wire(document.querySelector("#wire"), document.querySelector("#try"));
let questions = []; // [{ text, at }]: sent and not answered yet

line.addEventListener("change", () => {
  lineView.show({ state: line.state, close: line.lastClose, nextAttemptAt: line.nextAttemptAt });
  wire.connected(line.state === "open");
  questions = [];
});

line.addEventListener("text", ({ detail: text }) => {
  const now = performance.now();
  const [question] = questions;
  const answered = question !== undefined && text.endsWith(question.text);
  if (answered) questions.shift();
  show("received", text, answered ? now - question.at : null);
  wire.pulse("in");
});

document.querySelector("#send").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = input.value;
  if (text === "" || !line.send(text)) return;
  questions.push({ text, at: performance.now() });
  if (questions.length > KEPT_QUESTIONS) questions.shift();
  show("sent", text, null);
  wire.pulse("out");
  input.value = "";
});

line.start();

function show(direction, text, roundTripMs) {
  const row = document.createElement("div");
  row.className = direction;
  const arrow = document.createElement("span");
  arrow.className = "direction";
  setText(arrow, `home.${direction}`);
  const words = document.createElement("span");
  words.className = "words";
  words.dir = "auto";
  words.textContent = text;
  row.append(arrow, words);
  if (roundTripMs !== null) {
    const took = document.createElement("span");
    took.className = "took";
    took.textContent = `${roundTripMs < 10 ? roundTripMs.toFixed(1) : Math.round(roundTripMs)} ms`;
    row.append(took);
  }
  traffic.append(row);
  while (traffic.childElementCount > KEPT_MESSAGES) traffic.firstElementChild.remove();
  traffic.scrollTop = traffic.scrollHeight;
}
