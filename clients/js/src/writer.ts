import { call, quiet } from "./environment.js";
import { clientError, LongwireError, tableError } from "./errors.js";
import type { Message, StreamEnd } from "./protocol.js";
import type { PublishOptions } from "./requests.js";
import type { Session } from "./session.js";
import { byteLength, wellFormed } from "./text.js";

/** How to begin a stream: what goes with its publication, and more. All of it is optional. */
export interface StreamOptions extends Omit<PublishOptions, "ephemeral" | "remove"> {
  /** Someone has asked that the stream stops. `signal` says the same. */
  onCancel?(): void;
  /** After so many milliseconds without a piece the server is told that the producer lives. Unless said, a third of what it waits. */
  keepAlive?: number;
}

/** The longest reason that is said, in units of UTF-16: the server takes 1,024 bytes. */
const REASON_MAX = 340;
/** What an `append` has beside its text, at most, in bytes. */
const BESIDE_TEXT = 4_096;
/** So much JSON can a unit of UTF-16 become, in bytes. */
const JSON_MAX = 6;
/** With so many pieces unanswered, `pipe` waits. */
const AHEAD = 64;

/** Half of a character, of which the other half may come with the next piece. */
const HALF = /[\ud800-\udbff]$/;

/** A stream that this client produces. */
export class StreamWriter {
  /** Where it is. */
  readonly channel: string;
  /** The offset of its beginning, which identifies it, as soon as the server has it. */
  readonly began: Promise<number>;
  /** Is aborted when someone asks to stop, or when the stream cannot go on: give it to what produces the text. */
  readonly signal: AbortSignal;
  readonly #abort = new AbortController();
  readonly #session: Session;
  readonly #options: StreamOptions;
  #stream: number | undefined;
  /** Bytes said so far. */
  #length = 0;
  /** What is still to be said. */
  #held = "";
  /** Who waits for it. */
  #waiting: { resolve: () => void; reject: (error: LongwireError) => void }[] = [];
  #unanswered = 0;
  #flushing = false;
  /** How it is to end, and whether that was said. */
  #end: { end: StreamEnd; reason?: string } | undefined;
  #error: LongwireError | undefined;
  #keepAlive = 0;
  #stopKeepAlive = (): void => {};

