import { call, jitter, quiet } from "./environment.js";
import { tableError, type LongwireError } from "./errors.js";
import { Keys } from "./keys.js";
import {
  publication,
  type Ability,
  type HistoryPage,
  type Member,
  type Message,
  type Position,
  type PresencePage,
  type Publication,
  type Published,
  type StatePage,
  type Unrecovered,
} from "./protocol.js";
import type { HistoryOptions, PageOptions, PublishOptions } from "./requests.js";
import type { Session } from "./session.js";
import { Streams, type TextStream } from "./streams.js";

/** What a channel has answered to a subscription. */
export interface Subscribed {
  /** The channel that follows. */
  channel: string;
  /** What follows comes after this. */
  position: Position;
  /** The channel's newest offset: up to it one is catching up. */
  head: number;
  /** Whether everything since the position that was given follows; not there if none was given. */
  recovered?: boolean;
  /** Why not. */
  reason?: Unrecovered;
  /** What the channel can do for this session. */
  options: Ability[];
  /** Whether it is the first time for this subscription, rather than after a lost line. */
  first: boolean;
}

/** Something is gone: what it was that one had last, and where it goes on. */
export interface Missed {
  /** Where it was. */
  channel: string;
  /** `gap`: this client reads too slowly for this channel. The others: what the subscription answers. */
  reason: Unrecovered | "gap";
  /** What was got last. */
  since: Position;
  /** What follows comes after this. */
  position: Position;
}

/** How to subscribe, and what to be told. All of it is optional. */
export interface SubscribeOptions<T = unknown> {
  /** Continue after this position, from an earlier life of the program. */
  since?: Position;
  /** Or begin with the last so many publications, as far as the history has them. */
  last?: number;
  /** Keep the channel's keys in `entries`. Goes without saying with `onState`. */
  state?: boolean;
  /** Keep who is there in `members`. Goes without saying with `onMembers`. */
  members?: boolean;
  /** A publication, each once and in order. Without `onStream` also each stream, as a whole, once it has ended. */
  onPublication?(publication: Publication<T>): void;
  /**
   * A stream has begun, grown or ended. `stream.text` is all of it; `added` is what is new at its end, or `undefined` in the rare
   * case that the text is another than before.
   */
  onStream?(stream: TextStream, added: string | undefined): void;
  /** The channel's keys are there, or some have changed: `changed` says which. */
  onState?(entries: ReadonlyMap<string, Publication<T>>, changed: string[]): void;
  /** Who is there is known, or has changed. By session. */
  onMembers?(members: ReadonlyMap<string, Member>): void;
  /** Somebody has come, where the channel tells. */
  onJoin?(member: Member): void;
  /** Somebody has gone, where the channel tells. */
  onLeave?(member: Member): void;
  /** The channel follows: at first, and again after each lost line. */
  onSubscribed?(subscribed: Subscribed): void;
  /** The line was lost, and everything since then follows. */
  onRecovered?(subscribed: Subscribed): void;
  /** Something is gone and does not come any more: the moment to load afresh what one shows. */
  onMissed?(missed: Missed): void;
  /**
   * It was refused or ended by the server. If `error.retry`, it is attempted again by itself; if not, this is its end. Also if the line is
   * closed for good, by anybody but you: then it goes on only after `connect()`.
   */
  onError?(error: LongwireError): void;
}

/** A channel that is followed, over any number of lines, until `unsubscribe()`. */
export class Subscription<T = unknown> {
  /** Its name. */
  readonly channel: string;
  /** Resolves when the channel follows for the first time, is rejected if it never will, or if the line is closed before. */
  readonly ready: Promise<Subscribed>;
  readonly #session: Session;
  readonly #options: SubscribeOptions<T>;
  #status: "waiting" | "asked" | "active" | "ended" = "waiting";
  #position: Position | undefined;
  #members = new Map<string, Member>();
  readonly #keys: Keys<T> | undefined;
  readonly #streams: Streams;
  /** Whether it has ever followed. */
  #known = false;
  #failures = 0;
  #stopRetry = (): void => {};
  #resolve!: (subscribed: Subscribed) => void;
  #reject!: (error: LongwireError) => void;

