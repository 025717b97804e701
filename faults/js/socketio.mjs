// Subscribers that know nothing of Longwire: stock Socket.IO clients, which subscribe once and rely on connection state recovery.
import { ALL, WAITS, overHttp } from "./subscribers.mjs";

/** In turn: polling, WebSocket, and polling that is upgraded each time that the client comes back. */
const TRANSPORTS = [["polling"], ["websocket"], ["polling", "websocket"]];

export const socketIo =
  (io) =>
  ({ address, client, channels }) => {
    const named = new Map(channels.map((channel) => [channel.name, channel]));
    const socket = io(overHttp(address), {
      forceNew: true,
      transports: TRANSPORTS[client % TRANSPORTS.length],
      reconnectionDelay: WAITS.first,
      reconnectionDelayMax: WAITS.longest,
      timeout: WAITS.answer,
    });
    /** Those whose subscription is not acknowledged yet: what comes of them is of one before. */
    const asked = new Set();
    const ask = (channel) => {
      asked.add(channel);
      // With something that tells this asking from another.
      const own = (channel.asking = {});
      socket.emit("subscribe", channel.name, { last: ALL, state: true }, (reply) => {
        if (channel.asking !== own) return;
        asked.delete(channel);
        if (reply.type === "subscribed") channel.subscribed();
        else channel.ended(JSON.stringify(reply));
      });
    };
    const anew = (channel) => {
      socket.emit("unsubscribe", channel.name, () => {});
      ask(channel);
    };
    const ended = (reason) => channels.forEach((channel) => channel.ended(reason));
    let first = true;
    socket.on("connect", () => {
      if (!first && socket.recovered) {
        for (const channel of channels) {
          // Nobody knows whether it was heard.
          if (asked.has(channel)) anew(channel);
          else channel.recovered();
        }
        return;
      }
      // What it missed is lost, but it goes on, so that it is seen whether that happens again.
      for (const channel of channels) {
        if (!first) channel.missed("not recovered");
        ask(channel);
      }
      first = false;
    });
    const on = (name, heard) =>
      socket.on(name, (message) => {
        const channel = named.get(message.channel);
        if (channel && !asked.has(channel)) heard(channel, message);
      });
    on("publication", (channel, message) => channel.publication(message));
    on("state", (channel, message) => channel.state(message));
    on("gap", (channel) => channel.missed("gap"));
    for (const name of ["unsubscribed", "refused"]) on(name, (channel, message) => channel.ended(JSON.stringify(message)));
    // An active socket comes back by itself.
    socket.on("disconnect", (reason) => socket.active || ended(reason));
    socket.on("connect_error", (error) => socket.active || ended(String(error)));
    return (channel) => {
      // While it is away, all is begun anew or goes on when it is back.
      if (socket.connected) anew(channel);
    };
  };
