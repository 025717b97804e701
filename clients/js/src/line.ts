import { Choice } from "./choice.js";
import { jitter, type Backoff, type Environment } from "./environment.js";
import { asError, clientError, closeError, type LongwireError } from "./errors.js";
import { Pulse } from "./pulse.js";
import { openWire, usable, type Transport, type Wire, type WireEvents, type WireOptions } from "./transport.js";

/** How the line is, told by the event `state`. */
export type ConnectionState =
  | {
      state: "connecting";
      /** How many attempts before this one have failed since the line last stood. */
      attempt: number;
      /** What is attempted. */
      transport?: Transport;
      /** Why the transport before it was given up, if this one is attempted in its place. */
      error?: LongwireError;
    }
  | {
      state: "open";
      /** The public id of the session. */
      session: string;
      /** Whether the session of an earlier line was taken up again. */
      resumed: boolean;
      /** What carries the line. If a better transport takes over, `open` is told again. */
      transport: Transport;
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
export interface LineOptions extends WireOptions {
  /** From the best on. */
  transports: readonly Transport[];
  backoff: Backoff;
  /** For opening, and for an answer to a ping. */
  timeout: number;
  /** For opening, if there is another transport to be attempted. */
  openTimeout: number;
  /** After how long a better transport is attempted the first time; 0: never. */
  climb: number;
  /** Not more often than this is the server asked whether it is there. */
  pingMin: number;
}

/** How the server accepts us. */
export interface Accepted {
  session: string;
  resumed: boolean;
  user: string | undefined;
  ping: number;
  max: number;
}

/** Whom the line tells. */
export interface LineHandler {
  /** An attempt begins: what has to be there before a wire is opened. */
  prepare(): Promise<void>;
  /** What is to be said first on a new wire. */
  greeting(): string;
  /** A message has come. */
  message(data: unknown): void;
  /** Whether this accepts us: the first message of a wire that is to take over. */
  accepts(data: unknown): boolean;
  /** Nothing has come for too long. */
  ping(): void;
  /** The line is no more; it will be attempted anew unless `final`. */
  down(error: LongwireError | undefined, final: boolean): void;
  changed(state: ConnectionState): void;
}

/** A line that has stood for so long was a good one: the next back-off begins from the start. */
const STEADY_MS = 5_000;
/** A line that was cut before it stood for so long tells against its transport, as one that could not be opened. */
const BRIEF_MS = 2_000;
/** The close code of a line that was cut. */
const CUT = 1006;
/** The close code of a line whose session was taken up by another. */
const REPLACED = 3500;
/** For so long a greeting of ours that was not answered may still reach the server, and take the session away from a line of ours. */
const ASTRAY_MS = 60_000;
/** The waits before better transports are attempted grow to so many times the first. */
const CLIMB_MAX = 10;
/** While a page is looked at, the first so many attempts in a row wait no longer than this: about half a minute in all. */
const [SEEN_ATTEMPTS, SEEN_WAIT_MS] = [20, 3_000];
/** What the constructor of a WebSocket throws if the address is wrong, or the page may not go there. */
const NEVER = ["SyntaxError", "SecurityError"];

/** A wire, and what we wait for on it. */
interface Attempt {
  transport: Transport;
  wire: Wire;
  /** Whether the greeting was said and is not answered yet: until then the server may, or may not, have given it the session. */
  asked: boolean;
}

/** One wire after the other, as long as a line is wanted. */
export class Line {
  state: ConnectionState = { state: "closed" };
  readonly #options: LineOptions;
  readonly #environment: Environment;
  readonly #handler: LineHandler;
  readonly #choice: Choice;
  readonly #pulse: Pulse;
  /** What carries the line, or is to. */
  #main: Attempt | undefined;
  /** A wire to a better transport, while the line stands on another, and what is attempted if it fails. */
  #climber: Attempt | undefined;
  #higher: Transport[] = [];
  /** Grows with every attempt and every end of one, so that what comes late is known to be late. */
  turn = 0;
  #attempt = 0;
  #openSince = 0;
  /** Stops the one timer that runs: of the opening, the next ping, its answer, or the next attempt. */
  #stopTimer = (): void => {};
  /** When something was heard last, and until when something has to be, if it was asked for since. */
  #heard = 0;
  #deadline = Infinity;
  #pingEvery = 0;
  /** Until when a line may be replaced by a greeting of ours that went astray. */
  #astray = 0;
  /** How long to wait before the next climb, and what stops that, or the climb's time-out. */
  #climbWait: number;
  #stopClimb = (): void => {};

  constructor(options: LineOptions, environment: Environment, handler: LineHandler) {
    this.#options = options;
    this.#environment = environment;
    this.#handler = handler;
    this.#choice = new Choice(usable(options.transports, options), options.url, environment);
    this.#pulse = new Pulse(options.pingMin);
    this.#climbWait = options.climb;
  }

  /** Opens the line, or, if it is lost, tries at once. */
  open(): void {
    const { state } = this.state;
    if (state === "closed") {
      this.#attempt = 0;
      const { window, document } = this.#environment;
      for (const type of ["online", "offline"]) window?.addEventListener(type, this.#wake);
      document?.addEventListener("visibilitychange", this.#wake);
    }
    if (state === "closed" || state === "lost") void this.#try();
  }

  /** Closes it for good: with an error if it is not what the user wanted. */
  close(error?: LongwireError): void {
    if (this.state.state === "closed") return;
    const { window, document } = this.#environment;
    for (const type of ["online", "offline"]) window?.removeEventListener(type, this.#wake);
    document?.removeEventListener("visibilitychange", this.#wake);
    this.#drop();
    this.#handler.down(error, true);
    this.#change(error ? { state: "closed", error } : { state: "closed" });
  }

  send(text: string): void {
    this.#main?.wire.send(text);
  }

  /**
   * Gives the line up, and comes back: over another transport at once if this one does not seem to work here; else after the back-off,
   * or `soon`. `carried`: the server was reached, so that it is not the transport's fault.
   */
  fail(error: LongwireError, soon = false, carried = false): void {
    const { state } = this.state;
    if (state === "closed" || state === "lost") return;
    const { now, steady } = this.#environment;
    const stood = state === "open" ? steady() - this.#openSince : -1;
    const another = this.#another(stood, error, carried);
    this.#drop();
    this.#handler.down(error, false);
    if (another) return void this.#try(error);
    const wait = soon ? 0 : jitter(this.#environment, this.#backoff(error), this.#attempt);
    this.#attempt += 1;
    this.#timer(wait, () => void this.#try());
    this.#change({ state: "lost", attempt: this.#attempt, next: now() + wait, error });
  }

  /** Shorter while somebody looks; but whoever was asked to wait does. */
  #backoff({ code }: LongwireError): Backoff {
    const { first, max } = this.#options.backoff;
    const seen = this.#environment.document?.visibilityState === "visible" && this.#attempt < SEEN_ATTEMPTS;
    return { first, max: seen && (code === 0 || code >= 1000) ? Math.min(max, SEEN_WAIT_MS) : max };
  }

  /** The server says that the line ends, or it has. */
  ended(code: number, reason: string): void {
    const error = closeError(code, reason);
    const taken = this.#climber?.asked;
    const ours = code === REPLACED && (taken || this.#environment.steady() < this.#astray);
    this.#main = this.#letGo(this.#main, false);
    if (!error.retry && !ours) this.close(error);
    // Otherwise the climber is about to have the session.
    else if (!taken) this.fail(error);
  }

  /** The server has accepted us: it takes `max` bytes at a time, and pings whoever is silent for `ping` seconds. */
  ready({ session, resumed, user, ping, max }: Accepted): void {
    const main = this.#main as Attempt;
    const { transport } = main;
    main.asked = false;
    this.#openSince = this.#environment.steady();
    this.#pingEvery = this.#pulse.every(transport, ping);
    this.#choice.worked();
    main.wire.ready?.(max, this.#pingEvery / 1.5);
    this.#watch();
    this.#planClimb();
    this.#change({ state: "open", session, resumed, transport, ...(user === undefined ? {} : { user }) });
  }

  // Attempts.

  async #try(error?: LongwireError): Promise<void> {
    const turn = ++this.turn;
    const { timeout, openTimeout } = this.#options;
    const transport = this.#choice.current;
    this.#limit(timeout, true);
    this.#change({ state: "connecting", attempt: this.#attempt, ...(transport && { transport }), ...(error && { error }) });
    try {
      await this.#handler.prepare();
    } catch (thrown) {
      if (turn === this.turn) this.fail(asError("token_failed", thrown), false, true);
      return;
    }
    if (turn !== this.turn) return;
    if (!transport) return this.close(noTransport());
    this.#limit(this.#choice.more ? Math.min(timeout, openTimeout) : timeout);
    try {
      this.#main = this.#open(transport);
    } catch (thrown) {
      const failed = asError("connection_lost", thrown);
      // Some throw when the network is not there. Where there is nothing else, and it will never be otherwise, that is the end.
      if (this.#choice.all.length > 1 || !NEVER.includes((thrown as Error)?.name)) this.fail(failed);
      else this.close(failed);
    }
  }

  /** An attempt may take so long. `carried`: as in `fail`. */
  #limit(ms: number, carried = false): void {
    this.#timer(ms, () => {
      this.fail(clientError("timeout", `not connected within ${ms} ms (${this.#choice.current})`), false, carried);
    });
  }

  /** A wire tells whoever it is for at the moment: the line, its climber, or nobody any more. */
  #open(transport: Transport): Attempt {
    const events: WireEvents = {
      opened: () => {
        if (attempt !== this.#main && attempt !== this.#climber) return;
        attempt.asked = true;
        attempt.wire.send(this.#handler.greeting());
      },
      heard: (data) => {
        if (attempt === this.#main) this.#hear(data);
        else if (attempt === this.#climber && data !== undefined) this.#climbed(attempt, data);
      },
      ended: (code, reason) => {
        if (attempt === this.#main) this.ended(code, reason);
        else if (attempt === this.#climber) this.#fell();
      },
    };
    const attempt = { transport, wire: openWire(transport, this.#options, this.#environment, events), asked: false };
    return attempt;
  }

  /** `tell`: the server may not know yet that it is over. */
  #letGo(attempt: Attempt | undefined, tell = true): undefined {
    if (attempt?.asked) this.#astray = this.#environment.steady() + ASTRAY_MS;
    attempt?.wire.close(tell);
  }

  #hear(data: unknown): void {
    this.#heard = this.#environment.steady();
    if (this.#deadline < Infinity) this.#watch();
    if (data !== undefined) this.#handler.message(data);
  }

  /**
   * Learns from the end of a line that has stood for so many milliseconds; below 0 it has not. Whether its transport does not seem to
   * work here, and another is to be attempted at once.
   */
  #another(stood: number, { code }: LongwireError, carried: boolean): boolean {
    const { current, better } = this.#choice;
    const { climb } = this.#options;
    if (stood >= STEADY_MS) this.#attempt = 0;
    if (stood >= climb && !better.length) this.#climbWait = climb;
    if (stood >= 0 && code === CUT) this.#pulse.cut(current as Transport, this.#environment.steady() - this.#heard);
    if (!carried && (stood < 0 || (stood < BRIEF_MS && code === CUT))) return this.#choice.failed();
    this.#choice.dropped();
    return false;
  }

  #drop(): void {
    this.turn += 1;
    this.#stopTimer();
    this.#stopClimbing();
    const main = this.#main;
    this.#main = undefined;
    this.#letGo(main);
  }

  #timer(ms: number, call: () => void): void {
    this.#stopTimer();
    this.#deadline = Infinity;
    this.#stopTimer = this.#environment.after(ms, call);
  }

  #change(state: ConnectionState): void {
    this.state = state;
    this.#handler.changed(state);
  }

  // Better transports.

  #planClimb(): void {
    const { climb } = this.#options;
    this.#stopClimb();
    if (!climb || !this.#choice.better.length) return;
    // Not all at the same time who fell at the same time.
    const wait = this.#climbWait * (0.75 + this.#environment.random() / 2);
    this.#stopClimb = this.#environment.after(wait, () => void this.#climb());
  }

  async #climb(): Promise<void> {
    const { climb } = this.#options;
    const { turn } = this;
    this.#climbWait = Math.min(this.#climbWait * 2 || climb, climb * CLIMB_MAX);
    try {
      await this.#handler.prepare();
    } catch {
      // Without a token it ends as without an answer.
      if (turn === this.turn) this.#planClimb();
      return;
    }
    if (turn === this.turn && !this.#climber) this.#climbTo(this.#choice.better);
  }

  #climbTo([transport, ...higher]: Transport[]): void {
    this.#higher = higher;
    if (!transport) return this.#planClimb();
    this.#stopClimb();
    this.#stopClimb = this.#environment.after(this.#options.openTimeout, () => this.#fell());
    try {
      this.#climber = this.#open(transport);
    } catch {
      this.#fell();
    }
  }

  /** The server has answered: the other wire takes over. What was on its way on this one comes again, or is said again. */
  #climbed(climber: Attempt, data: unknown): void {
    const { transport } = climber;
    if (!this.#handler.accepts(data)) return this.#fell();
    this.#climber = undefined;
    this.turn += 1;
    this.#stopTimer();
    this.#stopClimb();
    // The server ends it by itself.
    this.#letGo(this.#main, false);
    this.#main = climber;
    this.#choice.climbed(transport);
    this.#handler.down(undefined, false);
    this.state = { state: "connecting", attempt: 0, transport };
    this.#hear(data);
  }

  #fell(): void {
    this.#stopClimbing();
    if (this.#main) this.#climbTo(this.#higher);
    else this.fail(clientError("connection_lost", "the line was given up for one that did not come"), true, true);
  }

  #stopClimbing(): void {
    const climber = this.#climber;
    this.#stopClimb();
    this.#climber = undefined;
    this.#letGo(climber);
  }

  // Signs of life.

  /** Looks, when it is time, whether something was heard, and asks if not. */
  #watch(): void {
    this.#stopTimer();
    this.#deadline = Infinity;
    if (this.#pingEvery === Infinity) return;
    const left = (): number => this.#heard + this.#pingEvery - this.#environment.steady();
    this.#timer(left(), () => (left() > 0 ? this.#watch() : this.#probe(this.#options.timeout)));
  }

  /** Pings: something has to come within so many milliseconds. If something has to come sooner already, that stands. */
  #probe(ms: number): void {
    const at = this.#environment.steady() + ms;
    if (at >= this.#deadline) return;
    this.#timer(ms, () => this.fail(clientError("timeout", `nothing heard within ${ms} ms after a ping`)));
    this.#deadline = at;
    this.#handler.ping();
  }

  /** The network has changed, or the page is looked at again: what stood may be dead, and what waits need not wait. */
  readonly #wake = ({ type }: { type: string }): void => {
    const { timeout, openTimeout } = this.#options;
    const { document, steady } = this.#environment;
    if (type === "offline") return this.fail(clientError("connection_lost", "the network is gone"), false, true);
    if (type !== "online" && document?.visibilityState === "hidden") return;
    const { state } = this.state;
    this.#attempt = 0;
    if (type === "online") this.#climbWait = 0;
    // What was begun on another network need not be waited for.
    if (type === "online" && state === "connecting") this.fail(clientError("connection_lost", "the network has changed"), true, true);
    if (state === "lost") void this.#try();
    if (state !== "open") return;
    if (type === "online" || steady() - this.#heard > openTimeout) this.#probe(Math.min(timeout, openTimeout));
    if (type === "online" && !this.#climber) this.#planClimb();
  };
}

/** None of the wanted transports can be had here. */
export function noTransport(): LongwireError {
  return clientError("no_websocket", "there is no WebSocket here: give one as the option WebSocket, such as that of the npm package ws");
}
