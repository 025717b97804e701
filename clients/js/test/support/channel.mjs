// A server with one session and one channel, which answers every line by itself.

/** What the channel has, and who gets it. */
export class Channel {
  /** All that was published, in its order. */
  log = [];
  /** How many lines have taken the session up. */
  taken = 0;
  #once = new Map();
  #line;
  #offset;

  /** Talks to a line until the next one takes its session. */
  async serve(peer) {
    for (;;) {
      const { type, id, ...rest } = await peer.command();
      if (type === "connect") this.#connect(peer, rest);
      // As a server would: what comes over a line that has been replaced is not heard.
      if (peer !== this.#line) continue;
      if (type === "subscribe") this.#subscribe(peer, id, rest);
      if (type === "publish") this.#publish(peer, id, rest);
      if (type === "ping") peer.send({ type: "pong" });
    }
  }

  /** Somebody else publishes. */
  add(data) {
    this.log.push(data);
    this.#deliver();
  }

  #connect(peer, { session }) {
    this.#line?.close(3500, "replaced");
    this.#line = peer;
    this.#offset = undefined;
    this.taken += session ? 1 : 0;
    peer.send({ type: "connected", session: "s1", key: "k1", resumed: session !== undefined, ping: 20, keep: 60, max: 2_000 });
  }

  #subscribe(peer, id, { channel, offset = 0 }) {
    this.#offset = offset;
    peer.send({ type: "subscribed", id, channel, epoch: "e1", offset, head: this.log.length, recovered: true, options: ["history"] });
    this.#deliver();
  }

  #publish(peer, id, { channel, data, once }) {
    const before = this.#once.get(once);
    if (!before) this.#once.set(once, this.log.push(data));
    peer.send({ type: "published", id, channel, epoch: "e1", offset: this.#once.get(once), ...(before && { repeated: true }) });
    this.#deliver();
  }

  #deliver() {
    while (this.#offset < this.log.length) {
      this.#line.send({ type: "publication", channel: "a", offset: ++this.#offset, time: 0, data: this.log[this.#offset - 1] });
    }
  }
}
