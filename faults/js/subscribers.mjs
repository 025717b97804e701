// What all subscribers in JavaScript have in common, in Node and in a page: they tell what happens to them.

/**
 * Starts `clients` subscribers, each with a line of its own, dealt to the channels as the other subscribers are. `follow` starts one: it
 * gets the `address` of the server (`ws://HOST:PORT`), its `channel`, its number, and `tell`, by which it says what it gets or is told.
 * `report` gets each of these as a line of JSON, as src/ledger.rs reads it.
 */
export function subscribe(follow, { address, clients, channels }, report) {
  for (let client = 0; client < clients; client += 1) {
    const tell = (type, more) => report(JSON.stringify({ client, type, ...more }));
    follow({ address, channel: `fault:${client % channels}`, client, tell });
  }
}

/** What a publication is reported as. Nobody publishes anything but numbers: what is none is reported as such, and counted as wrong. */
export const publication = ({ data }) => ({ number: /^\d+$/.test(data) ? Number(data) : null });

/** Where what is not a WebSocket is to be found. */
export const overHttp = (address) => address.replace(/^ws/, "http");

/** Milliseconds: those of the Rust clients. */
export const WAITS = { first: 50, longest: 1000, answer: 5000 };
