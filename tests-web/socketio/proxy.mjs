// A TCP proxy that breaks lines: the network between a stock client and the server.

import { once } from "node:events";
import { connect, createServer } from "node:net";

/** Listens on a port of its own and passes on what comes, until a test says otherwise. */
export class Proxy {
  #pairs = new Set();
  #left = new Set();
  #down = false;
  #torn = false;
  #held;

  /** A proxy to `server`, which has `host` and `port`. */
  static async open(server) {
    const proxy = new Proxy();
    proxy.server = server;
    proxy.listener = createServer((client) => proxy.#accept(client));
    proxy.listener.listen(0, "127.0.0.1");
    await once(proxy.listener, "listening");
    proxy.http = `http://127.0.0.1:${proxy.listener.address().port}`;
    return proxy;
  }

  /** Whether somebody has asked and has not been answered. */
  get asked() {
    return [...this.#pairs].some((pair) => pair.asked);
  }

  /** Breaks every line on both sides, and refuses new ones until `up`. */
  cut() {
    this.#down = true;
    for (const pair of this.#pairs) this.#break(pair);
  }

  /**
   * Breaks every line on the client's side only, and refuses new ones until `up`. The server's side stays open, and what it says
   * there is read and thrown away: the server does not notice, until `forget`.
   */
  cutUnnoticed() {
    this.#down = true;
    for (const { client, upstream } of this.#pairs) {
      this.#left.add(upstream);
      client.unpipe(upstream);
      upstream.removeAllListeners("data");
      upstream.resume();
      upstream.once("close", () => this.#left.delete(upstream));
      client.destroy();
    }
    this.#pairs.clear();
  }

  /** Breaks every line as soon as the server says something, in the middle of it. */
  cutTorn() {
    this.#torn = true;
  }

  /** Accepts lines again. */
  up() {
    this.#down = false;
    this.#torn = false;
  }

  /** From now on a line that is to become a WebSocket waits until `letUpgrade`. */
  holdUpgrades() {
    this.#held = [];
  }

  letUpgrade() {
    const held = this.#held;
    this.#held = undefined;
    for (const ask of held) ask();
  }

  /** Breaks what `cutUnnoticed` left open: now the server notices. */
  forget() {
    for (const upstream of this.#left) upstream.destroy();
  }

  /** Ends all. */
  close() {
    this.cut();
    this.forget();
    this.listener.close();
  }

  #accept(client) {
    client.on("error", () => {}); // A close follows.
    if (this.#down) return client.resetAndDestroy();
    const upstream = connect({ host: this.server.host, port: this.server.port, noDelay: true });
    const pair = { client, upstream, asked: false };
    this.#pairs.add(pair);
    client.setNoDelay(true);
    upstream.on("error", () => {});
    upstream.on("data", (chunk) => this.#answer(pair, chunk));
    upstream.on("end", () => client.end());
    client.on("drain", () => upstream.resume());
    client.on("close", () => this.#pairs.delete(pair) && upstream.destroy());
    upstream.on("close", () => this.#pairs.delete(pair) && client.destroy());
    client.once("data", (first) => {
      client.pause();
      const ask = () => this.#ask(pair, first);
      if (this.#held && /^upgrade: *websocket/im.test(first.toString("latin1"))) this.#held.push(ask);
      else ask();
    });
  }

  #ask(pair, first) {
    pair.asked = true;
    pair.upstream.write(first);
    pair.client.on("data", () => (pair.asked = true));
    pair.client.pipe(pair.upstream);
  }

  #answer(pair, chunk) {
    pair.asked = false;
    if (!this.#torn) {
      if (!pair.client.write(chunk)) pair.upstream.pause();
      return;
    }
    this.#torn = false;
    this.#down = true;
    pair.upstream.removeAllListeners("data");
    pair.client.end(chunk.subarray(0, chunk.length >> 1), () => this.cut());
  }

  #break(pair) {
    this.#pairs.delete(pair);
    pair.client.destroy();
    pair.upstream.destroy();
  }
}
