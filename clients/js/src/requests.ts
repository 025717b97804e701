import type { Command, Commands } from "./commands.js";
import {
  publication,
  type HistoryPage,
  type Message,
  type PresencePage,
  type Publication,
  type Published,
  type StatePage,
} from "./protocol.js";
import { toBase64 } from "./text.js";

/** What goes with a publication. All of it is optional. */
export interface PublishOptions {
  /** What kind it is, up to 255 bytes. */
  event?: string;
  /** In a channel with state: the key that is set, up to 255 bytes. */
  key?: string;
  /** The key is removed: then there is no data. */
  remove?: boolean;
  /** Texts beside the data: at most 16, of at most 255 bytes each. */
  tags?: Record<string, string>;
  /** An idempotency key of up to 64 bytes; a random one unless said. */
  once?: string;
  /** With `once`: that this was said before, and how many milliseconds ago for the first time. What this client says again by itself need not be told. */
  age?: number;
  /** For those who are there now: not in the history, and not kept for later if there is no line. */
  ephemeral?: boolean;
  /** `false`: not to this session itself. */
  echo?: boolean;
}

/** How to look at what was. */
export interface HistoryOptions {
  /** Only what comes after this offset, */
  after?: number;
  /** of this epoch. */
  epoch?: string;
  /** Only what comes before this offset; the page is then the one nearest to it. */
  before?: number;
  /** At most so many, 100 at most. */
  limit?: number;
}

/** How to go through a list. */
export interface PageOptions {
  /** At most so many, 1,000 at most. */
  limit?: number;
  /** Continue after this one: a session of presence, a key of state. */
  after?: string;
}

/** What can be asked of a channel, subscribed or not. */
export class Requests {
  readonly #commands: Commands;

  constructor(commands: Commands) {
    this.#commands = commands;
  }

  publish(channel: string, data: unknown, options: PublishOptions = {}): Promise<Published> {
    return this.send(channel, data, options, ({ epoch, offset, repeated }) => ({
      channel,
      ...(offset === undefined ? {} : { epoch, offset }),
      repeated: repeated === true,
    }));
  }

  /** Publishes; `read` makes of the reply what the promise gives. */
  send<T>(channel: string, data: unknown, options: PublishOptions & { stream?: true }, read: (reply: Message) => T): Promise<T> {
    const { ephemeral, once = ephemeral ? undefined : random() } = options;
    const said = data instanceof Uint8Array ? { bytes: toBase64(data) } : { data };
    return this.#commands.say({ type: "publish", channel, ...said, ...options, once }, !ephemeral, read);
  }

  history<T>(channel: string, options: HistoryOptions = {}): Promise<HistoryPage<T>> {
    return this.#page("history", channel, options, ({ epoch, head, publications, more }) => ({
      channel,
      epoch,
      head,
      publications: all<T>(publications, channel),
      more: more === true,
    }));
  }

  presence(channel: string, options: PageOptions = {}): Promise<PresencePage> {
    return this.#page("presence", channel, options, ({ members, sessions, users, more }) => ({
      channel,
      members,
      sessions,
      users,
      more: more === true,
    }));
  }

  state<T>(channel: string, options: PageOptions = {}): Promise<StatePage<T>> {
    return this.#page("state", channel, options, ({ epoch, head, entries, more }) => ({
      channel,
      epoch,
      head,
      entries: all<T>(entries, channel),
      more: more === true,
    }));
  }

  cancel(channel: string, stream: number): Promise<void> {
    return this.#commands.say({ type: "cancel", channel, stream }, true);
  }

  #page<T>(type: string, channel: string, options: object, read: (reply: Message) => T): Promise<T> {
    return this.#commands.say({ type, channel, ...options } as Command, true, read);
  }
}

function all<T>(raw: Message[], channel: string): Publication<T>[] {
  return raw.map((one) => publication<T>(one, channel));
}

/** 120 random bits as text. `randomUUID` is not there on pages without TLS. */
function random(): string {
  return toBase64(crypto.getRandomValues(new Uint8Array(15)));
}
