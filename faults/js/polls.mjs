// Subscribers that ask, again and again, what has happened since: `GET /v1/poll`, with nothing but `fetch`.
import { ALL, WAITS, overHttp } from "./subscribers.mjs";

export const polls = ({ address, channels }) => {
  const named = new Map(channels.map((channel) => [channel.name, channel]));
  let since;
  // What was asked before one begins anew is not looked at any more.
  let turn = 0;
  const poll = async () => {
    const own = turn;
    const url = new URL("/v1/poll", overHttp(address));
    url.search = new URLSearchParams({ channels: [...named.keys()].join(), wait: "5", ...(since === undefined ? { last: String(ALL) } : { since }) });
    const answer = await fetch(url, { signal: AbortSignal.timeout(5 * 1000 + WAITS.answer) });
    if (!answer.ok && answer.status !== 503) return channels[0].ended(`${answer.status}: ${await answer.text()}`);
    if (!answer.ok) throw new Error("a moment");
    const { since: now, messages } = await answer.json();
    if (own !== turn) return;
    if (since === undefined) for (const channel of channels) channel.subscribed();
    since = now;
    for (const message of messages) heard(named.get(message.channel), message);
  };
  const heard = (channel, message) => {
    if (message.type === "publication") channel.publication(message);
    else if (message.type === "state") channel.state(message);
    else if (message.type === "subscribed" && message.recovered === false) channel.missed(message.reason);
    else if (message.type === "gap") channel.missed("gap");
    else if (message.type !== "subscribed") channel.ended(JSON.stringify(message));
  };
  (async () => {
    for (let wait = WAITS.first; ; ) {
      try {
        await poll();
        wait = WAITS.first;
      } catch {
        await new Promise((done) => setTimeout(done, wait * Math.random()));
        wait = Math.min(2 * wait, WAITS.longest);
      }
    }
  })();
  return () => {
    turn += 1;
    since = undefined;
  };
};
