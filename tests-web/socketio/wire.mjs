// Engine.IO by hand: requests and frames as a client would write them, so that a test can also write them wrong.

import assert from "node:assert/strict";
import { Agent, request as httpRequest } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import WebSocket from "ws";

/** What separates the packets of a payload in revision 4. */
export const RS = "\x1e";

// Connections are kept: an answer that is framed wrong spoils the request behind it.
const AGENT = new Agent({ keepAlive: true, maxSockets: Infinity });

/** One HTTP request. The answer: {status, headers, body, text}; rejects if the connection breaks. */
export function http(url, { method = "GET", headers = {}, body, signal } = {}) {
  const length = body === undefined ? {} : { "content-length": Buffer.byteLength(body) };
  return new Promise((resolve, reject) => {
    const request = httpRequest(url, { method, headers: { ...length, ...headers }, agent: AGENT, signal }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const all = Buffer.concat(chunks);
        resolve({ status: response.statusCode, headers: response.headers, body: all, text: all.toString() });
      });
    });
    request.on("error", reject);
    request.end(body);
  });
}

/** A session over polling, one request at a time as the test says. */
export class Polling {
  /** Shakes hands at `path` of `server`. */
  static async open(server, path = "/engine.io/", { eio = 4, query = "" } = {}) {
    const base = `${server.http}${path}?EIO=${eio}&transport=polling${query}`;
    const response = await http(base);
    assert.equal(response.status, 200, response.text);
    const session = new Polling();
    session.openedAt = performance.now();
    session.opening = response;
    const text = eio === 3 ? response.text.replace(/^\d+:/, "") : response.text;
    assert.equal(text[0], "0", "the first packet is OPEN");
    session.handshake = JSON.parse(eio === 3 ? text.slice(1, text.indexOf("}") + 1) : text.slice(1).split(RS)[0]);
    session.url = `${base}&sid=${session.handshake.sid}`;
    session.ws = session.url.replace(/^http/, "ws").replace("transport=polling", "transport=websocket");
    return session;
  }

  /** GET: what the server has for the client. */
  poll(options) {
    return http(this.url, options);
  }

  /** The packets of the next answer to a GET, which has to be a good one. */
  async packets() {
    const response = await this.poll();
    assert.equal(response.status, 200, response.text);
    return response.text.split(RS);
  }

  /** POST of a payload. */
  post(body, options = {}) {
    return http(this.url, { method: "POST", body, headers: { "content-type": "text/plain;charset=UTF-8" }, ...options });
  }

  /** POST of what the server has to take. */
  async send(...packets) {
    const response = await this.post(packets.join(RS));
    assert.deepEqual([response.status, response.text], [200, "ok"]);
  }

  /** The session is gone: a poll gets 400. */
  async assertClosed() {
    assert.equal((await this.poll()).status, 400);
  }
}

/** A WebSocket whose frames wait in a queue, so that none is missed between two awaits. */
export class Line {
  #frames = [];
  #waiting = [];
  #ended;

  /** Opens it, and rejects if the server refuses. */
  static async open(url, options) {
    const line = new Line(url, options);
    await line.opened;
    return line;
  }

  /** A session of its own over WebSocket. */
  static async session(server, path = "/engine.io/", { eio = 4, query = "" } = {}) {
    const line = await Line.open(`${server.ws}${path}?EIO=${eio}&transport=websocket${query}`);
    const open = await line.next();
    line.openedAt = performance.now();
    assert.equal(open[0], "0", "the first packet is OPEN");
    line.handshake = JSON.parse(open.slice(1));
    return line;
  }

