// Five ways to receive one channel, each as small as it can be: polling, long polling, an event stream, a WebSocket with the native
// protocol, and Socket.IO (over a WebSocket, without its client).
//
// Each keeps its place in the channel and continues there when it comes back. `net` is what they share: { channel, down (nothing gets
// through), headBytes(path) (the size of a request's head), received(line, publication), changed(line), refused(text) }.

import { answerBytes, eventBytes, frameBytes, STREAM_HEAD_BYTES, SWITCHING_BYTES, UPGRADE_BYTES } from "./compare-size.js";
import { lineAddress } from "./line.js";

/**
 * A way to receive. `state` is "stopped", "connecting", "open" or "lost". A kind of line has `open()`, `close()` (at once, and nothing of it is
 * heard any more), `forget()` (its place) and `pause(attempt)` (how long it waits before it tries again).
 */
class Line {
  state = "stopped";
  requests = 0;
  /** Bytes in both directions. */
  bytes = 0;
  #attempt = 0;
  #timer;

  constructor(net) {
    this.net = net;
  }

  /** From the present on. */
  start() {
    this.forget();
    this.#attempt = 0;
    this.#become("connecting");
    this.#try();
  }

  stop() {
    clearTimeout(this.#timer);
    this.close();
    this.#become("stopped");
  }

  /** As if the network had gone. */
  cut() {
    if (this.state === "stopped") return;
    this.close();
    this.lost();
  }

  opened() {
    this.#attempt = 0;
    this.#become("open");
  }

  lost() {
    this.#become("lost");
    this.later(this.pause(this.#attempt++), () => this.#try());
  }

  later(ms, act) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(act, ms);
  }

  /** Counts a request for `path`, and what is beside its head. */
  request(path, more = 0) {
    this.requests += 1;
    this.bytes += this.net.headBytes(path) + more;
  }

  #try() {
    if (this.net.down) this.lost();
    else this.open();
  }

  #become(state) {
    this.state = state;
    this.net.changed(this);
  }
}

/** Asks again and again, `every` so many milliseconds; the server waits up to `wait` seconds until there is something to answer with. */
class Polls extends Line {
  #every;
  #wait;
  #since = null;
  #asked = null;

  constructor(net, { every, wait }) {
    super(net);
    this.#every = every;
    this.#wait = wait;
  }