  /** @internal */
  constructor(session: Session, channel: string, options: SubscribeOptions<T>) {
    this.#session = session;
    this.channel = channel;
    this.#options = options;
    this.#position = options.since && { ...options.since };
    this.ready = quiet(new Promise((resolve, reject) => ([this.#resolve, this.#reject] = [resolve, reject])));
    this.#streams = new Streams(channel, session.commands, (stream, added) => this.#grown(stream, added));
    if (options.state || options.onState) {
      this.#keys = new Keys<T>(channel, session, (changed) => this.#tell(options.onState, this.entries, changed));
    }
  }

  /** Whether the channel follows at the moment. */
  get active(): boolean {
    return this.#status === "active";
  }

  /** The place of what was got last: keep it to continue there after a restart of the program, as `since`. */
  get position(): Position | undefined {
    return this.#position && { ...this.#position };
  }

  /** The channel's keys and their values, if asked for. */
  get entries(): ReadonlyMap<string, Publication<T>> {
    return this.#keys?.entries ?? new Map();
  }

  /** Who is there, by session, if asked for. Empty where there are more than 1,000. */
  get members(): ReadonlyMap<string, Member> {
    return this.#members;
  }

  /** Ends it. No handler is called any more; the promise says when the server knows. */
  unsubscribe(): Promise<void> {
    if (this.#status === "ended") return Promise.resolve();
    const told = this.#status !== "waiting";
    this.#end(tableError("not_subscribed", this.channel));
    if (!told) return Promise.resolve();
    // If it fails the line is lost, and the subscription with it.
    return this.#session.commands.say({ type: "unsubscribe", channel: this.channel }, false).catch(() => {});
  }

  /** As `Longwire.publish`, in this channel. */
  publish(data?: unknown, options?: PublishOptions): Promise<Published> {
    return this.#session.requests.publish(this.channel, data, options);
  }

  /** As `Longwire.history`, of this channel. */
  history(options?: HistoryOptions): Promise<HistoryPage<T>> {
    return this.#session.requests.history(this.channel, options);
  }

  /** As `Longwire.presence`, of this channel. */
  presence(options?: PageOptions): Promise<PresencePage> {
    return this.#session.requests.presence(this.channel, options);
  }

  /** As `Longwire.state`, of this channel. */
  state(options?: PageOptions): Promise<StatePage<T>> {
    return this.#session.requests.state(this.channel, options);
  }

  /** There is a line. @internal */
  up(): void {
    if (this.#status !== "waiting") return;
    this.#stopRetry();
    this.#status = "asked";
    const { last, state, members, onState, onMembers } = this.#options;
    const command = {
      type: "subscribe",
      channel: this.channel,
      ...(this.#position ?? { last }),
      state: state || onState ? true : undefined,
      after: this.#position && this.#keys?.after,
      members: members || onMembers ? true : undefined,
    };
    this.#session.commands.say(command, false, (reply) => this.#subscribed(reply)).catch((error) => this.#refused(error as LongwireError));
  }

  /** There is none any more. @internal */
  down(): void {
    this.#stopRetry();
    this.#status = "waiting";
  }

  /** There will be none. @internal */
  closed(error: LongwireError): void {
    this.down();
    this.#reject(error);
    // Not before the line's state is told: whoever hears of it may want to open the line again.
    if (error.name !== "closed") queueMicrotask(() => this.#tell(this.#options.onError, error));
  }

  /** The server says something of the channel. @internal */
  pushed(message: Message): void {
    // What comes before the reply was meant for an earlier subscription to the same channel.
    if (this.#status !== "active") return;
    const { type, offset } = message;
    if (type === "gap") return this.#missed("gap", Math.max(offset as number, this.#place.offset));
    if (type === "publication" || type === "append") {
      if (offset !== undefined) {
        if (offset <= this.#place.offset) return;
        this.#place.offset = offset as number;
      }
      if (type === "append") this.#streams.piece(message);
      else this.#publication(publication<T>(message, this.channel));
    } else if (type === "join" || type === "leave") this.#moved(type, message.member as Member);
    else if (type === "state") this.#keys?.part(message);
    else if (type === "unsubscribed") this.#refused(tableError(message.reason, this.channel, undefined, undefined, message.code));
  }

  get #place(): Position {
    return this.#position as Position;
  }

  #subscribed(reply: Message): void {
    if (this.#status === "ended") return;
    const { channel, epoch, offset, head = offset, recovered, reason, options = [], members } = reply;
    const since = this.#position;
    const first = !this.#known;
    this.#known = true;
    this.#status = "active";
    this.#failures = 0;
    this.#position = { epoch, offset };
    this.#keys?.begin(recovered === true, (options as Ability[]).includes("state"));
    const subscribed: Subscribed = { channel: channel as string, position: { epoch, offset }, head, options, first };
    if (recovered !== undefined) subscribed.recovered = recovered as boolean;
    if (reason !== undefined) subscribed.reason = reason as string;
    this.#resolve(subscribed);
    this.#tell(this.#options.onSubscribed, subscribed);
    if (this.#options.members || this.#options.onMembers) {
      this.#members = new Map(((members as Member[] | undefined) ?? []).map((member) => [member.session, member]));
      this.#tell(this.#options.onMembers, this.members);
    }
    if (recovered === false && since) this.#missed(reason as string, offset as number, since);
    else if (recovered) this.#tell(this.#options.onRecovered, subscribed);
  }

  #missed(reason: string, offset: number, since: Position = this.#place): void {
    const position = { epoch: this.#place.epoch, offset };
    this.#position = { ...position };
    this.#tell(this.#options.onMissed, { channel: this.channel, reason, since: { ...since }, position });
    if (this.#status === "ended") return;
    if (since.epoch !== position.epoch) this.#streams.forget();
    else this.#streams.missed(since.offset);
    // Otherwise the keys come by themselves.
    if (reason === "gap") this.#keys?.refetch();
  }

  #publication(made: Publication<T>): void {
    if (made.stream) this.#streams.whole(made as Publication<string>);
    else this.#tell(this.#options.onPublication, made);
    this.#keys?.change(made);
  }

  #grown(stream: TextStream, added: string | undefined): void {
    const { onStream, onPublication } = this.#options;
    if (onStream) return this.#tell(onStream, stream, added);
    if (!stream.end) return;
    const { channel, id, text, length, end, reason, publication: began = { time: 0 } } = stream;
    const info = { began: id, length, end, ...(reason === undefined ? {} : { reason }) };
    this.#tell(onPublication, { offset: id, ...began, channel, data: text as T, stream: info });
  }

  #moved(type: "join" | "leave", member: Member): void {
    if (type === "join") this.#members.set(member.session, member);
    else this.#members.delete(member.session);
    this.#tell(type === "join" ? this.#options.onJoin : this.#options.onLeave, member);
    this.#tell(this.#options.onMembers, this.members);
  }

  /** It does not follow: tries again later if that may help. */
  #refused(error: LongwireError): void {
    // With the line it goes down, and with the next it comes up again.
    if (this.#status === "ended" || error.name === "offline" || error.name === "closed") return;
    if (!error.retry) this.#end(error);
    else {
      const { environment, options } = this.#session;
      this.#status = "waiting";
      this.#stopRetry = environment.after(jitter(environment, options.backoff, this.#failures++), () => this.up());
    }
    call(this.#options.onError, error);
  }

  /** Whatever is told, nothing is after `unsubscribe()`, which may come while something is. */
  #tell<A extends unknown[]>(handler: ((...values: A) => void) | undefined, ...values: A): void {
    if (this.#status !== "ended") call(handler, ...values);
  }

  #end(error: LongwireError): void {
    this.#status = "ended";
    this.#stopRetry();
    this.#keys?.end();
    this.#session.subscriptions.delete(this.channel);
    this.#reject(error);
  }
}
