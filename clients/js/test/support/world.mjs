// What the tests are master of: time, chance, the network's and the page's events, and a server that says what it is told to.
import { once } from "node:events";
import { createServer } from "node:http";
import { WebSocket, WebSocketServer } from "ws";
import { Longwire } from "../../dist/longwire.js";
import { HttpLines } from "./lines.mjs";
import { Mailbox, Talker } from "./talk.mjs";

/** A clock that stands still until it is advanced. */
export class Clock {
  time = 1_000_000;
  /** By how much the machine's clock was set. */
  set = 0;
  /** What chance gives: 0.5 unless said. */
  chance = 0.5;
  window = new EventTarget();
  document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  #timers = new Set();

  environment = {
    now: () => this.time + this.set,
    steady: () => this.time,
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

  /** When those that wait are due, the next first. */
  get times() {
    return [...this.#timers].map(({ at }) => at).sort((a, b) => a - b);
  }

  /** How many timers wait. */
  get waiting() {
    return this.#timers.size;
  }
}

/** One WebSocket, seen from the server. */
export class Peer extends Talker {
  transport = "websocket";
  #socket;
  closed;

  constructor(socket, request) {
    super();
    this.#socket = socket;
    this.protocol = socket.protocol;
    this.url = request.url;
    socket.on("message", (data) => this.messages.put(String(data)));
    this.closed = once(socket, "close").then(([code, reason]) => ({ code, reason: String(reason) }));
  }

  raw(data) {
    this.#socket.send(data);
  }

  close(code, reason) {
    this.#socket.close(code, reason);
  }

  /** Without a word, as when a cable is cut. */
  cut() {
    this.#socket.terminate();
  }
}

/**
 * A server of its own, a clock, and clients that know both; `t` sees that all ends. Clients use WebSockets unless they are told
 * otherwise: what else a network may let through is up to the test.
 */
export async function world(t) {
  const peers = new Mailbox();
  const attempts = new Mailbox();
  /** What becomes of new lines: `open`, `refuse` or `hang`, over HTTP also `page`. */
  const network = { websocket: "open", stream: "open", poll: "open" };
  const become = (transport) => {
    attempts.put(transport);
    return network[transport];
  };
  const http = new HttpLines(peers, become);
  const server = createServer((request, response) => {
    request.on("error", () => {});
    http.handle(request, response).catch((error) => {
      if (error.code !== "ECONNRESET") throw error;
    });
  });
  const sockets = new WebSocketServer({ noServer: true });
  const open = new Set();
  server.on("connection", (socket) => open.add(socket.once("close", () => open.delete(socket))));
  server.on("upgrade", (request, socket, head) => {
    const how = become("websocket");
    // A client that lets go in the middle is no fault of the test.
    socket.on("error", () => {});
    if (how === "refuse") socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    if (how === "open") sockets.handleUpgrade(request, socket, head, (made) => peers.put(new Peer(made, request)));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const clock = new Clock();
  const lines = [];
  t.after(async () => {
    for (const line of lines) line.close();
    for (const socket of open) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const url = `http://127.0.0.1:${server.address().port}`;
  return {
    url,
    clock,
    network,
    /** The transport of the next attempt to open a line. */
    attempt: () => attempts.take(),
    /** The next line that is opened. */
    peer: () => peers.take(),
    client(options = {}) {
      const environment = { ...clock.environment, ...options.environment };
      const line = new Longwire(url, { WebSocket, transports: ["websocket"], ...options, environment });
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
