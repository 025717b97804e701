// Subscribers that are clients of clients/js, over whichever transports `options` names.
import { WAITS, publication } from "./subscribers.mjs";

export const longwire =
  (Longwire, options) =>
  ({ address, channel, tell }) => {
    const line = new Longwire(address, { backoff: WAITS.first, backoffMax: WAITS.longest, timeout: WAITS.answer, ...options });
    line.on("state", ({ state, error }) => {
      if (state === "closed") tell("ended", { reason: String(error) });
    });
    line.subscribe(channel, {
      onPublication: (message) => tell("publication", publication(message)),
      onSubscribed: ({ first }) => {
        if (first) tell("subscribed");
      },
      onRecovered: () => tell("recovered"),
      onMissed: ({ reason }) => tell("missed", { reason }),
      onError: (error) => {
        if (!error.retry) tell("ended", { reason: String(error) });
      },
    });
  };
