// Subscribers that know nothing of Longwire: event streams, which come back with `Last-Event-ID`, when the server has told them to.
import { overHttp, publication } from "./subscribers.mjs";

export const eventStream =
  (EventSource) =>
  ({ address, channel, tell }) => {
    const source = new EventSource(`${overHttp(address)}/v1/events?channel=${encodeURIComponent(channel)}`);
    const on = (name, heard) => source.addEventListener(name, ({ data }) => heard(JSON.parse(data)));
    let first = true;
    on("subscribed", ({ recovered }) => {
      if (first) tell("subscribed");
      else if (recovered) tell("recovered");
      else tell("missed", { reason: "begun afresh" });
      first = false;
    });
    on("message", (message) => tell("publication", publication(message)));
    on("missed", ({ reason }) => tell("missed", { reason }));
    on("gap", () => tell("missed", { reason: "gap" }));
    for (const name of ["unsubscribed", "refused"]) on(name, (message) => tell("ended", { reason: JSON.stringify(message) }));
    source.addEventListener("error", ({ code, message }) => {
      if (source.readyState === EventSource.CLOSED) tell("ended", { reason: `${code}: ${message}` });
    });
  };