  async open() {
    const asked = new AbortController();
    this.#asked = asked;
    const since = this.#since === null ? "" : `&since=${encodeURIComponent(this.#since)}`;
    const path = `/v1/poll?channel=${this.net.channel}&wait=${this.#wait}${since}`;
    this.request(path);
    let answer;
    try {
      const response = await fetch(path, { signal: asked.signal, cache: "no-store" });
      const body = await response.text();
      this.bytes += answerBytes(response, body);
      if (!response.ok) throw new Error(body);
      answer = JSON.parse(body);
    } catch {
      if (!asked.signal.aborted) this.lost();
      return;
    }
    if (asked.signal.aborted) return;
    this.opened();
    this.#since = answer.since;
    for (const message of answer.messages) this.net.received(this, message);
    this.later(this.#every, () => this.open());
  }

  close() {
    this.#asked?.abort();
  }

  forget() {
    this.#since = null;
  }

  pause() {
    return Math.max(this.#every, 1000);
  }
}

/** Server-Sent Events, by the browser's own EventSource. */
class EventStream extends Line {
  #source = null;
  #since = "";

  open() {
    const since = this.#since === "" ? "" : `&since=${this.#since}`;
    const path = `/v1/events?channel=${this.net.channel}${since}`;
    const source = new EventSource(path);
    this.#source = source;
    source.onopen = () => {
      this.request(path);
      this.bytes += STREAM_HEAD_BYTES;
      this.opened();
    };
    // The browser would come back by itself, after the same time, but would not say when it tries.
    source.onerror = () => {
      this.close();
      this.lost();
    };
    for (const type of ["message", "connected", "subscribed", "missed", "gap", "close"]) {
      source.addEventListener(type, (event) => {
        this.bytes += eventBytes(event);
        this.#since = event.lastEventId;
        if (type === "message") this.net.received(this, JSON.parse(event.data));
      });
    }
  }

  close() {
    this.#source?.close();
  }

  forget() {
    this.#since = "";
  }

  // What the server asks browsers for (`retry:`).
  pause() {
    return 1000 * (1 + Math.random());
  }
}

/** What both kinds of line over a WebSocket share. They have `greet()` and `hear(text)`. */
class OverWebSocket extends Line {
  #socket = null;
  #path;

  constructor(net, path) {
    super(net);
    this.#path = path;
  }

  open() {
    const socket = new WebSocket(lineAddress(this.#path));
    this.#socket = socket;
    this.request(this.#path, UPGRADE_BYTES);
    socket.onopen = () => {
      this.bytes += SWITCHING_BYTES;
      this.greet();
    };
    socket.onmessage = ({ data }) => {
      this.bytes += frameBytes(data);
      this.hear(data);
    };
    socket.onclose = () => this.lost();
  }

  send(text) {
    this.bytes += frameBytes(text, true);
    this.#socket.send(text);
  }

  close() {
    if (!this.#socket) return;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
  }
}

/** The native protocol, in JSON: docs/protocol.md. */
class Native extends OverWebSocket {
  #session = null; // { session, key }
  #position = null; // { epoch, offset }

  constructor(net) {
    super(net, "/v1/ws");
  }

  greet() {
    const connect = { type: "connect", ...this.#session };
    const subscribe = { type: "subscribe", channel: this.net.channel, ...this.#position };
    this.send(`${JSON.stringify(connect)}\n${JSON.stringify(subscribe)}`);
  }

  hear(text) {
    for (const said of text.split("\n").filter(Boolean).map(JSON.parse)) {
      if (said.type === "connected") this.#session = { session: said.session, key: said.key };
      if (said.type === "error") this.net.refused(said.message);
      if (said.type === "subscribed") {
        this.#position = { epoch: said.epoch, offset: said.offset };
        this.opened();
      }
      if (said.type !== "publication") continue;
      if (this.#position && said.offset) this.#position.offset = said.offset;
      this.net.received(this, said);
    }
  }

  forget() {
    this.#position = null;
  }

  pause(attempt) {
    return Math.random() * Math.min(20_000, 500 * 2 ** attempt);
  }
}

/**
 * Socket.IO, protocol 5, as a stock client speaks it. A text frame is an Engine.IO packet: "0" open, "2" ping, "3" pong, "4" a message. The
 * message is a Socket.IO packet: "0" connect, "2" event, "3" ack. docs/socketio.md has the events.
 */
class SocketIo extends OverWebSocket {
  #pid = null; // by which the server knows who comes back
  #offset = null; // the last argument of the last event: how far we are
  #position = null; // the same, where the server has forgotten who we are

  constructor(net) {
    super(net, "/socket.io/?EIO=4&transport=websocket");
  }

  // The server speaks first.
  greet() {}

  hear(text) {
    const kind = text.slice(0, 2);
    const json = text.slice(kind.length).replace(/^\d+/, "");
    if (text === "2") this.send("3");
    else if (text[0] === "0") this.send(`40${JSON.stringify(this.#pid ? { pid: this.#pid, offset: this.#offset ?? undefined } : {})}`);
    else if (kind === "40") this.#connected(JSON.parse(json));
    else if (kind === "42") this.#event(...JSON.parse(json));
    else if (kind === "43") this.#subscribed(JSON.parse(json)[0]);
    else if (kind === "44") this.net.refused(JSON.parse(json).message);
  }

  #connected({ pid }) {
    const recovered = this.#pid !== null && pid === this.#pid;
    this.#pid = pid ?? null;
    if (recovered) this.opened();
    else this.send(`421${JSON.stringify(["subscribe", this.net.channel, this.#position ?? {}])}`);
  }

  #subscribed(reply) {
    if (reply.type === "error") return this.net.refused(reply.message);
    this.#position = { epoch: reply.epoch, offset: reply.offset };
    this.opened();
  }

  #event(name, push, offset) {
    if (typeof offset === "string") this.#offset = offset;
    if (name !== "publication") return;
    if (this.#position && push.offset) this.#position.offset = push.offset;
    this.net.received(this, push);
  }

  forget() {
    this.#pid = this.#offset = this.#position = null;
  }

  // As the stock client does it.
  pause(attempt) {
    return Math.min(5000, 1000 * 2 ** attempt * (0.5 + Math.random()));
  }
}

/** All of them, by the names under which the page shows them. */
export function linesOf(net) {
  return {
    poll: new Polls(net, { every: 1000, wait: 0 }),
    long: new Polls(net, { every: 0, wait: 25 }),
    sse: new EventStream(net),
    ws: new Native(net),
    sio: new SocketIo(net),
  };
}
