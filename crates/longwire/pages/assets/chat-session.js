// One reader in one room: a channel, followed with the client of /longwire.js, which comes back by itself, catches up, and
// sends what waits, once. What is left to do here is what makes a chat of it.
//
// Knows nothing of the page. Events, all with their data in `detail`:
//   "line"      { state, close, nextAttemptAt }; "open" means that the room is there, not only the server
//   "refused"   { code }: the server does not want us in this room; the session is over
//   "people"    nothing; `people` changed
//   "joined", "left"   { key, name }
//   "said"      { key, name, text, at, mine, old }; `old`: it was there before we came
//   "away"      { ms }: what follows was said while the line was lost
//   "missed"    { reason }: some of what was said cannot be had any more
//   "typing"    the names of those who write
//   "outgoing"  nothing; `outgoing` changed

import { Longwire } from "/longwire.js";
import { snapshotOf } from "./line-view.js";
import { introduction, keyOf, Roster } from "./roster.js";
import { randomId, TEXT_MAX } from "./text.js";
import { TypingSeen, TypingTold } from "./typing.js";

/** How many messages may wait at once. */
export const OUTGOING_LIMIT = 100;
/** With how many of the room's last messages a reader begins. */
const HISTORY = 100;
/** A server that does not answer must not keep a reader in the room. */
const LEAVE_MS = 1_000;

export class ChatSession extends EventTarget {
  #client;
  #subscription;
  #room;
  #me; // what we say of ourselves
  #self;
  #roster;
  #outgoing = new Map(); // id → { id, text, refused, waits, offset }
  #typingTold = new TypingTold((typing) => this.#tellTyping(typing));
  #typingSeen = new TypingSeen((names) => this.#emit("typing", names));
  #lostAt = null;
  #away = null; // { until, ms }: up to this offset it was said while the line was lost, and that is still to be told
  #head = 0; // up to this offset it was said before we came
  #shown = 0; // the offset of what was shown last
  #held = null; // what comes while the room's past is looked up anew
  #snapshot = true; // the next list of members is all of them
  #lastClose = null;

