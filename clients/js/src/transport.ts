import type { Environment } from "./environment.js";
import { overHttp } from "./http.js";
import { overWebSocket, type WebSocketConstructor } from "./websocket.js";

/**
 * A way to carry the messages of a line, from the best to what works nearly everywhere:
 * - `websocket`;
 * - `stream`: the server's messages come as one HTTP answer that does not end, ours go as HTTP requests;
 * - `poll`: the server's messages come as answers to requests that wait until there is something (long polling).
 */
export type Transport = "websocket" | "stream" | "poll";

/** Where the server is, and with what it is reached. */
export interface WireOptions {
  /** Of the WebSocket. */
  url: string;
  /** Of lines over HTTP; none if it is not known. */
  http: string | undefined;
  WebSocket: WebSocketConstructor | undefined;
  fetch: typeof fetch | undefined;
}

/** What carries one line. It ends once, and nothing of it is repeated: what comes next is another line. */
export interface Wire {
  /** Says one or more commands, after those said before. */
  send(text: string): void;
  /** The server has accepted us: it takes so many bytes at a time, and silence should be shorter than `quiet` milliseconds. */
  ready?(max: number, quiet: number): void;
  /** Lets go; nothing is told from here on. `tell`: the server may not know it yet. */
  close(tell: boolean): void;
}

/** What it tells. */
export interface WireEvents {
  /** Now `connect` can be said. */
  opened(): void;
  /** Something has come: messages, or only a sign of life. */
  heard(data?: unknown): void;
  /** It is over: with the close code of a WebSocket. */
  ended(code: number, reason: string): void;
}

/** Those of `wanted` that there can be here, in their order. */
export function usable(wanted: readonly Transport[], options: WireOptions): Transport[] {
  const { WebSocket, http, fetch } = options;
  return wanted.filter((transport) => (transport === "websocket" ? WebSocket : http && fetch));
}

/** Begins to open a wire. Throws what the constructor of the WebSocket throws. */
export function openWire(transport: Transport, options: WireOptions, environment: Environment, events: WireEvents): Wire {
  const { url, WebSocket, http, fetch } = options;
  if (transport === "websocket") return overWebSocket(url, WebSocket as WebSocketConstructor, events);
  return overHttp(transport === "stream", http as string, fetch as typeof globalThis.fetch, environment, events);
}
