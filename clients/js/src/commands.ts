import { quiet } from "./environment.js";
import { asError, clientError, LongwireError, tableError } from "./errors.js";
import type { Message } from "./protocol.js";
import { byteLength } from "./text.js";

/** How much may wait to be sent or answered. */
export interface QueueLimits {
  commands: number;
  bytes: number;
}

/** A command as the protocol has it, without `id`. */
export type Command = { type: string; channel?: string | undefined; age?: number | undefined } & Record<string, unknown>;

interface Pending {
  id: number;
  text: string;
  bytes: number;
  channel: string | undefined;
  /** Whether it is said again on the next line if this one ends before it is answered, and counts as waiting. */
  keep: boolean;
  /** Whether it publishes: only a key keeps it from being done twice. */
  once: boolean;
  /** How long before that it was first said, as the user has it, and when it was first on a line. */
  age: number;
  sent: number | undefined;
  answer(reply: Message): void;
  refuse(error: LongwireError): void;
}

/** Ids are from 1 to this. */
const LAST_ID = 4294967295;
/** A publication is said again for so many milliseconds, for servers that do not look at its age: those remember its key for longer. */
const REPLAY_MS = 240_000;
/** How long a publication becomes by its age. */
const AGE_BYTES = 24;

/**
 * What was said and is not answered yet, in its order.
 *
 * What is kept is said again, in the same order, when the line is back: reads can be, publications carry an idempotency key and their
 * age, by which the server knows whether it would still know them, and pieces of streams their place. The rest fails with the line.
 */
export class Commands {
  readonly limits: QueueLimits;
  readonly #send: (text: string) => void;
  readonly #report: (error: LongwireError) => void;
  readonly #pending = new Map<number, Pending>();
  #bytes = 0;
  #id = 0;
  /** What goes out together when the present microtask is over. */
  #batch: string[] = [];
  /** The longest message that the server takes; 0 while there is no line. */
  #max = 0;
  #closed: LongwireError | undefined;

  readonly #now: () => number;

  constructor(limits: QueueLimits, now: () => number, send: (text: string) => void, report: (error: LongwireError) => void) {
    this.limits = limits;
    this.#now = now;
    this.#send = send;
    this.#report = report;
  }

  /**
   * Says something. `read` makes of the reply what the promise gives; it is called before anything that the server said later is looked at.
   */
  say<T = void>(command: Command, keep: boolean, read: (reply: Message) => T = () => undefined as T): Promise<T> {
    return quiet(
      new Promise<T>((resolve, reject) => {
        const { type, channel, age = 0, ...members } = command;
        this.#id = (this.#id % LAST_ID) + 1;
        const id = this.#id;
        let text: string;
        try {
          text = JSON.stringify({ type, id, channel, ...members });
        } catch (cause) {
          throw tableError("bad_value", channel, `this is no JSON: ${String(cause)}`, cause);
        }
        const answer = (reply: Message): void => {
          try {
            resolve(read(reply));
          } catch (thrown) {
            reject(asError("bad_server_message", thrown));
            throw thrown;
          }
        };
        const once = command.once !== undefined;
        this.#add({ id, text, bytes: byteLength(text), channel, keep, once, age, sent: undefined, answer, refuse: reject });
      }),
    );
  }

  /** A line is there. Says what was kept, after `first`, all of it in as few messages as can be. */
  up(max: number, first: () => void): void {
    const kept = [...this.#pending.values()];
    this.#max = max;
    first();
    for (const pending of kept) {
      if (pending.bytes > max) this.#refuse(pending, tooLarge(pending, max));
      else if (this.#replayable(pending)) this.#put(pending);
      else this.#refuse(pending, tableError("maybe_published", pending.channel));
    }
  }

  /** Whether saying it again cannot publish it twice, as far as this side knows. */
  #replayable({ once, sent = Infinity, bytes }: Pending): boolean {
    return !once || sent === Infinity || (this.#now() - sent <= REPLAY_MS && bytes + AGE_BYTES <= this.#max);
  }

  /** The line is no more. */
  down(): void {
    this.#max = 0;
    this.#batch = [];
    for (const pending of [...this.#pending.values()]) {
      if (!pending.keep) this.#refuse(pending, offline());
    }
  }

  /** Nothing is said any more, nor was. */
  close(error: LongwireError): void {
    this.#closed = error;
    this.down();
    for (const pending of [...this.#pending.values()]) this.#refuse(pending, error);
  }

  /** Something may be said again. */
  reopen(): void {
    this.#closed = undefined;
  }

  /** The longest message that the server takes, in bytes; 0 while there is no line. */
  get max(): number {
    return this.#max;
  }

  /** Whether `reply` was one. */
  answer(reply: Message): boolean {
    const pending = this.#pending.get(reply.id ?? 0);
    if (!pending) return false;
    if (reply.type !== "error") {
      this.#remove(pending);
      pending.answer(reply);
      return true;
    }
    const error = errorOf(reply, pending.channel);
    this.#refuse(pending, error);
    this.#report(error);
    return true;
  }

  #add(pending: Pending): void {
    if (this.#closed) throw this.#closed;
    if (!this.#max && !pending.keep) throw offline();
    if (this.#max && pending.bytes > this.#max) throw tooLarge(pending, this.#max);
    if (pending.keep && (this.#pending.size >= this.limits.commands || this.#bytes + pending.bytes > this.limits.bytes)) {
      throw clientError("queue_full", `more than ${this.limits.commands} commands or ${this.limits.bytes} bytes would wait`);
    }
    this.#pending.set(pending.id, pending);
    this.#bytes += pending.bytes;
    if (this.#max) this.#put(pending);
  }

  #remove(pending: Pending): void {
    if (this.#pending.delete(pending.id)) this.#bytes -= pending.bytes;
  }

  #refuse(pending: Pending, error: LongwireError): void {
    this.#remove(pending);
    pending.refuse(error);
  }

  #put(pending: Pending): void {
    const now = this.#now();
    const age = Math.ceil(pending.age + now - (pending.sent ??= now));
    const text = pending.once && age ? `${pending.text.slice(0, -1)},"age":${age}}` : pending.text;
    if (this.#batch.push(text) === 1) queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    let [lines, size] = [[] as string[], 0];
    for (const text of this.#batch.splice(0)) {
      const bytes = byteLength(text);
      if (size && size + 1 + bytes > this.#max) {
        this.#send(lines.join("\n"));
        [lines, size] = [[], 0];
      }
      size += bytes + (lines.push(text) > 1 ? 1 : 0);
    }
    if (size) this.#send(lines.join("\n"));
  }
}

/** What an `error` says. */
export function errorOf(reply: Message, channel?: string): LongwireError {
  const { code, name, retry, message } = reply as unknown as { code: number; name: string; retry?: boolean; message?: string };
  return new LongwireError({ code, name, message: message ?? name, retry: retry === true, channel: reply.channel ?? channel });
}

function offline(): LongwireError {
  return clientError("offline", "there is no line at the moment, and this is not kept for later");
}

function tooLarge({ bytes, channel }: Pending, max: number): LongwireError {
  return tableError("too_large", channel, `${bytes} bytes are more than the ${max} that the server takes`);
}
