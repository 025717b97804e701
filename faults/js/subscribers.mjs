// What all subscribers in JavaScript have in common, in Node and in a page: they tell what happens to them.

/**
 * Starts `clients` subscribers, each with a line of its own on which it follows several channels, dealt as src/deal.rs does it. `follow`
 * starts one: it gets the `address` of the server (`ws://HOST:PORT`), its `channels` and its number, and returns what begins anew in
 * a channel, or in all. `report` gets what it says as lines of JSON, as src/ledger.rs reads them.
 */
export function subscribe(follow, { address, clients, deal }, report) {
  for (let client = 0; client < clients; client += 1) {
    const numbers = Array.from({ length: deal.follows }, (_, more) => (client + more) % deal.channels);
    const channels = numbers.map((number) => new Channel(number, (type, more) => report(JSON.stringify({ client, channel: number, type, ...more }))));
    const renew = follow({ address, client, channels });
    let left = deal.renewals;
    const later = () => {
      if (left-- > 0) setTimeout(() => (renew(channels[client % channels.length]), later()), (deal.within * Math.random() * 2) / (deal.renewals + 1));
    };
    later();
  }
}

/** A channel that is followed, and what is told of it. */
class Channel {
  #tell;
  #keys = new Map();

  constructor(number, tell) {
    this.name = `${number % 2 ? "keyed" : "fault"}:${number}`;
    this.#tell = tell;
  }

  /** It has begun, perhaps anew. */
  subscribed() {
    this.#keys.clear();
    this.#tell("subscribed");
  }

  recovered() {
    this.#tell("recovered");
  }

  missed(reason) {
    this.#keys.clear();
    this.#tell("missed", { reason });
  }

  ended(reason) {
    this.#tell("ended", { reason: String(reason) });
  }

  /** Nobody publishes anything but numbers: what is none is reported as such, and counted as wrong. */
  publication(message) {
    const number = numberOf(message);
    this.#tell("publication", { number });
    if (message.key === undefined) return;
    if (message.removed) this.#keys.delete(message.key);
    else this.#keys.set(message.key, number);
    this.keys(this.#keys);
  }

  /** Some of its keys. */
  state({ entries }) {
    for (const entry of entries) this.#keys.set(entry.key, numberOf(entry));
    this.keys(this.#keys);
  }

  /** All that is known of its keys, by the number that has set them. */
  keys(numbers) {
    let sum = 0;
    for (const [key, number] of numbers) sum += number * Number(key.slice(1));
    this.#tell("keys", { count: numbers.size, sum });
  }
}

export const numberOf = ({ data, event }) => (/^\d+$/.test(event ?? data) ? Number(event ?? data) : null);

/** Where what is not a WebSocket is to be found. */
export const overHttp = (address) => address.replace(/^ws/, "http");

/** All that was published. */
export const ALL = 1_000_000;

/** Milliseconds: those of the Rust clients. */
export const WAITS = { first: 50, longest: 1000, answer: 5000 };
