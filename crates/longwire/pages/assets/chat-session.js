// One reader in one room: the chat protocol over a line that comes back by itself.
//
// Knows nothing of the page. Events, all with their data in `detail`:
//   "line"      { state, close, nextAttemptAt }; here "open" means that the server let us into the room
//   "refused"   { code, message }: the server does not want us in this room under this name; the session is over
//   "members"   nothing; `members` changed
//   "joined", "left"   the member { id, name }
//   "said"      { from, text, at, mine }
//   "gap"       { ms }: the line was away for that long and what others said meanwhile is not known
//   "outgoing"  nothing; `outgoing` changed

import { Line } from "./line.js";
import { Outgoing } from "./outgoing.js";
import { randomId } from "./text.js";

const ANSWER_TIMEOUT_MS = 10_000;
const REMEMBERED_MESSAGES = 1000;
const REMEMBERED_OWN_IDS = 50;
const JOIN_ERRORS = new Set(["bad_name", "bad_room", "room_full"]);
const SAY_ERRORS = new Set(["text_too_long", "bad_message", "bad_json"]);

export class ChatSession extends EventTarget {
  /** Everybody here, this reader included: id → { id, name }. */
  members = new Map();
  /** The messages that the server has not repeated yet. */
  outgoing = new Outgoing();
  /** This reader as the server knows it: { id, name }, or null before the first welcome. */
  you = null;
  /** The ids this reader had on earlier lines; the server may still list some of them. */
  formerIds = new Set();

  #room;
  #name;
  #line;
  #joined = false;
  #lostAt = null;
  #answerTimer;
  #recent = new Map();

  constructor(address, { room, name }) {
    super();
    this.#room = room;
    this.#name = name;
    this.#line = new Line(address);
    this.#line.addEventListener("change", () => this.#lineChanged());
    this.#line.addEventListener("text", ({ detail }) => this.#received(detail));
  }

  /** Joins the room, now and after every drop. */
  start() {
    this.#line.start();
  }

  /** Leaves the room for good. */
  close() {
    clearTimeout(this.#answerTimer);
    this.#line.close();
  }

  /** Does not wait for the next attempt. */
  retryNow() {
    this.#line.retryNow();
  }

  /** Says `text`, now or as soon as there is a line. False when too many messages wait already. */
  say(text) {
    if (this.outgoing.add(randomId(), text) === null) return false;
    this.#flush();
    return true;
  }

  /** Sends a message again that was unconfirmed or refused. */
  resend(id) {
    if (this.outgoing.resend(id)) this.#flush();
  }

  /** Gives up on a message. */
  discard(id) {
    this.outgoing.discard(id);
    this.#emit("outgoing");
  }

  #lineChanged() {
    const { state } = this.#line;
    if (state === "open") {
      this.#line.send(JSON.stringify({ type: "join", room: this.#room, name: this.#name }));
      this.#expectAnswer();
      return;
    }
    if (this.#joined) {
      this.#joined = false;
      this.#lostAt = Date.now();
    }
    clearTimeout(this.#answerTimer);
    if (this.outgoing.lineLost().length > 0) this.#emit("outgoing");
    this.#emitLine(state);
  }

  #emitLine(state) {
    const { lastClose, nextAttemptAt } = this.#line;
    this.#emit("line", { state, close: lastClose, nextAttemptAt });
  }

  #received(text) {
    const message = parse(text);
    switch (message?.type) {
      case "welcome":
        return this.#welcome(message);
      case "join":
        return this.#memberJoined(message.member);
      case "leave":
        return this.#memberLeft(message.member);
      case "say":
        return this.#said(message);
      case "error":
        return this.#error(message);
      default:
        return undefined; // A later server may say more than this page knows.
    }
  }

  #welcome({ you, members }) {
    clearTimeout(this.#answerTimer);
    if (this.you) this.#rememberFormer(this.you.id);
    this.you = you;
    this.members = new Map(members.map((member) => [member.id, member]));
    this.#joined = true;
    if (this.#lostAt !== null) this.#emit("gap", { ms: Date.now() - this.#lostAt });
    this.#lostAt = null;
    this.#emit("members");
    this.#emitLine("open");
    this.#flush();
  }

  #memberJoined(member) {
    if (member.id === this.you?.id || this.members.has(member.id)) return;
    this.members.set(member.id, member);
    this.#emit("members");
    this.#emit("joined", member);
  }

  #memberLeft(member) {
    if (!this.members.delete(member.id)) return;
    this.#emit("members");
    if (!this.formerIds.has(member.id)) this.#emit("left", member);
  }

  #said({ from, text, at, id }) {
    if (this.#isSecondCopy(from, text, id)) return;
    const mine = from.id === this.you?.id || this.formerIds.has(from.id);
    if (mine && this.outgoing.confirm(id)) {
      this.#watchAnswers();
      this.#emit("outgoing");
    }
    this.#emit("said", { from, text, at, mine });
  }

  // A message that was sent again after a drop carries the same id on a new line. Two equal ids on one line are
  // two messages of a client that does not choose its ids with care.
  #isSecondCopy(from, text, id) {
    const key = JSON.stringify([id, from.name, text]);
    const first = this.#recent.get(key);
    if (first !== undefined && first !== from.id) return true;
    this.#recent.set(key, from.id);
    if (this.#recent.size > REMEMBERED_MESSAGES) dropOldest(this.#recent);
    return false;
  }

  #error({ code, message, id }) {
    if (!this.#joined && (JOIN_ERRORS.has(code) || SAY_ERRORS.has(code))) {
      this.close();
      this.#emit("refused", { code, message });
    } else if (SAY_ERRORS.has(code)) {
      this.outgoing.refuse(id);
      this.#watchAnswers();
      this.#emit("outgoing");
    } else if (code === "not_joined") {
      this.#line.giveUp("answerTimeout");
    }
  }

  #flush() {
    if (this.#joined) {
      for (const { id, text } of this.outgoing.waiting()) {
        if (!this.#line.send(JSON.stringify({ type: "say", text, id }))) break;
        this.outgoing.sent(id, Date.now());
      }
      this.#watchAnswers();
    }
    this.#emit("outgoing");
  }

  // The browser hides pings, so a message without an echo is how this side notices a dead line.
  #watchAnswers() {
    clearTimeout(this.#answerTimer);
    const oldest = this.outgoing.oldestSentAt();
    if (oldest !== null) this.#expectAnswer(oldest + ANSWER_TIMEOUT_MS - Date.now());
  }

  #expectAnswer(ms = ANSWER_TIMEOUT_MS) {
    clearTimeout(this.#answerTimer);
    this.#answerTimer = setTimeout(() => this.#line.giveUp("answerTimeout"), ms);
  }

  #rememberFormer(id) {
    this.formerIds.add(id);
    if (this.formerIds.size > REMEMBERED_OWN_IDS) dropOldest(this.formerIds);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

// Maps and sets keep the order of insertion.
function dropOldest(collection) {
  collection.delete(collection.keys().next().value);
}
