// What this reader said and the server has not yet repeated. No message is lost in silence, none is sent twice in
// silence: each one here is in exactly one of these states.
//
//   "waiting"      typed while there was no line; goes out by itself
//   "sent"         on its way; the server's echo confirms it and it leaves this list
//   "unconfirmed"  sent, but the line broke before the echo: nobody can know, so the reader decides
//   "refused"      the server answered that it will not take it

/** How many messages may be here at once. */
export const OUTGOING_LIMIT = 100;

/** The list, in the order in which the messages were said. */
export class Outgoing {
  #entries = new Map();

  /** How many messages are not delivered yet. */
  get size() {
    return this.#entries.size;
  }

  /** The entries { id, text, state, sentAt }, oldest first. */
  entries() {
    return [...this.#entries.values()];
  }

  /** Takes a new message, or returns null when the list is full. */
  add(id, text) {
    if (this.#entries.size >= OUTGOING_LIMIT) return null;
    const entry = { id, text, state: "waiting", sentAt: null };
    this.#entries.set(id, entry);
    return entry;
  }

  /** The messages to send now that there is a line, oldest first. */
  waiting() {
    return this.entries().filter(({ state }) => state === "waiting");
  }

  /** Notes that `id` was handed to the line at `now`. */
  sent(id, now) {
    Object.assign(this.#entries.get(id), { state: "sent", sentAt: now });
  }

  /** When the oldest unanswered message went out, or null. */
  oldestSentAt() {
    return this.entries().find(({ state }) => state === "sent")?.sentAt ?? null;
  }

  /** The echo of `id` arrived. Whether it was still here. */
  confirm(id) {
    return this.#entries.delete(id);
  }

  /** The line broke. The messages that are now unconfirmed. */
  lineLost() {
    const unsure = this.entries().filter(({ state }) => state === "sent");
    for (const entry of unsure) entry.state = "unconfirmed";
    return unsure;
  }

  /** The server refused `id`, or, where it did not say which, the oldest unanswered message. */
  refuse(id) {
    const entry = this.#entries.get(id) ?? this.entries().find(({ state }) => state === "sent");
    if (entry) entry.state = "refused";
    return entry ?? null;
  }

  /** The reader wants it sent again. It keeps its id, so that others can recognise a second copy. */
  resend(id) {
    const entry = this.#entries.get(id);
    if (entry) entry.state = "waiting";
    return entry ?? null;
  }

  /** The reader gives it up. */
  discard(id) {
    return this.#entries.delete(id);
  }
}
