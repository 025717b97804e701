import type { Wire, WireEvents } from "./transport.js";

/** As much of a WebSocket as the client uses: that of browsers and Node, or of the npm package `ws`. */
export interface WebSocketLike {
  /* eslint-disable @typescript-eslint/no-explicit-any */
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  /* eslint-enable @typescript-eslint/no-explicit-any */
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

/** What makes one. */
export type WebSocketConstructor = new (url: string, protocols: string) => WebSocketLike;

/** What a WebSocket says that was cut. */
const CUT = 1006;

/** A line over a WebSocket. Throws what its constructor throws. */
export function overWebSocket(url: string, WebSocket: WebSocketConstructor, events: WireEvents): Wire {
  const socket = new WebSocket(url, "longwire.v1.json");
  let detail = "";
  socket.onopen = () => events.opened();
  socket.onmessage = ({ data }: { data: unknown }) => events.heard(data);
  // Stays in place when the line is given up: `ws` throws what nobody hears.
  socket.onerror = ({ message }: { message?: string }) => {
    detail = message ?? "";
  };
  // Some that are not of a browser say no code.
  socket.onclose = ({ code, reason }: { code?: number; reason?: string }) => events.ended(code ?? CUT, reason || detail);
  return {
    send: (text) => socket.send(text),
    close: () => socket.close(1000),
  };
}
