import { Commands, errorOf, type QueueLimits } from "./commands.js";
import type { Backoff, Environment } from "./environment.js";
import { asError, clientError, LongwireError } from "./errors.js";
import { Line, type ConnectionState, type LineHandler, type LineOptions } from "./line.js";
import { read, type Message } from "./protocol.js";
import { Requests } from "./requests.js";
import type { Subscription } from "./subscription.js";
import { Token, type TokenSource } from "./token.js";
import type { StreamWriter } from "./writer.js";

/** What a session has to know. */
export interface SessionOptions extends LineOptions {
  backoff: Backoff;
  queue: QueueLimits;
  token: TokenSource | undefined;
  info: unknown;
}

/** What a session tells. */
export interface SessionEvents {
  /** The line is in another state. */
  state: ConnectionState;
  /** Something has failed: for logs. */
  error: LongwireError;
}

type Emit = <K extends keyof SessionEvents>(event: K, value: SessionEvents[K]) => void;

/** Says who we are on every new line, takes up again what there was, and gives everybody what is theirs. */
export class Session implements LineHandler {
  readonly environment: Environment;
  readonly options: SessionOptions;
  readonly commands: Commands;
  readonly requests: Requests;
  readonly line: Line;
  readonly subscriptions = new Map<string, Subscription<never>>();
  readonly writers = new Set<StreamWriter>();
  readonly #emit: Emit;
  readonly #token: Token;
  /** The session of the last line and its secret. */
  #taken: { session?: string; key?: string } = {};
  /** How often a token was refused since one was accepted. */
  #tokensRefused = 0;
  #refreshing = false;
  #stopRefresh = (): void => {};

  constructor(options: SessionOptions, environment: Environment, emit: Emit) {
    this.options = options;
    this.environment = environment;
    this.#emit = emit;
    this.#token = new Token(options.token);
    this.line = new Line(options, environment, this);
    this.commands = new Commands(
      options.queue,
      environment.steady,
      (text) => this.line.send(text),
      (error) => this.report(error),
    );
    this.requests = new Requests(this.commands);
  }

  open(): void {
    this.commands.reopen();
    this.line.open();
  }

  close(): void {
    this.line.close();
    this.#end(closed());
  }

  /** Something has failed, and perhaps nobody waits for it. */
  report(error: LongwireError): void {
    this.#emit("error", error);
    if (error.name === "token_expired" && this.line.state.state === "open") void this.#refresh();
  }

  // What the line tells.

  prepare(): Promise<void> {
    return this.#token.prepare(this.environment.steady());
  }

  greeting(): string {
    const { info } = this.options;
    return JSON.stringify({ type: "connect", token: this.#token.value, info, ...this.#taken });
  }

  accepts(data: unknown): boolean {
    try {
      return read(data)[0]?.type === "connected";
    } catch {
      return false;
    }
  }

  ping(): void {
    this.line.send('{"type":"ping"}');
  }

  message(data: unknown): void {
    const { turn } = this.line;
    try {
      for (const message of read(data)) {
        // What one message brings about may end the line: what came after it is not for us then.
        if (turn !== this.line.turn) return;
        if (message.type === "close") this.line.ended(message.code, message.reason);
        else if (this.line.state.state === "connecting") this.#greeted(message);
        else if (message.id !== undefined) this.commands.answer(message);
        else this.#pushed(message);
      }
    } catch (thrown) {
      const what = `the server sent what cannot be read: ${String(thrown)}`;
      const error = thrown instanceof LongwireError ? thrown : clientError("bad_server_message", what, thrown);
      if (turn === this.line.turn) this.line.fail(error);
    }
  }

  down(error: LongwireError | undefined, final: boolean): void {
    this.#stopRefresh();
    if (error?.name === "token_expired") this.#token.reject();
    if (final) return this.#end(error ?? closed());
    for (const subscription of this.subscriptions.values()) subscription.down();
    this.commands.down();
  }

  changed(state: ConnectionState): void {
    this.#emit("state", state);
    if ("error" in state) this.#emit("error", state.error);
  }

  #end(error: LongwireError): void {
    for (const subscription of this.subscriptions.values()) subscription.closed(error);
    this.commands.close(error);
  }

  // What the server says.

  /** The first reply of a line is that to `connect`. */
  #greeted(message: Message): void {
    if (message.type === "error") return this.#refused(errorOf(message));
    if (message.type !== "connected") throw clientError("bad_server_message", `the server answered connect with ${message.type}`);
    const { session, key, resumed, user, ping, max, expires } = message;
    this.#taken = { session, key };
    this.#tokensRefused = 0;
    this.commands.up(max, () => {
      for (const subscription of this.subscriptions.values()) subscription.up();
    });
    for (const writer of this.writers) writer.up();
    this.#expires(expires);
    this.line.ready({ session, resumed: resumed === true, user, ping, max });
  }

  #refused(error: LongwireError): void {
    const token = error.name === "token_expired" || error.name === "unauthorized";
    if (!token) return error.retry ? this.line.fail(error, false, true) : this.line.close(error);
    // The first time a new token is worth a try at once. After that, only what may pass is attempted again.
    const first = this.#tokensRefused++ === 0;
    if (this.#token.reject() && (first || error.retry)) this.line.fail(error, first, true);
    else this.line.close(error);
  }

  #pushed(message: Message): void {
    if (message.type === "error") this.report(errorOf(message));
    else if (message.type === "cancel") for (const writer of this.writers) writer.wished(message);
    else this.subscriptions.get(message.channel ?? "")?.pushed(message);
  }

  // The token.

  #expires(seconds: number | undefined): void {
    this.#token.expires(this.environment.steady(), seconds);
    this.#stopRefresh();
    if (seconds === undefined || !this.#token.renewable) return;
    const early = Math.max(seconds * 0.75, seconds - 60);
    this.#stopRefresh = this.environment.after(early * 1000, () => void this.#refresh());
  }

  async #refresh(): Promise<void> {
    if (this.#refreshing || !this.#token.renewable) return;
    this.#refreshing = true;
    const { turn } = this.line;
    try {
      const token = await this.#token.renew();
      // A line that has come meanwhile was opened with a token of its own.
      if (turn === this.line.turn) await this.commands.say({ type: "refresh", token }, false, ({ expires }) => this.#expires(expires));
    } catch (thrown) {
      if (turn === this.line.turn) {
        this.#emit("error", asError("token_failed", thrown));
        const { random, after } = this.environment;
        this.#stopRefresh = after((0.5 + random() / 2) * this.options.backoff.max, () => void this.#refresh());
      }
    } finally {
      this.#refreshing = false;
    }
  }
}

/** What waits, or is said, is told this when the user has closed the line. */
export function closed(): LongwireError {
  return clientError("closed", "the line was closed");
}
