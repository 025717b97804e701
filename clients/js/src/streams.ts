import type { Commands } from "./commands.js";
import { publication, type Message, type Publication, type StreamEnd } from "./protocol.js";
import { byteLength, withoutBytes } from "./text.js";

/** A publication that grows: the text that a language model writes, say. The same object is given each time it has grown. */
export class TextStream {
  /** Where it is. */
  readonly channel: string;
  /** The offset of its beginning, which identifies it. */
  readonly id: number;
  /** All its text so far. */
  text = "";
  /** Bytes of UTF-8 so far. */
  length = 0;
  /** How it ended; not there while it goes on. */
  end?: StreamEnd;
  /** Why it failed. */
  reason?: string;
  /** Some of its text could not be had. */
  partial = false;
  /** Its beginning: event, tags, who and when. Not there if that could not be had. */
  publication?: Publication<string>;
  readonly #commands: Commands;

  /** @internal */
  constructor(channel: string, id: number, commands: Commands) {
    this.channel = channel;
    this.id = id;
    this.#commands = commands;
  }

  /** Asks its producer to stop. It goes on until the producer ends it. */
  cancel(): Promise<void> {
    return this.#commands.say({ type: "cancel", channel: this.channel, stream: this.id }, true);
  }
}

/** The streams of a channel that go on. @internal */
export class Streams {
  readonly #channel: string;
  readonly #commands: Commands;
  readonly #grown: (stream: TextStream, added: string | undefined) => void;
  readonly #streams = new Map<number, TextStream>();
  /** Streams that were asked for as a whole, and the pieces that have come since. */
  readonly #asked = new Map<number, Message[]>();

  constructor(channel: string, commands: Commands, grown: (stream: TextStream, added: string | undefined) => void) {
    this.#channel = channel;
    this.#commands = commands;
    this.#grown = grown;
  }

  /** A stream as a whole: its beginning, or all that was missed in one. */
  whole(whole: Publication<string>): void {
    const { stream } = whole;
    if (!stream) return;
    const known = this.#streams.get(stream.began);
    const text = whole.data ?? "";
    if (known && stream.length < known.length) return;
    const now = known ?? this.#begin(stream.began);
    const added = text.startsWith(now.text) ? text.slice(now.text.length) : undefined;
    Object.assign(now, { text, length: stream.length, partial: false, publication: whole });
    if (!known || added !== "" || stream.end) this.#tell(now, added, stream.end, stream.reason);
  }

  /** The next piece of one. */
  piece(piece: Message): void {
    const id = piece.stream as number;
    const asked = this.#asked.get(id);
    const stream = this.#streams.get(id);
    if (asked) asked.push(piece);
    else if (!stream || (piece.at as number) > stream.length) this.#ask(id, [piece]);
    else this.#add(stream, piece);
  }

  /** What came after an offset was missed, and perhaps pieces with it: those of streams that have ended do not show otherwise. */
  missed(after: number): void {
    if (!this.#streams.size) return;
    const look = (whole: Publication<string>): boolean => {
      if (this.#streams.has(whole.stream?.began ?? 0)) this.whole(whole);
      return false;
    };
    this.#search(after, look, () => {});
  }

  /** The channel has lost its past: its numbers mean nothing any more. */
  forget(): void {
    for (const stream of this.#streams.values()) stream.partial = true;
    this.#streams.clear();
    this.#asked.clear();
  }

  /** Fetches a stream as a whole, then goes on with the pieces that have come meanwhile. In the history it stands where its newest piece does. */
  #ask(id: number, pieces: Message[]): void {
    this.#asked.set(id, pieces);
    let found = false;
    const look = (whole: Publication<string>): boolean => {
      found = whole.stream?.began === id;
      if (found) this.whole(whole);
      return found;
    };
    this.#search((pieces[0]?.offset as number) - 1, look, () => {
      if (this.#asked.get(id) !== pieces) return;
      this.#asked.delete(id);
      if (!found) this.#begin(id).partial = true;
      for (const piece of pieces) {
        const stream = this.#streams.get(id);
        if (stream) this.#add(stream, piece);
      }
    });
  }

  /** Goes through the history after an offset, page by page, until `look` has seen what it wants; `done` either way. */
  #search(after: number, look: (whole: Publication<string>) => boolean, done: () => void): void {
    const read = (page: Message): void => {
      const whole = (page.publications as Message[]).map((raw) => publication<string>(raw, this.#channel));
      const last = whole.at(-1)?.offset;
      if (whole.some(look) || !page.more || last === undefined) done();
      else this.#search(last, look, done);
    };
    this.#commands.say({ type: "history", channel: this.#channel, after }, true, read).catch(done);
  }

  #begin(id: number): TextStream {
    let stream = this.#streams.get(id);
    if (!stream) this.#streams.set(id, (stream = new TextStream(this.#channel, id, this.#commands)));
    return stream;
  }

  /** Adds what a piece has that the stream has not. */
  #add(stream: TextStream, piece: Message): void {
    const at = piece.at as number;
    if (at > stream.length) Object.assign(stream, { partial: true, length: at });
    const added = withoutBytes((piece.data as string | undefined) ?? "", stream.length - at);
    stream.text += added;
    stream.length += byteLength(added);
    if (added || piece.end) this.#tell(stream, added, piece.end as StreamEnd | undefined, piece.reason as string | undefined);
  }

  #tell(stream: TextStream, added: string | undefined, end: StreamEnd | undefined, reason: string | undefined): void {
    if (end) {
      stream.end = end;
      if (reason !== undefined) stream.reason = reason;
      this.#streams.delete(stream.id);
    }
    this.#grown(stream, added);
  }
}
