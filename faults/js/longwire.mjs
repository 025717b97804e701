// Subscribers that are clients of clients/js, over whichever transports `options` names.
import { ALL, WAITS, numberOf } from "./subscribers.mjs";

export const longwire =
  (Longwire, options) =>
  ({ address, channels }) => {
    const line = new Longwire(address, { backoff: WAITS.first, backoffMax: WAITS.longest, timeout: WAITS.answer, ...options });
    line.on("state", ({ state, error }) => {
      if (state === "closed") for (const channel of channels) channel.ended(error);
    });
    const followed = new Map();
    const follow = (channel) => {
      const subscription = line.subscribe(channel.name, {
        last: ALL,
        // Its own keys are what is looked at.
        onPublication: ({ key, ...message }) => channel.publication(message),
        onState: (entries) => channel.keys(new Map([...entries].map(([key, entry]) => [key, numberOf(entry)]))),
        onSubscribed: ({ first }) => {
          if (first) channel.subscribed();
        },
        onRecovered: () => channel.recovered(),
        onMissed: ({ reason }) => channel.missed(reason),
        onError: (error) => {
          if (!error.retry) channel.ended(error);
        },
      });
      followed.set(channel, subscription);
    };
    for (const channel of channels) follow(channel);
    return (channel) => {
      followed.get(channel).unsubscribe();
      follow(channel);
    };
  };