  /** @internal */
  constructor(session: Session, channel: string, options: StreamOptions = {}) {
    this.#session = session;
    this.channel = channel;
    this.#options = options;
    this.signal = this.#abort.signal;
    const { onCancel: _, keepAlive: __, ...publish } = options;
    this.began = session.requests.send(channel, undefined, { ...publish, stream: true }, (reply) => this.#begun(reply));
    this.began.catch((error) => this.#fail(error as LongwireError));
    session.writers.add(this);
  }

  /** Adds a text. The promise says when the server has it; one need not wait for it. */
  append(text: string): Promise<void> {
    if (this.#error) return quiet(Promise.reject(this.#error));
    if (this.#end) return quiet(Promise.reject(tableError("stream_ended", this.channel)));
    if (this.#held.length + text.length > this.#session.commands.limits.bytes) {
      return quiet(Promise.reject(clientError("queue_full", "too much of the stream would wait")));
    }
    this.#held += text;
    return this.#settled();
  }

  /** Ends it: all is said. */
  finish(): Promise<void> {
    return this.#close({ end: "finished" });
  }

  /** Ends it: the rest could not be produced, and why. */
  fail(reason?: string): Promise<void> {
    return this.#close(reason ? { end: "failed", reason: reason.slice(0, REASON_MAX).replace(HALF, "") } : { end: "failed" });
  }

  /** Ends it because someone asked. */
  stop(): Promise<void> {
    return this.#close({ end: "cancelled" });
  }

  /**
   * Appends all that `source` gives, and ends the stream: finished; cancelled, if someone asks; failed, if the source does. The source
   * is not asked for more than can be sent.
   */
  async pipe(source: AsyncIterable<string> | Iterable<string>): Promise<void> {
    try {
      for await (const text of source) {
        if (this.signal.aborted) break;
        const said = this.append(text);
        if (this.#unanswered >= AHEAD || !this.#session.commands.max) await said;
      }
    } catch (thrown) {
      if (!this.signal.aborted && !this.#error) {
        await this.fail(thrown instanceof Error ? thrown.message : String(thrown));
        throw thrown;
      }
    }
    if (this.#error) throw this.#error;
    await (this.signal.aborted ? this.stop() : this.finish());
  }

  /** There is a line again. @internal */
  up(): void {
    this.#flush();
  }

  /** Someone wishes that a stream stops, perhaps this. @internal */
  wished({ channel, stream }: Message): void {
    if (channel === this.channel && stream === this.#stream) this.#cancelled();
  }

  #begun({ offset, lease }: Message): number {
    this.#stream = offset as number;
    this.#keepAlive = this.#options.keepAlive ?? ((lease ?? 30) * 1_000) / 3;
    this.#stayAlive();
    this.#flush();
    return this.#stream;
  }

  #close(end: { end: StreamEnd; reason?: string }): Promise<void> {
    if (this.#error) return quiet(Promise.reject(this.#error));
    if (this.#end) return quiet(Promise.reject(tableError("stream_ended", this.channel)));
    this.#end = end;
    return this.#settled();
  }

  /** When what is held now is with the server. */
  #settled(): Promise<void> {
    const promise = new Promise<void>((resolve, reject) => this.#waiting.push({ resolve, reject }));
    // What is added in one go, goes in one piece.
    if (!this.#flushing) {
      this.#flushing = true;
      queueMicrotask(() => {
        this.#flushing = false;
        this.#flush();
      });
    }
    return quiet(promise);
  }

  /** Says what is held, if there is a line to say it on. */
  #flush(): void {
    const { max } = this.#session.commands;
    if (this.#stream === undefined || !max || this.#error || !this.#waiting.length) return;
    this.#stayAlive();
    const most = Math.max(256, Math.floor((max - BESIDE_TEXT) / JSON_MAX));
    let said = Promise.resolve();
    let rest = this.#held;
    while (rest.length > most) {
      const text = rest.slice(0, most).replace(HALF, "");
      said = this.#say(text);
      rest = rest.slice(text.length);
    }
    // Half a character waits for its other half, as long as there can be one.
    this.#held = this.#end ? "" : (HALF.exec(rest)?.[0] ?? "");
    const text = rest.slice(0, rest.length - this.#held.length);
    if (text || this.#end) said = this.#say(text, this.#end);
    const waiting = this.#waiting.splice(0);
    said.then(
      () => waiting.forEach(({ resolve }) => resolve()),
      (error) => waiting.forEach(({ reject }) => reject(error as LongwireError)),
    );
    if (this.#end) this.#over();
  }

  #say(text: string, end?: { end: StreamEnd; reason?: string }): Promise<void> {
    const data = wellFormed(text);
    const at = this.#length;
    this.#length += byteLength(data);
    this.#unanswered += 1;
    const command = { type: "append", channel: this.channel, stream: this.#stream, data: data || undefined, at, ...end };
    const said = this.#session.commands.say(command, true, (reply) => this.#answered(reply));
    said.catch((error) => this.#fail(error as LongwireError)).finally(() => (this.#unanswered -= 1));
    return said;
  }

  #answered(reply: Message): void {
    if (reply.cancel) this.#cancelled();
  }

  #cancelled(): void {
    if (this.#end || this.signal.aborted) return;
    this.#abort.abort(new LongwireError({ name: "cancelled", message: "someone has asked that the stream stops", channel: this.channel }));
    call(this.#options.onCancel);
  }

  #stayAlive(): void {
    this.#stopKeepAlive();
    this.#stopKeepAlive = this.#session.environment.after(this.#keepAlive, () => {
      const command = { type: "append", channel: this.channel, stream: this.#stream };
      this.#session.commands
        .say(command, false, (reply) => this.#answered(reply))
        .catch((error: LongwireError) => {
          if (error.name !== "offline") this.#fail(error);
        });
      this.#stayAlive();
    });
  }

  #over(): void {
    this.#stopKeepAlive();
    this.#session.writers.delete(this);
  }

  /** It cannot go on: what came later would not fit where the stream is. */
  #fail(error: LongwireError): void {
    if (this.#error) return;
    this.#error = error;
    this.#over();
    for (const { reject } of this.#waiting.splice(0)) reject(error);
    this.#abort.abort(error);
  }
}
