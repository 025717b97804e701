// How the server's end of a line talks, whatever carries it.

/** Values that come now and then, for whoever asks first. */
export class Mailbox {
  #values = [];
  #takers = [];

  put(value) {
    const taker = this.#takers.shift();
    if (taker) taker(value);
    else this.#values.push(value);
  }

  take() {
    if (this.#values.length) return Promise.resolve(this.#values.shift());
    return new Promise((resolve) => this.#takers.push(resolve));
  }
}

/** The server's end of a line. What carries it has `raw(text)`, `close(code, reason)` and `cut()`, and puts what comes into `messages`. */
export class Talker {
  /** What the client has said, joined as it came. */
  messages = new Mailbox();
  #commands = [];

  /** What the client said next in one go, as its commands. */
  async receive() {
    return (await this.messages.take()).split("\n").map((line) => JSON.parse(line));
  }

  /** The next command, however they were joined. */
  async command(type) {
    if (!this.#commands.length) this.#commands = await this.receive();
    const command = this.#commands.shift();
    if (type && command.type !== type) throw new Error(`${type} was expected, ${JSON.stringify(command)} came`);
    return command;
  }

  /** Says all of it in one go. */
  send(...messages) {
    this.raw(messages.map((message) => JSON.stringify(message)).join("\n"));
  }

  /** Accepts the client: what it said. */
  async greet(more = {}) {
    const connect = await this.command("connect");
    this.send({ type: "connected", session: "s1", key: "k1", resumed: false, ping: 20, keep: 60, max: 65536, ...more });
    return connect;
  }

  /** Answers a subscription: what the client said. */
  async subscribed(more = {}) {
    const { id, channel, ...rest } = await this.command("subscribe");
    const options = ["history", ...(rest.state ? ["state"] : []), "publish"];
    this.send({ type: "subscribed", id, channel, epoch: "e1", offset: 0, head: 0, options, ...more });
    return { channel, ...rest };
  }
}
