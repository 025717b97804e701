// What the tests are master of: time, chance, the network's and the page's events, and a server that says what it is told to.
import { once } from "node:events";
import { WebSocket, WebSocketServer } from "ws";
import { Longwire } from "../../dist/longwire.js";

/** A clock that stands still until it is advanced. */
export class Clock {
  time = 1_000_000;
  /** What chance gives: 0.5 unless said. */
  chance = 0.5;
  window = new EventTarget();
  document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  #timers = new Set();

  environment = {
    now: () => this.time,
    random: () => this.chance,
    after: (ms, call) => {
      const timer = { at: this.time + ms, call };
      this.#timers.add(timer);
      return () => this.#timers.delete(timer);
    },
    window: this.window,
    document: this.document,
  };

  /** Lets time pass, and does what falls into it, in its order. */
  advance(ms) {
    const end = this.time + ms;
    for (;;) {
      const [next] = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (!next) break;
      this.#timers.delete(next);
      this.time = Math.max(this.time, next.at);
      next.call();
    }
    this.time = end;
  }

  /** How many timers wait. */
  get waiting() {
    return this.#timers.size;
  }
}

/** Values that come now and then, for whoever asks first. */
class Mailbox {
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

/** One line, seen from the server. */
export class Peer {
  #socket;
  #messages = new Mailbox();
  #commands = [];
  closed;

  constructor(socket, request) {
    this.#socket = socket;
    this.protocol = socket.protocol;
    this.url = request.url;
    socket.on("message", (data) => this.#messages.put(String(data)));
    this.closed = once(socket, "close").then(([code, reason]) => ({ code, reason: String(reason) }));
  }

  /** The next WebSocket message, as its commands. */
  async receive() {
    return (await this.#messages.take()).split("\n").map((line) => JSON.parse(line));
  }

  /** The next command, however they were joined. */
  async command(type) {
    if (!this.#commands.length) this.#commands = await this.receive();
    const command = this.#commands.shift();
    if (type && command.type !== type) throw new Error(`${type} was expected, ${JSON.stringify(command)} came`);
    return command;
  }

  /** Says all of it in one WebSocket message. */
  send(...messages) {
    this.raw(messages.map((message) => JSON.stringify(message)).join("\n"));
  }

  raw(data) {
    this.#socket.send(data);
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
    this.send({ type: "subscribed", id, channel, epoch: "e1", offset: 0, head: 0, options: ["history", "publish"], ...more });
    return { channel, ...rest };
  }

  close(code, reason) {
    this.#socket.close(code, reason);
  }

  /** Without a word, as when a cable is cut. */
  cut() {
    this.#socket.terminate();
  }
}

/** A server of its own, a clock, and clients that know both; `t` sees that all ends. */
export async function world(t) {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  const peers = new Mailbox();
  server.on("connection", (socket, request) => peers.put(new Peer(socket, request)));
  const clock = new Clock();
  const lines = [];
  t.after(async () => {
    for (const line of lines) line.close();
    for (const socket of server.clients) socket.terminate();
    await new Promise((resolve) => server.close(resolve));
  });
  const url = `http://127.0.0.1:${server.address().port}`;
  return {
    url,
    clock,
    /** The next line that is opened. */
    peer: () => peers.take(),
    client(options = {}) {
      const line = new Longwire(url, { WebSocket, ...options, environment: { ...clock.environment, ...options.environment } });
      lines.push(line);
      return line;
    },
  };
}

/** The next time that the line is in this state. */
export function state(line, wanted) {
  return new Promise((resolve) => {
    const stop = line.on("state", (now) => {
      if (now.state !== wanted) return;
      stop();
      resolve(now);
    });
  });
}

/** The next failure that is reported. */
export function failure(line) {
  return new Promise((resolve) => {
    const stop = line.on("error", (error) => {
      stop();
      resolve(error);
    });
  });
}

/** A client that is connected, and its peer. */
export async function connected(t, options, greeting) {
  const all = await world(t);
  const line = all.client(options);
  const peer = await all.peer();
  const open = state(line, "open");
  const connect = await peer.greet(greeting);
  await open;
  return { ...all, line, first: peer, connect };
}

/** A handler that keeps what it is given, to be looked at or waited for. */
export function calls() {
  const mailbox = new Mailbox();
  const handler = (...values) => {
    handler.all.push(values);
    mailbox.put(values);
  };
  handler.all = [];
  /** The next call that nobody has waited for. */
  handler.next = () => mailbox.take();
  return handler;
}

/** Lets everything that was said before be dealt with by the client: an answer comes after it. */
export async function settled(line, peer) {
  const answered = line.presence("fence");
  const { id } = await peer.command("presence");
  peer.send({ type: "presence", id, channel: "fence", members: [], sessions: 0, users: 0, more: false });
  await answered;
}