  constructor({ room, name, person }) {
    super();
    this.#room = `chat:${room}`;
    this.#me = { info: { name, person } };
    this.#self = keyOf(this.#me);
    this.#roster = new Roster(this.#self);
    this.#client = new Longwire(undefined, { ...this.#me, connect: false });
    this.#client.on("state", (state) => this.#lineChanged(state));
    this.#roster.addEventListener("change", () => this.#emit("people"));
    this.#roster.addEventListener("joined", ({ detail }) => this.#emit("joined", detail));
    this.#roster.addEventListener("left", ({ detail }) => {
      this.#typingSeen.stops(detail.key);
      this.#emit("left", detail);
    });
  }

  /** Everybody here: { key, name, sessions, you }. */
  get people() {
    return [...this.#roster.people.values()].map((person) => ({ ...person, you: person.key === this.#self }));
  }

  /** What this reader said and the room has not repeated yet: { id, text, state, … }, with state "waiting", "sent" or "refused". */
  get outgoing() {
    const state = this.#subscription?.active ? "sent" : "waiting";
    return [...this.#outgoing.values()].map((entry) => ({ ...entry, state: entry.refused ? "refused" : state }));
  }

  /** Goes into the room, and back into it after every drop. */
  start() {
    this.#subscription = this.#client.subscribe(this.#room, {
      last: HISTORY,
      onSubscribed: (subscribed) => this.#entered(subscribed),
      onPublication: (publication) => this.#received(publication),
      onMembers: (members) => this.#members(members),
      onMissed: (missed) => void this.#missed(missed),
      onError: (error) => this.#failed(error),
    });
    this.#client.connect();
  }

  /** Leaves the room for good; the others see it at once. */
  close() {
    const close = () => this.#client.close();
    this.#roster.close();
    this.#typingSeen.clear();
    if (this.#client.connection.state !== "open") return close();
    this.#subscription.unsubscribe().finally(close);
    setTimeout(close, LEAVE_MS);
  }

  /** As `close`, for a page that goes away and cannot wait. */
  abandon() {
    if (this.#client.connection.state !== "open") return;
    this.#subscription.unsubscribe();
    queueMicrotask(() => this.#client.close()); // after what the client has to say, which is said at the end of this task
  }

  /** Does not wait for the next attempt. */
  retryNow() {
    this.#client.connect();
  }

  /** Says `text`, now or as soon as there is a line. False when too many messages wait already. */
  say(text) {
    if (this.#outgoing.size >= OUTGOING_LIMIT) return false;
    const entry = { id: randomId(), text, refused: false, waits: false, offset: null };
    this.#outgoing.set(entry.id, entry);
    this.#typingTold.stopped({ quietly: true });
    this.#publish(entry);
    return true;
  }

  /** Sends a message again that was refused. */
  resend(id) {
    const entry = this.#outgoing.get(id);
    if (entry?.refused) this.#publish(entry);
  }

  /** Gives up on a message. */
  discard(id) {
    this.#outgoing.delete(id);
    this.#emit("outgoing");
  }

  /** What the reader is writing has changed. */
  typed(text) {
    this.#typingTold.changed(text);
  }

  // The idempotency key makes it one message, however often it is sent; the tag tells it apart when it comes back.
  #publish(entry) {
    const { id, text } = entry;
    entry.refused = false;
    this.#client.publish(this.#room, { text }, { once: id, tags: { id } }).then(
      ({ offset }) => (entry.offset = offset ?? null),
      (error) => {
        // When the line was closed for good it waits here, and goes out if the reader opens it again.
        entry.waits = error.name === "closed" || this.#client.connection.state === "closed";
        entry.refused = !entry.waits;
        this.#emit("outgoing");
      },
    );
    this.#emit("outgoing");
  }

  #tellTyping(typing) {
    this.#client.publish(this.#room, { typing }, { event: "typing", ephemeral: true, echo: false }).catch(() => {});
  }

  // What the line and the subscription tell.

  #lineChanged(connection) {
    if (connection.state === "open") return; // Wait for the room.
    if (connection.state !== "connecting") {
      if (this.#subscription.position) this.#lostAt ??= Date.now();
      this.#snapshot = true;
      this.#typingSeen.clear();
      this.#emit("outgoing");
    }
    const shown = snapshotOf(connection, this.#lastClose);
    this.#lastClose = shown.close;
    this.#emit("line", shown);
  }

  #entered({ first, head, recovered }) {
    const ms = this.#lostAt === null ? 0 : Date.now() - this.#lostAt;
    this.#lostAt = null;
    this.#lastClose = null;
    if (first) this.#head = head;
    else if (recovered) this.#away = { until: head, ms };
    this.#emit("line", { state: "open", close: null, nextAttemptAt: null });
    for (const entry of this.#outgoing.values()) {
      if (entry.waits) {
        entry.waits = false;
        this.#publish(entry);
      }
    }
    this.#emit("outgoing");
  }

  #received(publication) {
    const { event, offset, from, data } = publication;
    const key = keyOf(from);
    if (event === "typing") {
      if (key === this.#self) return;
      if (data?.typing === true) this.#typingSeen.writes(key, introduction(from).name);
      else this.#typingSeen.stops(key);
    } else if (offset !== undefined && typeof data?.text === "string") {
      if (this.#held) this.#held.push(publication);
      else this.#said(publication);
    }
  }

  // History and pushes may overlap: each is shown once.
  #said(publication) {
    const { offset, from } = publication;
    if (offset <= this.#shown) return;
    this.#shown = offset;
    if (this.#away && offset > this.#away.until) this.#away = null;
    if (this.#away && keyOf(from) !== this.#self) {
      this.#emit("away", { ms: this.#away.ms });
      this.#away = null;
    }
    this.#show(publication);
  }

  #show({ offset, from, data, tags, time }) {
    const key = keyOf(from);
    const mine = key === this.#self;
    this.#typingSeen.stops(key);
    if (mine && this.#outgoing.delete(tags?.id)) this.#emit("outgoing");
    const text = [...data.text].slice(0, TEXT_MAX).join("");
    this.#emit("said", { key, name: introduction(from).name, text, at: time, mine, old: offset <= this.#head });
  }

  // What the room still has of what was missed is shown in its place, before what comes now.
  async #missed({ reason, since, position }) {
    this.#emit("missed", { reason });
    this.#away = null;
    if (since.epoch !== position.epoch) this.#head = this.#shown = 0;
    if (this.#held) return;
    this.#held = [];
    const page = await this.#client.history(this.#room, { limit: HISTORY }).catch(() => null);
    const held = this.#held;
    this.#held = null;
    for (const publication of [...(page?.publications ?? []), ...held]) {
      if (publication.event === undefined && typeof publication.data?.text === "string") this.#said(publication);
    }
    // What the server had taken and has lost again, before it came back to us, was said nevertheless.
    for (const { id, offset, text } of this.outgoing) {
      if (offset !== null) this.#show({ offset, from: this.#me, data: { text }, tags: { id }, time: Date.now() });
    }
  }

  #members(members) {
    if (this.#snapshot) this.#roster.replace(members);
    else this.#roster.update(members);
    this.#snapshot = false;
  }

  #failed(error) {
    // Of a line that is closed for good its state tells, and it can be opened again.
    if (error.retry || this.#client.connection.state === "closed") return;
    this.close();
    this.#emit("refused", { code: error.name });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
