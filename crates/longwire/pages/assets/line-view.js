// Shows the state of a line in words: a small label that is always there, and a notice while something is wrong.

import { closeOf, explainClose } from "./close-codes.js";
import { clearText, onLanguageChange, setText, t } from "./i18n.js";

const BACK_MS = 3000;
const TICK_MS = 250;

/** How a snapshot looks to a reader: "connecting", "open", "lost" or "stopped". */
function lookOf({ state, close }) {
  return state === "connecting" && close ? "lost" : state;
}

/** What to show for a ConnectionState of the client of /longwire.js. `close` is what the last attempt ended with, if there was one. */
export function snapshotOf({ state, error, next }, close = null) {
  if (state !== "connecting") close = error ? closeOf(error) : null;
  return { state: state === "closed" ? "stopped" : state, close, nextAttemptAt: next ?? null };
}

/** The view. Elements: the page's #line (label), #notice (with .why, .next and a button). */
export class LineView {
  #label = document.querySelector("#line");
  #notice = document.querySelector("#notice");
  #snapshot = null;
  #backTimer;
  #ticker;

  /** `retry()` is called when the reader does not want to wait. */
  constructor(retry) {
    this.#notice.querySelector("button").addEventListener("click", retry);
    onLanguageChange(() => this.#writeNotice());
  }

  /** Shows `snapshot`: { state, close, nextAttemptAt } as a Line has them. */
  show(snapshot) {
    const before = this.#label.dataset.state;
    this.#snapshot = snapshot;
    const look = lookOf(snapshot);
    clearTimeout(this.#backTimer);
    clearInterval(this.#ticker);
    if (look === "open" && (before === "lost" || before === "stopped")) {
      this.#say("back");
      this.#backTimer = setTimeout(() => this.#say("open"), BACK_MS);
    } else {
      this.#say(look);
    }
    if (look === "lost") this.#ticker = setInterval(() => this.#writeNotice(), TICK_MS);
    this.#writeNotice();
  }

  /** Shows nothing any more, until the next snapshot. */
  clear() {
    clearTimeout(this.#backTimer);
    clearInterval(this.#ticker);
    this.#snapshot = null;
    this.#label.dataset.state = "connecting";
    this.#writeNotice();
  }

  #say(look) {
    this.#label.dataset.state = look;
    setText(this.#label.querySelector(".word"), `line.${look}`);
  }

  #writeNotice() {
    const look = this.#snapshot && lookOf(this.#snapshot);
    const trouble = look === "lost" || (look === "stopped" && this.#snapshot.close !== null);
    if (!trouble) {
      this.#hideNotice();
      return;
    }
    this.#notice.hidden = false;
    this.#notice.dataset.state = look;
    const { close, nextAttemptAt } = this.#snapshot;
    setWords(this.#notice.querySelector(".why"), reasonOf(close));
    const next = this.#notice.querySelector(".next");
    const seconds = nextAttemptAt === null ? 0 : Math.ceil((nextAttemptAt - Date.now()) / 1000);
    if (look === "stopped") setText(next, "line.noReturn");
    else if (seconds > 0) setText(next, "line.next", { seconds });
    else setText(next, "line.trying");
    setText(this.#notice.querySelector("button"), look === "stopped" ? "line.tryAgain" : "line.tryNow");
  }

  // The button may hold the focus; without this it would fall back to the top of the page.
  #hideNotice() {
    const hadFocus = this.#notice.contains(document.activeElement);
    this.#notice.hidden = true;
    clearText(this.#notice.querySelector(".next"));
    if (hadFocus) document.querySelector("[data-main-input]")?.focus();
  }
}

// What the server itself gives as a reason says the same as our words, in English; an application's own is for the reader.
function reasonOf(close) {
  const { key, code } = explainClose(close);
  const why = t(key, { code });
  return close.reason && code >= 4000 ? t("line.said", { why, reason: close.reason }) : why;
}

// Writing the same words again would make a screen reader say them again.
function setWords(element, words) {
  if (element.textContent !== words) element.textContent = words;
}
