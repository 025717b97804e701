// Who is in a room, as people: one person may have several sessions there, one for each window.
//
// A person who reloads a page, or whose line is cut together with everybody's, goes and comes back. So that the log does
// not fill with that, nobody is told to have left before a while has passed without a return.

import { wellFormed } from "./text.js";

/** A window that is closed and a page that is reloaded look the same for so long. */
const RELOAD_MS = 2_500;
/** After a restart of the server everybody comes back one after the other. */
const RETURN_MS = 30_000;
const NAME_MAX = 64;

/** What a member says of itself, with nothing taken on trust: { name, person }. Old or foreign clients may say nothing. */
export function introduction(member) {
  const { name, person } = Object(member?.info);
  const shown = typeof name === "string" ? wellFormed([...name.replace(/\p{Cc}/gu, " ").trim()].slice(0, NAME_MAX).join("")) : "";
  return {
    name: shown || member?.user || member?.session?.slice(0, 6) || "?",
    person: typeof person === "string" && person !== "" ? person : (member?.session ?? ""),
  };
}

/** The same for all windows of one person, as long as they go by one name. */
export function keyOf(member) {
  const { name, person } = introduction(member);
  return JSON.stringify([person, name]);
}

/** The people. Events: "change", and "joined" and "left" with { key, name } in `detail`. */
export class Roster extends EventTarget {
  /** Everybody here: key → { key, name, sessions }. */
  people = new Map();

  #self;
  #gone = new Map(); // key → the timer after which the person is told to have left
  #started = false;

  /** `self`: the key of this reader, who is never told to have come or gone. */
  constructor(self) {
    super();
    this.#self = self;
  }

  /** Takes the list of all members, by session, as the server has it after every subscription. */
  replace(members) {
    this.#take(members, RETURN_MS, !this.#started);
    this.#started = true;
  }

  /** Takes the list after somebody has come or gone. */
  update(members) {
    this.#take(members, RELOAD_MS, false);
  }

  /** Ends it: nobody is told to have left any more. */
  close() {
    for (const timer of this.#gone.values()) clearTimeout(timer);
    this.#gone.clear();
  }

  #take(members, graceMs, silently) {
    const before = this.people;
    this.people = new Map();
    for (const member of members.values()) {
      const key = keyOf(member);
      const person = this.people.get(key) ?? { key, name: introduction(member).name, sessions: 0 };
      person.sessions += 1;
      this.people.set(key, person);
    }
    for (const [key, person] of before) if (!this.people.has(key)) this.#went(person, graceMs);
    for (const [key, person] of this.people) if (!before.has(key)) this.#came(person, silently);
    this.dispatchEvent(new Event("change"));
  }

  #went(person, graceMs) {
    if (person.key === this.#self) return;
    const tell = () => {
      this.#gone.delete(person.key);
      this.#emit("left", person);
    };
    this.#gone.set(person.key, setTimeout(tell, graceMs));
  }

  #came(person, silently) {
    const timer = this.#gone.get(person.key);
    clearTimeout(timer);
    this.#gone.delete(person.key);
    if (timer === undefined && !silently && person.key !== this.#self) this.#emit("joined", person);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
