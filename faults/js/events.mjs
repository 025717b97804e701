// Subscribers that know nothing of Longwire: event streams, which come back with `Last-Event-ID`, when the server has told them to.
import { ALL, overHttp } from "./subscribers.mjs";

export const eventStream =
  (EventSource) =>
  ({ address, channels }) => {
    const named = new Map(channels.map((channel) => [channel.name, channel]));
    let source;
    const follow = () => {
      source = new EventSource(`${overHttp(address)}/v1/events?channels=${[...named.keys()].join()}&last=${ALL}`);
      const own = source;
      const begun = new Set();
      const on = (name, heard) =>
        own.addEventListener(name, ({ data }) => {
          const message = JSON.parse(data);
          heard(named.get(message.channel), message);
        });
      on("subscribed", (channel, { recovered }) => {
        if (!begun.has(channel)) channel.subscribed();
        else if (recovered) channel.recovered();
        else channel.missed("begun afresh");
        begun.add(channel);
      });
      on("message", (channel, message) => channel.publication(message));
      on("state", (channel, message) => channel.state(message));
      on("missed", (channel, { reason }) => channel.missed(reason));
      on("gap", (channel) => channel.missed("gap"));
      for (const name of ["unsubscribed", "refused"]) on(name, (channel, message) => (channel ?? channels[0]).ended(JSON.stringify(message)));
      own.addEventListener("error", ({ code, message }) => {
        if (own === source && own.readyState === EventSource.CLOSED) for (const channel of channels) channel.ended(`${code}: ${message}`);
      });
    };
    follow();
    return () => {
      const before = source;
      follow();
      before.close();
    };
  };
