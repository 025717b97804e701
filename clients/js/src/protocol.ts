import { clientError } from "./errors.js";
import { fromBase64 } from "./text.js";

/** A place in a channel: which numbering, and which number. */
export interface Position {
  /** The numbering: it changes when the channel has lost its past. */
  epoch: string;
  /** The number; 0 before the first. */
  offset: number;
}

/** Who is in a channel, or has published something. */
export interface Member {
  /** The public id of the session. */
  session: string;
  /** Who the session's token says it is. */
  user?: string;
  /** What it says of itself. */
  info?: unknown;
}

/** How a stream ended. `lost`: its producer was not heard of for too long. */
export type StreamEnd = "finished" | "failed" | "cancelled" | "lost";

/** How far a stream was when its publication was told. */
export interface StreamInfo {
  /** The offset of its beginning, which identifies it. */
  began: number;
  /** Bytes of UTF-8 so far. */
  length: number;
  /** How it ended, if it has. */
  end?: StreamEnd;
  /** Why it failed. */
  reason?: string;
}

/** One message in a channel. */
export interface Publication<T = unknown> {
  /** Where it was published. */
  channel: string;
  /** Its place; none if it is ephemeral. */
  offset?: number;
  /** What is said. Not there if it is said in bytes, if nothing was said, or if it is the removal of a key. */
  data?: T;
  /** What is said, if it is bytes. */
  bytes?: Uint8Array;
  /** What kind it is. */
  event?: string;
  /** The key that it sets or removes. */
  key?: string;
  /** The key is gone. */
  removed?: boolean;
  /** Texts beside the data. */
  tags?: Record<string, string>;
  /** When it was published, in milliseconds since 1970. */
  time: number;
  /** Who published it; nobody if the server's API did. */
  from?: Member;
  /** It is a stream, and `data` all its text so far. */
  stream?: StreamInfo;
}

/** Where a publication went. */
export interface Published {
  /** The channel it went to. */
  channel: string;
  /** The epoch of its position; none if it was ephemeral. */
  epoch?: string;
  /** The offset of its position; none if it was ephemeral. */
  offset?: number;
  /** It had been published before, and was not again. */
  repeated: boolean;
}

/** A page of what was. */
export interface HistoryPage<T = unknown> {
  /** Whose it is. */
  channel: string;
  /** The numbering of the offsets. */
  epoch: string;
  /** The channel's newest offset. */
  head: number;
  /** From old to new. */
  publications: Publication<T>[];
  /** Whether there are more in the direction looked. */
  more: boolean;
}

/** A page of who is there. */
export interface PresencePage {
  /** Whose it is. */
  channel: string;
  /** In the order of their sessions. */
  members: Member[];
  /** Sessions in all. */
  sessions: number;
  /** Different users in all. */
  users: number;
  /** Whether there are more. */
  more: boolean;
}

/** A page of a channel's keys. */
export interface StatePage<T = unknown> {
  /** Whose it is. */
  channel: string;
  /** The numbering of the offsets. */
  epoch: string;
  /** The channel's newest offset. */
  head: number;
  /** Each with `key`, in the order of their keys. */
  entries: Publication<T>[];
  /** Whether there are more. */
  more: boolean;
}

/** What a channel can do for this session. */
export type Ability = "history" | "presence" | "joins" | "state" | "streams" | "publish" | (string & {});

/** Why a subscription did not continue where it had been. */
export type Unrecovered = "expired" | "epoch" | "off" | "ahead" | (string & {});

/** What the server said, before it is known to have all its members. */
export interface Message {
  type: string;
  id?: number;
  channel?: string;
  // Members differ with the type; `read` has checked those that the client counts on.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  [member: string]: any;
}

/** What members of which type the client counts on, by the type of message. `?` marks one that may be left out. */
const MEMBERS: Record<string, Record<string, string> | undefined> = {
  error: { code: "number", name: "string" },
  connected: { session: "string", key: "string", ping: "number", max: "number" },
  subscribed: { channel: "string", epoch: "string", offset: "number" },
  publication: { channel: "string", offset: "number?" },
  append: { channel: "string", offset: "number", stream: "number", at: "number" },
  gap: { channel: "string", offset: "number" },
  join: { channel: "string", member: "object" },
  leave: { channel: "string", member: "object" },
  state: { channel: "string", entries: "object" },
  history: { publications: "object" },
  presence: { members: "object" },
  // Of lines over HTTP, where there is no other end.
  close: { code: "number", reason: "string?" },
};

/**
 * The protocol messages of one WebSocket message.
 *
 * @throws LongwireError `bad_server_message` if it is not of this protocol.
 */
export function read(message: unknown): Message[] {
  if (typeof message !== "string") throw bad("a message that is not text", message);
  return message
    .split("\n")
    .filter((line) => line.trim())
    .map(readLine);
}

function readLine(line: string): Message {
  let message: Message;
  try {
    message = JSON.parse(line) as Message;
  } catch (cause) {
    throw bad("a line that is not JSON", line, cause);
  }
  if (typeof message?.type !== "string") throw bad("a message without a type", line);
  for (const [member, type] of Object.entries(MEMBERS[message.type] ?? {})) {
    const value: unknown = message[member];
    const right = type.endsWith("?") ? value === undefined || typeof value + "?" === type : typeof value === type && value !== null;
    if (!right) throw bad(`${message.type} with a wrong ${member}`, line);
  }
  return message;
}

function bad(what: string, text: unknown, cause?: unknown): Error {
  return clientError("bad_server_message", `the server sent ${what}: ${String(text).slice(0, 100)}`, cause);
}

/** A publication as the user gets it. @internal */
export function publication<T>(raw: Message, channel: string): Publication<T> {
  const { type: _, began, ...rest } = raw;
  const made = { ...rest, channel } as unknown as Publication<T>;
  if (raw.bytes !== undefined) made.bytes = fromBase64(raw.bytes as string);
  if (raw.stream) made.stream = { ...raw.stream, began: (raw.stream.began ?? began ?? raw.offset) as number };
  return made;
}
