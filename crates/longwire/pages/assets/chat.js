// The chat page: goes from the lobby into a room and back, and connects the parts.

import { ChatLog } from "./chat-log.js";
import { ChatSession, OUTGOING_LIMIT } from "./chat-session.js";
import { Composer } from "./chat-composer.js";
import { isValid, Lobby } from "./chat-lobby.js";
import { People } from "./chat-people.js";
import { copyButton } from "./copy.js";
import { onLanguageChange, setText, startLanguage } from "./i18n.js";
import { LineView } from "./line-view.js";
import { recall, recallHere, remember, rememberHere } from "./store.js";
import { randomId } from "./text.js";
import { Wire } from "./wire.js";

const lobbyPage = document.querySelector("#lobby");
const roomPage = document.querySelector("#room");
const leaveDialog = document.querySelector("#leave-dialog");

startLanguage(document.querySelectorAll("[data-language-switch]"));

new Wire(document.querySelector("#wire"), document.querySelector("#join"));

let session = null;
let room = null;
let unread = 0;

const lobby = new Lobby((choice) => {
  history.pushState(null, "", addressOf(choice.room));
  enter(choice);
});
const log = new ChatLog({ resend: (id) => session.resend(id), discard: (id) => session.discard(id) });
const people = new People();
const composer = new Composer({
  limit: OUTGOING_LIMIT,
  say: (text) => session.say(text),
  typed: (text) => session.typed(text),
});
const lineView = new LineView(() => session.retryNow());

function enter(choice) {
  room = choice.room;
  session = new ChatSession({ ...choice, person: person() });
  rememberHere("inRoom", room);
  log.clear();
  composer.clear();
  for (const place of document.querySelectorAll("[data-room-name]")) place.textContent = room;
  lobbyPage.hidden = true;
  roomPage.hidden = false;
  writeTitle();
  listen(session);
  session.start();
  composer.focus();
}

function listen(current) {
  const on = (type, react) => {
    current.addEventListener(type, ({ detail }) => {
      if (current === session) react(detail);
    });
  };
  on("line", (snapshot) => {
    lineView.show(snapshot);
    people.stale(snapshot.state !== "open");
  });
  on("people", () => {
    people.show(current.people);
    showAlone();
  });
  on("joined", ({ name }) => log.presence("joined", name));
  on("left", ({ name }) => log.presence("left", name));
  on("typing", (names) => log.typing(names));
  on("away", ({ ms }) => log.away(ms));
  on("missed", ({ reason }) => log.missed(reason));
  on("said", (message) => {
    log.message(message);
    showAlone();
    if (document.hidden && !message.mine && !message.old) {
      unread += 1;
      writeTitle();
    }
  });
  on("outgoing", () => {
    log.outgoing(current.outgoing, recall("name") ?? "");
    showAlone();
  });
  on("refused", ({ code }) => {
    leave();
    lobby.refused(code);
  });
}

function leave() {
  const left = session;
  session = null;
  left?.close();
  rememberHere("inRoom", null);
  people.close();
  lineView.clear();
  roomPage.hidden = true;
  lobbyPage.hidden = false;
  unread = 0;
  const wasIn = room;
  room = null;
  writeTitle();
  lobby.open(new URLSearchParams(location.search).get("room") ?? wasIn);
}

function askBeforeLeaving() {
  setText(document.querySelector("#leave-headline"), "leave.headline", { count: session.outgoing.length });
  leaveDialog.returnValue = "stay";
  if (!leaveDialog.open) leaveDialog.showModal();
}

function showAlone() {
  document.querySelector("#alone").hidden = session.people.length !== 1 || log.hasMessages;
}

function writeTitle() {
  const title = document.querySelector("title");
  if (room === null) setText(title, "chat.title");
  else if (unread > 0) setText(title, "chat.titleUnread", { count: unread, room });
  else setText(title, "chat.titleRoom", { room });
}

// All windows of this browser are one person to the others, if they go by one name.
function person() {
  const known = recall("person") ?? randomId();
  remember("person", known);
  return known;
}

function addressOf(name) {
  return `/chat?room=${encodeURIComponent(name)}`;
}

for (const button of document.querySelectorAll("[data-copy-link]")) {
  copyButton(button, () => location.origin + addressOf(room), "room.copyLink");
}

document.querySelector("#leave").addEventListener("click", () => {
  people.close();
  if (session.outgoing.length === 0) leave();
  else askBeforeLeaving();
});
leaveDialog.addEventListener("close", () => {
  if (leaveDialog.returnValue === "go") leave();
  else composer.focus();
});

addEventListener("beforeunload", (event) => {
  if (session?.outgoing.length > 0) event.preventDefault();
});

// A page that was only put aside begins anew when it is taken up again.
addEventListener("pagehide", () => session?.abandon());
addEventListener("pageshow", ({ persisted }) => {
  if (persisted) location.reload();
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden || unread === 0) return;
  unread = 0;
  writeTitle();
});

onLanguageChange(() => {
  if (session) people.show(session.people);
});

addEventListener("popstate", () => {
  if (session?.outgoing.length > 0) {
    history.pushState(null, "", addressOf(room));
    askBeforeLeaving();
  } else {
    open();
  }
});
open();

// A link names a room, but the reader still decides under which name to go in. Only a tab that was in this very room
// (a reload, the browser's back button) goes straight in again.
function open() {
  const asked = new URLSearchParams(location.search).get("room");
  const name = recall("name");
  if (session && room === asked) return;
  if (asked && asked === recallHere("inRoom") && isValid("room", asked) && name && isValid("name", name)) {
    enter({ name, room: asked });
  } else {
    leave();
  }
}
