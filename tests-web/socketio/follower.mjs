// A stock socket.io-client behind a proxy that breaks its lines, and somebody who publishes numbers meanwhile: what came, what did
// not, and what came twice.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";
import { Proxy } from "./proxy.mjs";
import { within } from "./wire.mjs";

const SOON = 10_000;
const UNAWARE_MS = 2000;

/** The ways in which a client may be connected. */
export const WAYS = [
  { name: "polling", transports: ["polling"] },
  { name: "websocket", transports: ["websocket"] },
  { name: "upgrade", transports: ["polling", "websocket"] },
];

/** The arguments of the next `event`. */
const heard = (socket, event, what = event) =>
  within(SOON, new Promise((resolve) => socket.once(event, (...args) => resolve(args))), what);

/** Publishes to rooms over a line that nobody breaks. */
export class Publisher {
  #marks = 0;

  static async open(server) {
    const publisher = new Publisher();
    publisher.socket = io(server.http, { transports: ["websocket"], forceNew: true });
    await heard(publisher.socket, "connect");
    return publisher;
  }

  publish(room, message) {
    this.socket.emit("pub", room, message);
  }

  /** Until the server has taken what was published: an echo behind it has come back. */
  async taken() {
    const mark = `taken ${(this.#marks += 1)}`;
    const back = new Promise((resolve) => {
      const listen = (message) => message === mark && resolve(this.socket.off("m", listen));
      this.socket.on("m", listen);
    });
    this.socket.emit("echo", mark);
    await within(SOON, back, "an echo");
  }

  close() {
    this.socket.close();
  }
}

/** A client that follows a room and is cut off. */
export class Follower {
  /** The numbers that came, in their order. */
  numbers = [];
  /** What came that is no number of the room. */
  others = [];
  /** For each return after a cut: whether the client says that it was recovered. */
  recoveries = [];
  /** How many cuts it had to be told of. */
  unaware = 0;
  /** The last number that was published. */
  last = 0;

  /** Connected, in no room. `publisher` is who publishes for it. */
  static async open(server, publisher, { transports }) {
    const follower = new Follower();
    follower.publisher = publisher;
    follower.proxy = await Proxy.open(server);
    follower.socket = io(follower.proxy.http, {
      transports,
      forceNew: true,
      reconnectionDelay: 20,
      randomizationFactor: 0,
      reconnectionDelayMax: 20,
    });
    follower.socket.on("m", (message) => follower.#take(message));
    await heard(follower.socket, "connect");
    follower.room = follower.socket.id;
    await follower.settled(transports.at(-1));
    return follower;
  }

  /** Until it is on the transport that it should end up with. */
  async settled(wanted) {
    const { engine } = this.socket.io;
    if (engine.transport.name !== wanted) await heard(engine, "upgrade", "the upgrade");
  }

  /** Joins a room, which is from now on the one whose numbers are counted. */
  async join(room) {
    this.room = room;
    const joined = heard(this.socket, "joined");
    this.socket.emit("join", room);
    // Where recovery is on the client sees the position behind the argument as well.
    assert.equal((await joined)[0], "");
  }

  /** Publishes the next `count` numbers to its room, by `wrap` if they are to be more than numbers. */
  publish(count, wrap = (number) => number) {
    for (let i = 0; i < count; i++) this.publisher.publish(this.room, wrap((this.last += 1)));
  }

  /**
   * Breaks its line by `how` ("cut", "cutUnnoticed" or "cutTorn") and waits until it knows. A stock client that is hit at one moment
   * of its upgrade learns of it by the missing heartbeat only; here it is told what that would tell it, and sooner.
   */
  async lose(how = "cut") {
    const left = this.socket.connected ? heard(this.socket, "disconnect", "the loss") : undefined;
    this.proxy[how]();
    if (how === "cutTorn") this.publish(1);
    const { engine } = this.socket.io;
    const late = setTimeout(() => {
      this.proxy.cut();
      this.unaware += 1;
      engine._onClose("ping timeout");
    }, UNAWARE_MS);
    await left;
    clearTimeout(late);
  }

  /** Lets it come back. Where it was not recovered it joins its room again. */
  async comeBack() {
    const back = heard(this.socket, "connect", "the way back");
    this.proxy.up();
    await back;
    this.recoveries.push(this.socket.recovered);
    if (!this.socket.recovered) await this.join(this.room);
  }

  /** Until the last number has come, or it is clear that it does not. */
  async caughtUp() {
    await this.publisher.taken();
    const deadline = performance.now() + (this.recoveries.every(Boolean) ? SOON : 1000);
    while (this.numbers.at(-1) !== this.last && performance.now() < deadline) await sleep(5);
  }

  /** Until the server knows of a request that waits there, if this is a client that asks over and over. */
  async polling() {
    if (this.socket.io.engine.transport.name !== "polling") return;
    while (!this.proxy.asked) await sleep(1);
    await this.publisher.taken();
  }

  /** What happened, in figures. */
  get report() {
    const distinct = new Set(this.numbers);
    return {
      cuts: this.recoveries.length,
      recovered: this.recoveries.filter(Boolean).length,
      published: this.last,
      lost: this.last - distinct.size,
      repeated: this.numbers.length - distinct.size,
      disordered: this.numbers.filter((number, i) => i > 0 && number < this.numbers[i - 1]).length,
    };
  }

  close() {
    this.socket.close();
    this.proxy.close();
  }

  #take(message) {
    const number = Buffer.isBuffer(message?.bytes) ? message.bytes.readUInt32BE() : message;
    if (typeof number === "number") this.numbers.push(number);
    else this.others.push(message);
  }
}
