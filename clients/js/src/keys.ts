import { jitter } from "./environment.js";
import type { LongwireError } from "./errors.js";
import { publication, type Message, type Publication } from "./protocol.js";
import type { Session } from "./session.js";

/** The keys of a channel and their values, kept as the server has them. @internal */
export class Keys<T> {
  entries: Map<string, Publication<T>> = new Map();
  readonly #channel: string;
  readonly #session: Session;
  readonly #changed: (keys: string[]) => void;
  /** What has come of a snapshot so far. */
  #snapshot: Map<string, Publication<T>> | undefined;
  /** Not all keys have come yet. */
  #due = true;
  /** What has changed since the keys were asked for anew. */
  #since: Publication<T>[] | undefined;
  #failures = 0;

  constructor(channel: string, session: Session, changed: (keys: string[]) => void) {
    this.#channel = channel;
    this.#session = session;
    this.#changed = changed;
  }

  /** A part of the snapshot that comes on subscribing. */
  part({ entries, done }: Message): void {
    this.#snapshot ??= new Map();
    this.#read(entries as Message[], this.#snapshot);
    if (done) this.#replace(this.#snapshot);
  }

  /** On subscribing: after which key the rest is to come, if not all have. */
  get after(): string | undefined {
    return this.#due ? ([...(this.#snapshot?.keys() ?? [])].at(-1) ?? "") : undefined;
  }

  /** A new subscription, to a channel that has keys or not. One that goes on gets those that are still due. */
  begin(recovered: boolean, has: boolean): void {
    // They come by themselves.
    this.#since = undefined;
    if (recovered && has) return;
    this.#snapshot = undefined;
    this.#due = has;
  }

  /** A publication, perhaps of a key. */
  change(change: Publication<T>): void {
    const { key } = change;
    // Those without an offset are for the moment only, and set nothing.
    if (key === undefined || change.offset === undefined) return;
    // A snapshot may know more than what has come.
    if ((this.entries.get(key)?.offset ?? 0) >= change.offset) return;
    this.#since?.push(change);
    apply(this.entries, change);
    this.#changed([key]);
  }

  /** Something was missed: asks for all keys, page by page, over any number of lines. */
  refetch(): void {
    const since: Publication<T>[] = (this.#since = []);
    this.#due = true;
    this.#fetch(since).catch((error: LongwireError) => {
      if (this.#since !== since) return;
      this.#since = undefined;
      const { environment, options } = this.#session;
      const again = (): void => {
        if (this.#due && !this.#since) this.refetch();
      };
      if (error.retry) environment.after(jitter(environment, options.backoff, this.#failures++), again);
    });
  }

  /** It has ended: nothing is due any more. */
  end(): void {
    this.#due = false;
    this.#since = undefined;
  }

  async #fetch(since: Publication<T>[]): Promise<void> {
    const entries = new Map<string, Publication<T>>();
    let head: number | undefined;
    let after: string | undefined;
    for (let more = true; more; ) {
      const page: Message = await this.#session.commands.say({ type: "state", channel: this.#channel, after }, true, (reply) => reply);
      // Another snapshot or a second asking has made this one old.
      if (this.#since !== since) return;
      this.#read(page.entries as Message[], entries);
      head ??= page.head as number;
      after = (page.entries as Message[]).at(-1)?.key as string | undefined;
      more = page.more === true && after !== undefined;
    }
    for (const change of since) {
      const known = entries.get(change.key as string)?.offset ?? head ?? 0;
      if ((change.offset as number) > known) apply(entries, change);
    }
    this.#replace(entries);
  }

  #read(from: Message[], into: Map<string, Publication<T>>): void {
    for (const raw of from) into.set(raw.key as string, publication<T>(raw, this.#channel));
  }

  #replace(entries: Map<string, Publication<T>>): void {
    const keys = new Set([...this.entries.keys(), ...entries.keys()]);
    this.entries = entries;
    this.#snapshot = undefined;
    this.#failures = 0;
    this.end();
    this.#changed([...keys]);
  }
}

function apply<T>(entries: Map<string, Publication<T>>, change: Publication<T>): void {
  if (change.removed) entries.delete(change.key as string);
  else entries.set(change.key as string, change);
}
