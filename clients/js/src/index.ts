/**
 * The client of Longwire.
 *
 * @module
 */
export { closes, errors } from "./codes.js";
export type { QueueLimits } from "./commands.js";
export type { Environment } from "./environment.js";
export { LongwireError, type ClientErrorName, type ServerErrorName } from "./errors.js";
export type { ConnectionState } from "./line.js";
export { Longwire, type LongwireOptions } from "./longwire.js";
export type {
  Ability,
  HistoryPage,
  Member,
  Position,
  PresencePage,
  Publication,
  Published,
  StatePage,
  StreamEnd,
  StreamInfo,
  Unrecovered,
} from "./protocol.js";
export type { HistoryOptions, PageOptions, PublishOptions } from "./requests.js";
export type { SessionEvents } from "./session.js";
export type { TextStream } from "./streams.js";
export type { Missed, SubscribeOptions, Subscribed, Subscription } from "./subscription.js";
export type { TokenSource } from "./token.js";
export type { Transport } from "./transport.js";
export type { WebSocketConstructor, WebSocketLike } from "./websocket.js";
export type { StreamOptions, StreamWriter } from "./writer.js";
