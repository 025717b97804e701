// The messages on the page: what everybody said, the quiet lines in between, and this reader's undelivered ones.

import { locale, onLanguageChange, setText, t } from "./i18n.js";
import { hueOf, initial, withLinks } from "./text.js";

const HUES = 8;
const GROUP_MS = 5 * 60_000;
const GROUP_MESSAGES = 20;
const LINE_NAMES = 8;
const KEPT_ROWS = 500;
const NEAR_BOTTOM_PX = 80;
const TYPING_NAMES = 3;
/** Why something was missed, where there are words for it. */
const REASONS = new Set(["expired", "epoch", "gap"]);

/** The log. `actions`: resend(id) and discard(id) for undelivered messages. */
export class ChatLog {
  #scroller = document.querySelector("#scroller");
  #log = document.querySelector("#log");
  #pending = document.querySelector("#pending");
  #newest = document.querySelector("#newest");
  #actions;
  #atBottom = true;
  #unseen = 0;
  #last = null; // what the newest row is: { kind, fromId, at, element }
  #day = null;
  #typing = document.querySelector("#typing");
  #writers = [];

  constructor(actions) {
    this.#actions = actions;
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#newest.addEventListener("click", () => this.toBottom());
    // A keyboard sliding in or a growing text field must not push the newest message out of sight.
    new ResizeObserver(() => this.#atBottom && this.#jump()).observe(this.#scroller);
    onLanguageChange(() => this.#languageChanged());
  }

  /** Begins an empty log, for another room. */
  clear() {
    this.#log.replaceChildren();
    this.#pending.replaceChildren();
    this.#last = null;
    this.#day = new Date().toDateString(); // older days are named
    this.typing([]);
    this.toBottom();
  }

  /** Whether anybody has said anything that is still shown. */
  get hasMessages() {
    return this.#log.querySelector(".group") !== null || this.#pending.childElementCount > 0;
  }

  /** Scrolls to the newest message. */
  toBottom() {
    this.#atBottom = true;
    this.#unseen = 0;
    this.#jump();
    this.#showNewest();
  }

  /** Adds a message that the room has repeated. */
  message({ key, name, text, at, mine, old }) {
    this.#append(() => {
      this.#dayLine(at);
      const group = this.#groupFor(key, at) ?? this.#log.appendChild(messageGroup(name, at, mine));
      group.querySelector(".bubbles").append(bubble(text));
      this.#last = { kind: "message", from: key, at, element: group };
    }, { counts: !mine && !old });
  }

