import type { QueueLimits } from "./commands.js";
import { Emitter } from "./emitter.js";
import { environment, quiet, type Environment } from "./environment.js";
import { clientError, tableError } from "./errors.js";
import { noTransport, type ConnectionState } from "./line.js";
import type { HistoryPage, PresencePage, Published, StatePage } from "./protocol.js";
import type { HistoryOptions, PageOptions, PublishOptions } from "./requests.js";
import { closed, Session, type SessionEvents } from "./session.js";
import { Subscription, type SubscribeOptions } from "./subscription.js";
import type { TokenSource } from "./token.js";
import { usable, type Transport } from "./transport.js";
import type { WebSocketConstructor } from "./websocket.js";
import { StreamWriter, type StreamOptions } from "./writer.js";

/** All of it is optional. */
export interface LongwireOptions {
  /** Who one is: a token, or what gets one whenever a new one is needed, at first and before it expires. */
  token?: TokenSource;
  /** Any JSON up to 1 KiB to say of oneself: others see it in presence and beside one's publications. */
  info?: unknown;
  /** `false`: do not connect before `connect()`. */
  connect?: boolean;
  /** What may carry the line, from the best on: all three unless said. What does not work, or is not there, is passed over. */
  transports?: readonly Transport[];
  /** Where lines over HTTP are. Unless said, the `/http` beside an address that ends in `/ws`; beside another there are none. */
  http?: string | URL;
  /** Where there is no global `WebSocket`, as in Node 20: that of the npm package `ws`. */
  WebSocket?: WebSocketConstructor;
  /** What makes HTTP requests, in the place of the global `fetch`: to send headers or cookies of your own, say. */
  fetch?: typeof fetch;
  /** The longest wait before the first attempt to come back, in milliseconds; it doubles with each failure. 500 unless said. */
  backoff?: number;
  /** The longest wait of all, in milliseconds. 20,000 unless said. */
  backoffMax?: number;
  /** For connecting, and for an answer to a ping, in milliseconds. 10,000 unless said. */
  timeout?: number;
  /** For connecting while there is another transport to be attempted, in milliseconds. 5,000 unless said. */
  openTimeout?: number;
  /**
   * On a transport that is not the best, better ones are attempted after so many milliseconds, then after waits that double, up to ten
   * times as long, and whenever the network comes back. 60,000 unless said; 0: never.
   */
  climb?: number;
  /** What cuts silent lines is met with more pings, but not more than one in so many milliseconds. 5,000 unless said. */
  pingMin?: number;
  /** How much may wait to be sent or answered: 10,000 commands and 4 MiB unless said. Beyond it `queue_full`. */
  queue?: Partial<QueueLimits>;
  /** Other time and chance, for tests. */
  environment?: Partial<Environment>;
}

/**
 * A line to a Longwire server: opened at once, and again whenever it is lost, until `close()`.
 *
 * ```ts
 * const line = new Longwire();
 * line.subscribe("chat:lobby", { last: 20, onPublication: ({ data }) => console.log(data) });
 * line.publish("chat:lobby", { text: "Hello" });
 * ```
 */
export class Longwire {
  readonly #emitter = new Emitter<SessionEvents>();
  readonly #session: Session;
  #wanted = false;

  /**
   * @param url Where the server is: `ws:`, `wss:`, `http:` or `https:`. Without a path, its `/v1/ws`. The page's own server unless said.
   * @throws LongwireError `bad_address`, or `no_websocket` if nothing here can carry a line: no WebSocket, given or found, and no `fetch`.
   */
  constructor(url?: string | URL, options: LongwireOptions = {}) {
    const { backoff = 500, backoffMax = 20_000, timeout = 10_000, openTimeout = 5_000, climb = 60_000, pingMin = 5_000 } = options;
    const { transports = ["websocket", "stream", "poll"], queue, token, info } = options;
    const here = globalThis as Pick<LongwireOptions, "WebSocket" | "fetch">;
    const { WebSocket = here.WebSocket, fetch = here.fetch } = options;
    const wires = { ...addresses(url, options.http), WebSocket, fetch };
    this.#session = new Session(
      {
        ...wires,
        transports,
        backoff: { first: backoff, max: backoffMax },
        timeout,
        openTimeout,
        climb,
        pingMin,
        queue: { commands: 10_000, bytes: 4 * 1024 * 1024, ...queue },
        token,
        info,
      },
      environment(options.environment),
      (event, value) => this.#emitter.emit(event, value),
    );
    if (options.connect === false) return;
    if (!usable(transports, wires).length) throw noTransport();
    this.#wanted = true;
    // Not at once, so that handlers can be there before the first event.
    queueMicrotask(() => {
      if (this.#wanted) this.#session.open();
    });
  }

