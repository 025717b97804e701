import type { Commands } from "./commands.js";
import { quiet } from "./environment.js";
import { publication, type Message, type Publication } from "./protocol.js";

/** The keys of a channel and their values, kept as the server has them. @internal */
export class Keys<T> {
  entries: Map<string, Publication<T>> = new Map();
  readonly #channel: string;
  readonly #commands: Commands;
  readonly #changed: (keys: string[]) => void;
  /** What has come of a snapshot so far. */
  #snapshot: Map<string, Publication<T>> | undefined;
  /** A snapshot is to come, or its rest. */
  #due = false;
  /** What has changed since the keys were asked for anew. */
  #since: Publication<T>[] | undefined;

  constructor(channel: string, commands: Commands, changed: (keys: string[]) => void) {
    this.#channel = channel;
    this.#commands = commands;
    this.#changed = changed;
  }

  /** A part of the snapshot that comes on subscribing. */
  part({ entries, done }: Message): void {
    this.#snapshot ??= new Map();
    this.#read(entries as Message[], this.#snapshot);
    if (done) this.#replace(this.#snapshot);
  }

  /** A new subscription: what had come of a snapshot on another line is no part of this one's, and one that goes on gets none. */
  begin(recovered: boolean): void {
    this.#snapshot = undefined;
    if (!recovered) this.#due = true;
    else if (this.#due) quiet(this.refetch());
  }

  /** A publication, perhaps of a key. */
  change(change: Publication<T>): void {
    const { key } = change;
    // Those without an offset are for the moment only, and set nothing.
    if (key === undefined || change.offset === undefined) return;
    this.#since?.push(change);
    apply(this.entries, change);
    this.#changed([key]);
  }

  /** Something was missed: asks for all keys. */
  async refetch(): Promise<void> {
    const since: Publication<T>[] = (this.#since = []);
    const entries = new Map<string, Publication<T>>();
    let head: number | undefined;
    let after: string | undefined;
    for (let more = true; more; ) {
      const page: Message = await this.#commands.say({ type: "state", channel: this.#channel, after }, true, (reply) => reply);
      this.#read(page.entries as Message[], entries);
      head ??= page.head as number;
      after = (page.entries as Message[]).at(-1)?.key as string | undefined;
      more = page.more === true && after !== undefined;
    }
    // Another snapshot or a second asking has made this one old.
    if (this.#since !== since) return;
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
    this.#since = undefined;
    this.#due = false;
    this.#changed([...keys]);
  }
}

function apply<T>(entries: Map<string, Publication<T>>, change: Publication<T>): void {
  if (change.removed) entries.delete(change.key as string);
  else entries.set(change.key as string, change);
}
