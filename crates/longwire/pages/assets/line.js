// One WebSocket line that comes back by itself.
//
// Exponential back-off with full jitter: before attempt n the line waits a random time below
// min(cap, base × 2ⁿ), so that a thousand pages cut off by one restart do not return in the same instant.

import { explainClose } from "./close-codes.js";

const BASE_MS = 500;
const CAP_MS = 30_000;
const OPEN_TIMEOUT_MS = 10_000;
/** A line that lived shorter than this did not work: the next pause keeps growing. */
const STEADY_MS = 5_000;
/** Where the pauses start when the server asks to try later: below 500 ms × 2⁴ = 8 s. */
const LATER_ATTEMPT = 4;

/** The pause before attempt number `attempt` (from 0), in milliseconds. `random()` is in [0, 1). */
export function backoff(attempt, random = Math.random) {
  return random() * Math.min(CAP_MS, BASE_MS * 2 ** Math.min(attempt, 16));
}

/** The address of `path` on the server that this page came from. */
export function lineAddress(path, { protocol, host } = location) {
  return `${protocol === "https:" ? "wss:" : "ws:"}//${host}${path}`;
}

/**
 * The line. States:
 *   "connecting"  a socket is opening
 *   "open"        text can be sent
 *   "lost"        waiting for `nextAttemptAt` (milliseconds since the epoch)
 *   "stopped"     the server wants no more attempts, or close() was called
 * Events: "change" after every change of state, "text" with the text in `detail`.
 */
export class Line extends EventTarget {
  /** How the last socket ended: { code, reason, cause }; null while none has. */
  lastClose = null;
  state = "stopped";
  nextAttemptAt = null;

  #address;
  #socket = null;
  #attempt = 0;
  #openedAt = 0;
  #timer;
  #comeBack = () => {
    if (this.state === "lost" && document.visibilityState === "visible") this.retryNow();
  };

  constructor(address) {
    super();
    this.#address = address;
  }

  /** Opens the line and keeps it open from now on. */
  start() {
    addEventListener("online", this.#comeBack);
    document.addEventListener("visibilitychange", this.#comeBack);
    this.#connect();
  }

  /** Ends the line for good. */
  close() {
    removeEventListener("online", this.#comeBack);
    document.removeEventListener("visibilitychange", this.#comeBack);
    clearTimeout(this.#timer);
    this.#detach()?.close(1000);
    this.#become("stopped");
  }

  /** Tries at once instead of waiting; also after the server said never to return. */
  retryNow() {
    if (this.state === "lost" || this.state === "stopped") this.#connect();
  }

  /** Sends `text` and returns true, or returns false when the line is not open. */
  send(text) {
    if (this.#socket?.readyState !== 1) return false;
    this.#socket.send(text);
    return true;
  }

  #connect() {
    clearTimeout(this.#timer);
    const socket = new WebSocket(this.#address);
    this.#socket = socket;
    this.#openedAt = 0;
    socket.onopen = () => {
      clearTimeout(this.#timer);
      this.#openedAt = Date.now();
      this.#become("open");
    };
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") this.dispatchEvent(new CustomEvent("text", { detail: data }));
    };
    socket.onclose = ({ code, reason }) => {
      this.#detach();
      this.#lose({ code, reason });
    };
    this.#timer = setTimeout(() => {
      this.#detach();
      socket.close();
      this.#lose({ code: 1006, reason: "", cause: "openTimeout" });
    }, OPEN_TIMEOUT_MS);
    this.#become("connecting");
  }

  #lose(close) {
    clearTimeout(this.#timer);
    this.lastClose = close;
    if (this.#openedAt && Date.now() - this.#openedAt >= STEADY_MS) this.#attempt = 0;
    const { retry } = explainClose(close);
    if (retry === "never") {
      this.#become("stopped");
      return;
    }
    if (retry === "later") this.#attempt = Math.max(this.#attempt, LATER_ATTEMPT);
    const pause = backoff(this.#attempt);
    this.#attempt += 1;
    this.nextAttemptAt = Date.now() + pause;
    this.#timer = setTimeout(() => this.#connect(), pause);
    this.#become("lost");
  }

  // After this the socket's late events reach nobody: closing a dead socket can take the browser minutes.
  #detach() {
    const socket = this.#socket;
    this.#socket = null;
    if (socket) socket.onopen = socket.onmessage = socket.onclose = null;
    return socket;
  }

  #become(state) {
    if (state !== "lost") this.nextAttemptAt = null;
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }
}