  /** How the line is. The event `state` tells when it changes. */
  get connection(): ConnectionState {
    return this.#session.line.state;
  }

  /** What carries the line while it is open. The event `state` tells it as well. */
  get transport(): Transport | undefined {
    return this.connection.state === "open" ? this.connection.transport : undefined;
  }

  /**
   * Listens until the returned function is called. `state`: the line is in another state. `error`: something has failed, for logs;
   * whoever waits for it is told as well.
   */
  on<K extends keyof SessionEvents>(event: K, listener: (value: SessionEvents[K]) => void): () => void {
    return this.#emitter.on(event, listener);
  }

  /** Opens the line, or, if it is lost, tries at once. Resolves when it is open, is rejected if it is closed instead. */
  connect(): Promise<void> {
    this.#wanted = true;
    return quiet(
      new Promise<void>((resolve, reject) => {
        if (this.connection.state === "open") return resolve();
        const stop = this.on("state", (now) => {
          if (now.state === "open") resolve();
          else if (now.state === "closed") reject(now.error ?? closed());
          else return;
          stop();
        });
        this.#session.open();
      }),
    );
  }

  /**
   * Closes the line until `connect()`. What waits to be sent or answered is rejected with `closed`; subscriptions stay, and continue
   * where they are when the line is opened again.
   */
  close(): void {
    this.#wanted = false;
    this.#session.close();
  }

  /**
   * Follows a channel, now or as soon as there is a line.
   *
   * @throws LongwireError `already_subscribed` if this client follows it already.
   */
  subscribe<T = unknown>(channel: string, options: SubscribeOptions<T> = {}): Subscription<T> {
    const { subscriptions, commands } = this.#session;
    if (subscriptions.has(channel)) throw tableError("already_subscribed", channel);
    const subscription = new Subscription<T>(this.#session, channel, options);
    subscriptions.set(channel, subscription as Subscription<never>);
    const now = this.connection;
    if (commands.max) subscription.up();
    else if (now.state === "closed" && now.error) subscription.closed(now.error);
    return subscription;
  }

  /**
   * Says something in a channel: JSON, or bytes. Without a line it is kept and sent when there is one, once, and in order.
   * The promise says when the server has it; one need not wait for it.
   */
  publish(channel: string, data?: unknown, options?: PublishOptions): Promise<Published> {
    return this.#session.requests.publish(channel, data, options);
  }

  /** Begins a stream, a publication that grows: the text of a language model, say. */
  stream(channel: string, options?: StreamOptions): StreamWriter {
    return new StreamWriter(this.#session, channel, options);
  }

  /** Asks the producer of a stream to stop: the stream by the offset of its beginning. */
  cancel(channel: string, stream: number): Promise<void> {
    return this.#session.requests.cancel(channel, stream);
  }

  /** Looks at what was. */
  history<T = unknown>(channel: string, options?: HistoryOptions): Promise<HistoryPage<T>> {
    return this.#session.requests.history(channel, options);
  }

  /** Looks who is there. */
  presence(channel: string, options?: PageOptions): Promise<PresencePage> {
    return this.#session.requests.presence(channel, options);
  }

  /** Looks at a channel's keys. */
  state<T = unknown>(channel: string, options?: PageOptions): Promise<StatePage<T>> {
    return this.#session.requests.state(channel, options);
  }
}

/** Where the WebSocket is, and where lines over HTTP are, if that is known. */
function addresses(url: string | URL = "/", http?: string | URL): { url: string; http: string | undefined } {
  const base = (globalThis as { location?: { origin: string } }).location?.origin;
  const whole = address(url, base);
  if (whole.pathname === "/") whole.pathname = "/v1/ws";
  const ws = whole.href.replace(/^http/, "ws");
  const over = http === undefined ? ws.replace(/^([^?#]*\/)ws([?#].*)?$/, "$1http") : address(http, ws).href;
  return { url: ws, http: over === ws ? undefined : over.replace(/^ws/, "http") };
}

/** A host without a scheme would be taken for a path or for a scheme. */
function address(url: string | URL, base: string | undefined): URL {
  try {
    const whole = new URL(url, base);
    if (/^(ws|http)s?:$/.test(whole.protocol) && !/^[\w.-]+:\d/.test(String(url))) return whole;
  } catch {
    // Said below.
  }
  throw clientError("bad_address", `${url} is not an address of the form ws://HOST or http://HOST, or a path of the page's server`);
}
