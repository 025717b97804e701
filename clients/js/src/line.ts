import { jitter, type Backoff, type Environment } from "./environment.js";
import { asError, clientError, closeError, type LongwireError } from "./errors.js";

/** As much of a WebSocket as the client uses: that of browsers and Node, or of the npm package `ws`. */
export interface WebSocketLike {
  /* eslint-disable @typescript-eslint/no-explicit-any */
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  /* eslint-enable @typescript-eslint/no-explicit-any */
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

/** What makes one. */
export type WebSocketConstructor = new (url: string, protocols: string) => WebSocketLike;

/** How the line is, told by the event `state`. */
export type ConnectionState =
  | {
      state: "connecting";
      /** How many attempts before this one have failed since the line last stood. */
      attempt: number;
    }
  | {
      state: "open";
      /** The public id of the session. */
      session: string;
      /** Whether the session of an earlier line was taken up again. */
      resumed: boolean;
      /** Who the token says one is. */
      user?: string;
    }
  | {
      state: "lost";
      /** How many attempts have failed. */
      attempt: number;
      /** When the next one comes, in milliseconds since 1970; it comes sooner if the network or the page comes back. */
      next: number;
      /** What happened. */
      error: LongwireError;
    }
  | {
      state: "closed";
      /** Why; not there if it was closed by `close()`, or has not been opened yet. */
      error?: LongwireError;
    };

/** How the line behaves, in milliseconds. */
export interface LineOptions {
  url: string;
  WebSocket: WebSocketConstructor | undefined;
  backoff: Backoff;
  /** For opening, and for an answer to a ping. */
  timeout: number;
}

/** Whom the line tells. */
export interface LineHandler {
  /** An attempt begins: what has to be there before the WebSocket is opened. */
  prepare(): Promise<void>;
  /** The WebSocket is open. */
  opened(): void;
  /** A message has come. */
  message(data: unknown): void;
  /** Nothing has come for too long. */
  ping(): void;
  /** The line is no more; it will be attempted anew unless `final`. */
  down(error: LongwireError | undefined, final: boolean): void;
  changed(state: ConnectionState): void;
}

/** A line that has stood for so long was a good one: the next back-off begins from the start. */
const STEADY_MS = 5_000;
/** Pings come a bit sooner than the server would. */
const SOONER = 0.9;

/** One WebSocket after the other, as long as it is wanted. */
export class Line {
  state: ConnectionState = { state: "closed" };
  readonly #options: LineOptions;
  readonly #environment: Environment;
  readonly #handler: LineHandler;
  #socket: WebSocketLike | undefined;
  /** Grows with every attempt and every end of one, so that what comes late is known to be late. */
  turn = 0;
  #attempt = 0;
  #openSince: number | undefined;
  /** Stops the one timer that runs: of the opening, the next ping, its answer, or the next attempt. */
  #stopTimer = (): void => {};
  /** When the last message came, and how many have come. */
  #heard = 0;
  #messages = 0;
  #pingEvery = 0;

  constructor(options: LineOptions, environment: Environment, handler: LineHandler) {
    this.#options = options;
    this.#environment = environment;
    this.#handler = handler;
  }

  /** Opens the line, or, if it is lost, tries at once. */
  open(): void {
    const { state } = this.state;
    if (state === "closed") {
      this.#attempt = 0;
      this.#environment.window?.addEventListener("online", this.#wake);
      this.#environment.document?.addEventListener("visibilitychange", this.#wake);
    }
    if (state === "closed" || state === "lost") void this.#try();
  }

  /** Closes it for good: with an error if it is not what the user wanted. */
  close(error?: LongwireError): void {
    if (this.state.state === "closed") return;
    this.#environment.window?.removeEventListener("online", this.#wake);
    this.#environment.document?.removeEventListener("visibilitychange", this.#wake);
    this.#drop();
    this.#handler.down(error, true);
    this.#change(error ? { state: "closed", error } : { state: "closed" });
  }

  send(text: string): void {
    this.#socket?.send(text);
  }

