// The demo of a stream. The server writes; this page reads along in the channel of its address, and may ask to stop.

import { Longwire } from "/longwire.js";
import { copyButton } from "./copy.js";
import { clearText, language, setText, startLanguage } from "./i18n.js";
import { LineView, snapshotOf } from "./line-view.js";
import { StreamView } from "./stream-view.js";
import { randomId } from "./text.js";

/** With how many of the last questions and answers the page begins. */
const HISTORY = 20;

const complaint = document.querySelector("#complaint");
const hangUp = document.querySelector("#hang-up");
const questions = [...document.querySelectorAll("[data-question]")];
const id = ownId();
const channel = `ai:demo-${id}`;

startLanguage(document.querySelectorAll("[data-language-switch]"));
document.querySelector("#second").href = location.href;
copyButton(document.querySelector("[data-copy-link]"), () => location.href, "stream.copyLink");

let views = new Map(); // the offset of a stream's beginning → its StreamView
const client = new Longwire(undefined, { connect: false });
const lineView = new LineView(() => client.connect());
let close = null;

client.on("state", (connection) => {
  const shown = snapshotOf(connection, close);
  close = shown.close;
  lineView.show(shown);
  const there = connection.state === "open";
  setText(hangUp, connection.state === "closed" ? "stream.call" : "stream.hangUp");
  for (const button of questions) button.disabled = !there;
});

client.subscribe(channel, {
  last: HISTORY,
  onStream: (stream, added) => viewOf(stream.id).show(stream, added),
  onPublication({ event, data }) {
    if (event === "asked" && Number.isInteger(data?.stream)) viewOf(data.stream).asked(data);
  },
  onMissed({ since, position }) {
    setText(complaint, "stream.missed");
    if (since.epoch === position.epoch) return;
    // The numbers of another epoch mean other streams.
    for (const view of views.values()) view.gone();
    views = new Map();
  },
  onError(error) {
    if (!error.retry) setText(complaint, "stream.refused", { name: error.name });
  },
});
client.connect();

for (const button of questions) button.addEventListener("click", () => ask(button.dataset.question));
hangUp.addEventListener("click", () => (client.connection.state === "closed" ? client.connect() : client.close()));

async function ask(question) {
  clearText(complaint);
  const answer = await fetch("/demo/stream/ask", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ id, question, language: language() }),
  }).catch(() => null);
  if (answer?.ok) return;
  setText(complaint, complaintOf(answer?.status));
}

function complaintOf(status) {
  if (status === 503) return "stream.busy";
  return status === undefined ? "stream.unreachable" : "stream.noStreams";
}

function viewOf(began) {
  let view = views.get(began);
  if (!view) {
    view = new StreamView(document.querySelector("#answers"));
    views.set(began, view);
  }
  document.querySelector("#empty").hidden = true;
  return view;
}

// The address names the channel, so that a reload and a second window come back to the same answers.
function ownId() {
  const address = new URL(location.href);
  const given = address.searchParams.get("id") ?? "";
  if (/^[A-Za-z0-9]{1,32}$/.test(given)) return given;
  const made = randomId().slice(0, 12);
  address.searchParams.set("id", made);
  history.replaceState(null, "", address);
  return made;
}
