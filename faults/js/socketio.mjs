// Subscribers that know nothing of Longwire: stock Socket.IO clients, which subscribe once and rely on connection state recovery.
import { WAITS, overHttp, publication } from "./subscribers.mjs";

/** In turn: polling, WebSocket, and polling that is upgraded each time that the client comes back. */
const TRANSPORTS = [["polling"], ["websocket"], ["polling", "websocket"]];

export const socketIo =
  (io) =>
  ({ address, channel, client, tell }) => {
    const socket = io(overHttp(address), {
      forceNew: true,
      transports: TRANSPORTS[client % TRANSPORTS.length],
      reconnectionDelay: WAITS.first,
      reconnectionDelayMax: WAITS.longest,
      timeout: WAITS.answer,
    });
    const ended = (reason) => tell("ended", { reason });
    let first = true;
    socket.on("connect", () => {
      if (!first && socket.recovered) return tell("recovered");
      // What it missed is lost, but it goes on, so that it is seen whether that happens again.
      if (!first) tell("missed", { reason: "not recovered" });
      first = false;
      socket.emit("subscribe", channel, (reply) => {
        if (reply.type === "subscribed") tell("subscribed");
        else ended(JSON.stringify(reply));
      });
    });
    socket.on("publication", (message) => tell("publication", publication(message)));
    socket.on("gap", () => tell("missed", { reason: "gap" }));
    for (const name of ["unsubscribed", "refused"]) socket.on(name, (message) => ended(JSON.stringify(message)));
    // An active socket comes back by itself.
    socket.on("disconnect", (reason) => socket.active || ended(reason));
    socket.on("connect_error", (error) => socket.active || ended(String(error)));
  };