  /** Gives the line up, and comes back: after the back-off, or `soon`. */
  fail(error: LongwireError, soon = false): void {
    if (this.state.state === "closed" || this.state.state === "lost") return;
    const { now, after } = this.#environment;
    if (this.#openSince !== undefined && now() - this.#openSince >= STEADY_MS) this.#attempt = 0;
    this.#drop();
    const wait = soon ? 0 : jitter(this.#environment, this.#options.backoff, this.#attempt);
    this.#attempt += 1;
    this.#stopTimer = after(wait, () => void this.#try());
    this.#handler.down(error, false);
    this.#change({ state: "lost", attempt: this.#attempt, next: now() + wait, error });
  }

  /** The server has accepted us; it pings whoever is silent for `ping` seconds. */
  ready(session: string, resumed: boolean, user: string | undefined, ping: number): void {
    this.#openSince = this.#environment.now();
    this.#pingEvery = ping * 1000 * SOONER;
    this.#watch();
    this.#change({ state: "open", session, resumed, ...(user === undefined ? {} : { user }) });
  }

  async #try(): Promise<void> {
    const turn = ++this.turn;
    const late = (): boolean => turn !== this.turn;
    this.#stopTimer();
    const { url, timeout, WebSocket = (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket } = this.#options;
    this.#stopTimer = this.#environment.after(timeout, () => this.fail(clientError("timeout", `not connected within ${timeout} ms`)));
    this.#change({ state: "connecting", attempt: this.#attempt });
    try {
      await this.#handler.prepare();
    } catch (thrown) {
      if (!late()) this.fail(asError("token_failed", thrown));
      return;
    }
    if (late()) return;
    if (!WebSocket) return this.close(noWebSocket());
    let socket: WebSocketLike;
    try {
      socket = new WebSocket(url, "longwire.v1.json");
    } catch (thrown) {
      return this.close(asError("connection_lost", thrown));
    }
    this.#socket = socket;
    let detail = "";
    socket.onopen = () => {
      if (!late()) this.#handler.opened();
    };
    socket.onmessage = ({ data }: { data: unknown }) => {
      if (late()) return;
      this.#heard = this.#environment.now();
      this.#messages += 1;
      this.#handler.message(data);
    };
    // Stays in place when the line is given up: `ws` throws what nobody hears.
    socket.onerror = ({ message }: { message?: string }) => {
      detail = message ?? "";
    };
    socket.onclose = ({ code, reason }: { code: number; reason: string }) => {
      if (!late()) this.#closed(code, reason || detail);
    };
  }

  #closed(code: number, reason: string): void {
    const error = closeError(code, reason);
    if (error.retry) this.fail(error);
    else this.close(error);
  }

  #drop(): void {
    this.turn += 1;
    this.#openSince = undefined;
    this.#stopTimer();
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close(1000);
  }

  #change(state: ConnectionState): void {
    this.state = state;
    this.#handler.changed(state);
  }

  /** Looks, when it is time, whether something was heard, and pings if not. */
  #watch(): void {
    const silence = this.#environment.now() - this.#heard;
    this.#stopTimer();
    if (!this.#pingEvery) return;
    this.#stopTimer = this.#environment.after(this.#pingEvery - silence, () => {
      if (this.#environment.now() - this.#heard >= this.#pingEvery) this.#probe();
      else this.#watch();
    });
  }

  /** Pings; whatever comes then shows that the line is good. */
  #probe(): void {
    const { timeout } = this.#options;
    const before = this.#messages;
    this.#stopTimer();
    this.#stopTimer = this.#environment.after(timeout, () => {
      if (this.#messages > before) this.#watch();
      else this.fail(clientError("timeout", `nothing heard within ${timeout} ms after a ping`));
    });
    this.#handler.ping();
  }

  /** The network or the page is back: this is the moment to try, or to see whether the line is still good. */
  readonly #wake = ({ type }: Event): void => {
    if (type === "visibilitychange" && this.#environment.document?.visibilityState === "hidden") return;
    if (this.state.state === "lost") void this.#try();
    else if (this.state.state === "open" && this.#environment.now() - this.#heard > this.#options.timeout) this.#probe();
  };
}

export function noWebSocket(): LongwireError {
  return clientError("no_websocket", "there is no WebSocket here: give one as the option WebSocket, such as that of the npm package ws");
}