  constructor(url, options) {
    this.socket = new WebSocket(url, { perMessageDeflate: false, ...options });
    this.opened = new Promise((resolve, reject) => {
      this.socket.once("open", resolve);
      this.socket.once("error", reject);
    });
    this.opened.catch(() => {}); // Who waits for `closed` only is not interested.
    this.socket.on("error", () => {}); // A close follows.
    this.closed = new Promise((resolve) => this.socket.once("close", (code) => resolve({ code, at: performance.now() })));
    this.closed.then(({ code }) => {
      this.#ended = new Error(`the WebSocket was closed with ${code}`);
      for (const { reject } of this.#waiting.splice(0)) reject(this.#ended);
    });
    this.socket.on("message", (data, isBinary) => {
      const frame = isBinary ? data : data.toString();
      const waiting = this.#waiting.shift();
      if (waiting) waiting.resolve(frame);
      else this.#frames.push(frame);
    });
  }

  /** The next frame: a string or a Buffer. Rejects once the line is closed and nothing is left. */
  next() {
    if (this.#frames.length) return Promise.resolve(this.#frames.shift());
    if (this.#ended) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  send(...frames) {
    for (const frame of frames) this.socket.send(frame);
  }

  close() {
    this.socket.close();
    return this.closed;
  }
}

/** What becomes of a WebSocket that the server should not take: it rejects, or is closed before it carries anything. */
export async function refused(url) {
  const line = new Line(url);
  const said = line.next().then(
    (frame) => frame,
    () => null,
  );
  await line.closed;
  assert.equal(await said, null, "nothing was sent on it");
}

/**
 * A session that answers heartbeats by itself and gives messages: over either transport it looks the same.
 * Messages are strings, or Buffers.
 */
export class Session {
  #messages = [];
  #waiting = [];
  #ended = false;
  #sending = Promise.resolve();

  /** `transport`: "polling" or "websocket". */
  static async open(server, transport, path = "/socket.io/") {
    const session = new Session();
    session.asked = performance.now();
    session.transport = transport;
    session.closed = new Promise((resolve) => (session.close = resolve));
    session.closed.then(() => {
      session.#ended = true;
      for (const { reject } of session.#waiting.splice(0)) reject(new Error("the session is closed"));
    });
    if (transport === "polling") {
      session.line = await Polling.open(server, path);
      session.#poll();
    } else {
      session.line = await Line.session(server, path);
      session.line.closed.then(session.close);
      session.#read();
    }
    return session;
  }

  /** Sends messages, in one payload where there are payloads. */
  send(...messages) {
    const binary = (bytes) => (this.transport === "polling" ? `b${bytes.toString("base64")}` : bytes);
    return this.raw(...messages.map((message) => (typeof message === "string" ? `4${message}` : binary(message))));
  }

  /** Sends packets as they are; one POST at a time. An answer other than "ok" means that the session is over. */
  raw(...packets) {
    if (this.transport === "websocket") {
      this.line.send(...packets);
      return Promise.resolve();
    }
    this.#sending = this.#sending
      .then(() => this.line.post(packets.join(RS)))
      .then(
        ({ status }) => status === 200 || this.close(),
        () => this.close(),
      );
    return this.#sending;
  }

  /** The next message. Rejects when the session is closed and nothing is left. */
  next() {
    if (this.#messages.length) return Promise.resolve(this.#messages.shift());
    if (this.#ended) return Promise.reject(new Error("the session is closed"));
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** How many messages have come that nobody asked for. */
  get unread() {
    return this.#messages.length;
  }

  /** Ends it from this side. */
  async end() {
    if (this.transport === "websocket") this.line.socket.terminate();
    else await this.raw("1");
    this.close();
  }

  async #poll() {
    while (!this.#ended) {
      const answer = await this.line.poll().catch(() => ({ status: 0 }));
      if (answer.status !== 200) return this.close();
      for (const packet of answer.text.split(RS)) this.#packet(packet);
    }
  }

  async #read() {
    while (!this.#ended) this.#packet(await this.line.next().catch(() => "1"));
  }

  #packet(packet) {
    if (Buffer.isBuffer(packet)) return this.#message(packet);
    if (packet[0] === "b") return this.#message(Buffer.from(packet.slice(1), "base64"));
    if (packet[0] === "4") return this.#message(packet.slice(1));
    if (packet === "2") this.raw("3");
    if (packet === "1") this.close();
  }

  #message(message) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting.resolve(message);
    else this.#messages.push(message);
  }
}

/** What `promise` gives, unless it takes longer than `limit` milliseconds. */
export function within(limit, promise, what = "an answer") {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come within ${limit} ms`)), limit);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Until `moment` on the clock of performance.now(). */
export function until(moment) {
  return sleep(Math.max(0, moment - performance.now()));
}

/** Until a request that was just written has reached the server: some later ones, on other connections, have been answered. */
export async function settle(server) {
  for (let i = 0; i < 3; i++) await http(`${server.http}/engine.io/?EIO=4&transport=none`);
}