  /** Adds "Ada joined" or "Ada left"; neighbours of one kind share a line. */
  presence(kind, name) {
    this.#append(() => {
      const line = this.#presenceLine(kind) ?? this.#log.appendChild(quietLine());
      line.dataset.presence = kind;
      line.dataset.names = JSON.stringify([...JSON.parse(line.dataset.names ?? "[]"), name]);
      writePresence(line);
      this.#last = { kind, element: line };
    });
  }

  /** Adds the line before the first message that was missed and has come after all. There is one such line, the newest. */
  away(ms) {
    this.#append(() => {
      this.#log.querySelector(".away")?.remove();
      const line = quietLine();
      line.classList.add("away");
      const [key, params] = lasting(ms);
      line.append(setIn(element("span"), key, params));
      this.#log.append(line);
      this.#last = { kind: "away", element: line };
    });
  }

  /** Adds the line that owns up to what cannot be had any more. */
  missed(reason) {
    this.#append(() => {
      const line = setIn(quietLine(), REASONS.has(reason) ? `log.missed.${reason}` : "log.missed.other");
      line.classList.add("gap");
      this.#log.append(line);
      this.#last = { kind: "gap", element: line };
    });
  }

  /** Shows who is writing. */
  typing(names) {
    this.#writers = names;
    if (names.length === 0) this.#typing.replaceChildren();
    else if (names.length > TYPING_NAMES) this.#typing.replaceChildren(setIn(element("span"), "log.typingMany"));
    else writeNames(this.#typing, "log.typing", names);
    if (names.length > 0) this.#typing.prepend(element("i", "dots"));
    if (this.#atBottom) this.#jump();
  }

  /** Shows the undelivered messages: entries as Outgoing has them. */
  outgoing(entries, myName) {
    const focused = document.activeElement?.closest?.("[data-id]")?.dataset.id;
    const before = new Map([...this.#pending.querySelectorAll("[data-id]")].map((row) => [row.dataset.id, row]));
    const grows = entries.some(({ id }) => !before.has(id));
    if (entries.length === 0) {
      this.#pending.replaceChildren();
    } else {
      const group = this.#pending.firstElementChild ?? this.#pendingGroup(myName);
      const rows = entries.map((entry) => this.#pendingRow(entry, before.get(entry.id)));
      group.querySelector(".bubbles").replaceChildren(...rows);
    }
    if (focused) this.#keepFocus(focused);
    if (grows) this.toBottom();
    else if (this.#atBottom) this.#jump();
  }

  // The newest group, if a message of this person at this time still belongs to it.
  #groupFor(from, at) {
    const last = this.#last;
    if (last?.kind !== "message" || last.from !== from || at - last.at > GROUP_MS) return null;
    return last.element.querySelector(".bubbles").childElementCount < GROUP_MESSAGES ? last.element : null;
  }

  #presenceLine(kind) {
    if (this.#last?.kind !== kind) return null;
    const line = this.#last.element;
    return JSON.parse(line.dataset.names).length < LINE_NAMES ? line : null;
  }

  #pendingGroup(myName) {
    const group = messageGroup(myName, null, true);
    this.#pending.append(group);
    return group;
  }

  #pendingRow({ id, text, state }, present) {
    if (present?.dataset.state === state) return present;
    const row = bubble(text);
    row.dataset.id = id;
    row.dataset.state = state;
    if (state === "sent") return row;
    const note = element("p", "note");
    note.append(setIn(element("span"), `say.${state}`));
    if (state !== "waiting") {
      note.append(
        this.#action("say.resend", () => this.#actions.resend(id)),
        this.#action("say.discard", () => this.#actions.discard(id)),
      );
    }
    row.append(note);
    return row;
  }

  #action(key, act) {
    const button = setIn(element("button", "small"), key);
    button.type = "button";
    button.addEventListener("click", act);
    return button;
  }

  // The row that held the focus may just have been replaced, or be gone: then the text field gets it.
  #keepFocus(id) {
    if (document.activeElement !== document.body) return;
    const row = [...this.#pending.querySelectorAll("[data-id]")].find(({ dataset }) => dataset.id === id);
    (row?.querySelector("button") ?? document.querySelector("[data-main-input]")).focus();
  }

  #append(write, { counts = false } = {}) {
    write();
    while (this.#log.childElementCount > KEPT_ROWS) this.#log.firstElementChild.remove();
    if (this.#atBottom) {
      this.#jump();
    } else if (counts) {
      this.#unseen += 1;
      this.#showNewest();
    }
  }

  #dayLine(at) {
    const day = new Date(at).toDateString();
    if (this.#day !== null && this.#day !== day) {
      const line = quietLine();
      const time = element("time");
      time.dataset.day = String(at);
      time.textContent = dayText(at);
      line.append(time);
      this.#log.append(line);
      this.#last = { kind: "day", element: line };
    }
    this.#day = day;
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    this.#atBottom = scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM_PX;
    if (this.#atBottom) this.#unseen = 0;
    this.#showNewest();
  }

  #jump() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #showNewest() {
    this.#newest.hidden = this.#atBottom;
    const words = this.#newest.querySelector("span");
    if (this.#unseen > 0) setText(words, "log.new", { count: this.#unseen });
    else setText(words, "log.down");
    this.#newest.classList.toggle("has-news", this.#unseen > 0);
  }

  #languageChanged() {
    for (const line of this.#log.querySelectorAll("[data-presence]")) writePresence(line);
    this.typing(this.#writers);
    for (const time of this.#log.querySelectorAll("[data-clock]")) time.textContent = clockText(+time.dataset.clock);
    for (const time of this.#log.querySelectorAll("[data-day]")) time.textContent = dayText(+time.dataset.day);
  }
}

/** The round sign with a person's first letter. */
export function avatar(name) {
  const sign = element("span", "avatar");
  sign.setAttribute("aria-hidden", "true");
  sign.dataset.hue = String(hueOf(name, HUES));
  sign.textContent = initial(name);
  return sign;
}

/** A name, kept from turning the text around it when it is written from right to left. */
export function nameTag(name) {
  const tag = element("bdi", "name");
  tag.textContent = name;
  return tag;
}

function messageGroup(name, at, mine) {
  const group = element("article", mine ? "group mine" : "group");
  const head = element("header");
  head.append(nameTag(name));
  if (at !== null) head.append(clock(at));
  group.append(avatar(name), head, element("div", "bubbles"));
  return group;
}

function bubble(text) {
  const row = element("div", "said");
  const body = element("p", "bubble");
  body.dir = "auto";
  for (const part of withLinks(text)) {
    if (part.href) body.append(link(part));
    else body.append(part.text);
  }
  row.append(body);
  return row;
}

function link({ text, href }) {
  const anchor = element("a");
  anchor.href = href;
  anchor.target = "_blank";
  anchor.rel = "noopener noreferrer nofollow";
  anchor.textContent = text;
  return anchor;
}

function clock(at) {
  const time = element("time");
  time.dateTime = new Date(at).toISOString();
  time.dataset.clock = String(at);
  time.textContent = clockText(at);
  return time;
}

function clockText(at) {
  return new Intl.DateTimeFormat(locale(), { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(at);
}

function dayText(at) {
  return new Intl.DateTimeFormat(locale(), { dateStyle: "full" }).format(at);
}

function quietLine() {
  return element("p", "quiet-line");
}

function writePresence(line) {
  writeNames(line, `log.${line.dataset.presence}`, JSON.parse(line.dataset.names));
}

// "Ada, Bob and Cleo joined", each name in an element of its own.
function writeNames(line, key, names) {
  const list = new Intl.ListFormat(locale(), { type: "conjunction" }).formatToParts(names);
  const [before, after] = t(key, { names: "\u0000", count: names.length }).split("\u0000");
  const parts = list.map(({ type, value }) => (type === "element" ? nameTag(value) : value));
  line.replaceChildren(before, ...parts, after);
}

function lasting(ms) {
  const seconds = Math.max(1, Math.round(ms / 1000));
  return seconds < 90 ? ["log.away", { seconds }] : ["log.awayLong", { minutes: Math.round(seconds / 60) }];
}

function setIn(target, key, params) {
  setText(target, key, params);
  return target;
}

function element(tag, className) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  return made;
}
