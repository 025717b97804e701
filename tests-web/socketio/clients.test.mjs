// Stock clients: socket.io-client 4.8, 3.1 and 2.5 (which speaks Engine.IO 3), and Python's python-socketio; each over polling, over
// WebSocket, and from the one to the other.
//
//   PYTHON  the Python that has tests-web/requirements.txt; that of `cargo xtask setup` by default

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { io as io4 } from "socket.io-client";
import io2 from "socket.io-client-2";
import { io as io3 } from "socket.io-client-3";
import { Proxy } from "./proxy.mjs";
import { Server } from "./server.mjs";
import { within } from "./wire.mjs";

const LIMIT = { timeout: 30_000 };
const SOON = 5000;
const BURST = 200;
const OWN_PYTHON = fileURLToPath(new URL("../../.cache/python/bin/python", import.meta.url));

const VERSIONS = [
  { name: "socket.io-client 4.8", major: 4, io: io4 },
  { name: "socket.io-client 3.1", major: 3, io: io3 },
  { name: "socket.io-client 2.5", major: 2, io: io2 },
];
const WAYS = [
  { name: "polling", transports: ["polling"] },
  { name: "websocket", transports: ["websocket"] },
  { name: "upgrade", transports: ["polling", "websocket"] },
];

let server;
let oldServer;
before(async () => {
  server = await Server.start("contract");
  oldServer = await Server.start("contract", "--eio3");
});
after(async () => {
  await server.kill();
  await oldServer.kill();
});

/** A test with each client over each way. `body` gets what makes sockets, and the version. */
function each(name, body, { majors = [4, 3, 2] } = {}) {
  for (const version of VERSIONS.filter(({ major }) => majors.includes(major))) {
    for (const way of WAYS) {
      test(`${name}: ${version.name}, ${way.name}`, LIMIT, async () => {
        const desk = new Desk(version, way);
        try {
          await body(desk, version);
        } finally {
          desk.close();
        }
      });
    }
  }
}

/** The sockets of one test. */
class Desk {
  #sockets = [];
  #proxies = [];

  constructor(version, way) {
    this.version = version;
    this.way = way;
    this.server = version.major === 2 ? oldServer : server;
  }

  /** A socket that is about to connect. */
  socket({ namespace = "", url = this.server.http, ...options } = {}) {
    const all = { transports: this.way.transports, forceNew: true, reconnectionDelay: 20, ...options };
    const socket = this.version.io(url + namespace, all);
    this.#sockets.push(socket);
    return socket;
  }

  /** A socket of another namespace on the line of this one. */
  beside({ io: manager }, namespace) {
    const socket = manager.socket(namespace);
    this.#sockets.push(socket);
    return socket;
  }

  /** A socket that is connected, and what the server said at once. */
  async connected(options) {
    const socket = this.socket(options);
    const auth = heard(socket, "auth");
    await heard(socket, "connect");
    assert.deepEqual(await auth, [options?.auth ?? {}]);
    return socket;
  }

  async proxy() {
    const proxy = await Proxy.open(this.server);
    this.#proxies.push(proxy);
    return proxy;
  }

  /** Until the socket is on the transport that it should end up with. */
  async settled(socket) {
    const { engine } = socket.io;
    const wanted = this.way.transports.at(-1);
    if (engine.transport.name !== wanted) await heard(engine, "upgrade");
    assert.equal(engine.transport.name, wanted);
  }

  close() {
    for (const socket of this.#sockets) socket.close();
    for (const proxy of this.#proxies) proxy.close();
  }
}

/** The arguments of the next event; unlike Node's `once`, an event called "error" is one like others. */
const heard = (emitter, event, what = event) => within(SOON, new Promise((resolve) => emitter.once(event, (...args) => resolve(args))), what);

/** What the server says to an event, as an array of arguments. */
const echoed = (socket, ...args) => {
  const back = heard(socket, "message-back");
  socket.emit("message", ...args);
  return back;
};
const acknowledged = (socket, ...args) =>
  within(SOON, new Promise((resolve) => socket.emit("message-with-ack", ...args, (...answer) => resolve(answer))));

each("connects, and has an id", async (desk, { major }) => {
  const auth = major > 2 ? { token: "geheim 你好", list: [1, { two: true }] } : undefined;
  const socket = await desk.connected({ auth });
  assert.equal(typeof socket.id, "string");
  assert.equal(socket.connected, true);
  await desk.settled(socket);
});

/** Arguments of every kind: text, numbers, nothing, deep ones, binary. */
const ARGUMENTS = [
  [],
  ["", "text", "héllo 你好 🦀 \u2028 \0"],
  [0, -1, 1.5, 1e300, 9007199254740991],
  [true, false, null],
  [[], {}, [[["deep"]]], { a: { b: { c: [1, "two", null] } } }],
  [Buffer.of(1, 2, 3, 255)],
  [Buffer.alloc(0)],
  ["before", Buffer.from("你好"), { inside: [Buffer.of(0), "x", { deeper: Buffer.alloc(20_000, 7) }] }],
  ["x".repeat(100_000), Buffer.alloc(100_000, 1)],
];

each("events come back with each kind of argument", async (desk, { major }) => {
  const socket = await desk.connected();
  for (const args of ARGUMENTS) assert.deepEqual(await echoed(socket, ...args), args);
  await desk.settled(socket);
  for (const args of ARGUMENTS) assert.deepEqual(await echoed(socket, ...args), args);
  const bytes = major === 2 ? Buffer.of(1, 2) : new Uint8Array([1, 2]); // The older one knows no arrays but Node's.
  assert.deepEqual(await echoed(socket, new Date(0), undefined, bytes), ["1970-01-01T00:00:00.000Z", null, Buffer.of(1, 2)]);
});

each("acknowledgements carry each kind of argument", async (desk) => {
  const socket = await desk.connected();
  for (const args of ARGUMENTS) assert.deepEqual(await acknowledged(socket, ...args), args);
  await desk.settled(socket);
  const all = await Promise.all(Array.from({ length: 50 }, (_, i) => acknowledged(socket, i, Buffer.of(i))));
  assert.deepEqual(all, Array.from({ length: 50 }, (_, i) => [i, Buffer.of(i)]));
});

each("namespaces share a line, and one that there isn't is refused", async (desk, { major }) => {
  const main = await desk.connected();
  const custom = desk.beside(main, "/custom");
  const auth = heard(custom, "auth");
  custom.connect();
  assert.deepEqual(await auth, [{}]);
  assert.equal(custom.io, main.io);
  const random = desk.beside(main, "/random");
  const refusal = heard(random, major === 2 ? "error" : "connect_error");
  random.connect();
  const [error] = await refusal;
  assert.equal(error.message, "Invalid namespace");
  custom.disconnect();
  assert.deepEqual(await echoed(main, "still"), ["still"]);
});

each("a socket can disconnect and connect again", async (desk) => {
  const socket = await desk.connected();
  await desk.settled(socket);
  const { id } = socket;
  const left = heard(socket, "disconnect");
  socket.disconnect();
  assert.equal((await left)[0], "io client disconnect");
  const again = heard(socket, "connect");
  socket.connect();
  await again;
  assert.notEqual(socket.id, id);
  assert.deepEqual(await echoed(socket, "again"), ["again"]);
});

each("a socket whose line is cut comes back by itself", async (desk) => {
  const proxy = await desk.proxy();
  const socket = await desk.connected({ url: proxy.http });
  await desk.settled(socket);
  for (let round = 0; round < 3; round++) {
    const { id } = socket;
    const left = heard(socket, "disconnect");
    const back = heard(socket, "connect", "the way back");
    proxy.cut();
    await left;
    proxy.up();
    await back;
    assert.notEqual(socket.id, id);
    assert.deepEqual(await echoed(socket, round), [round]);
  }
});

each("a socket stays through heartbeats", async (desk) => {
  const socket = await desk.connected();
  const { id } = socket;
  let losses = 0;
  socket.on("disconnect", () => (losses += 1));
  await new Promise((resolve) => setTimeout(resolve, 1500));
  assert.deepEqual(await echoed(socket, "here"), ["here"]);
  assert.deepEqual([socket.id, losses], [id, 0]);
});

each("a burst from the first moment comes back whole and in order", async (desk) => {
  const socket = desk.socket();
  const back = [];
  const whole = new Promise((resolve) => {
    socket.on("message-back", (number, bytes) => {
      assert.equal(bytes.readUInt16BE(), number);
      if (back.push(number) === BURST) resolve();
    });
  });
  const bytes = (number) => Buffer.of(number >> 8, number & 255);
  await heard(socket, "connect");
  for (let number = 0; number < BURST; number++) {
    socket.emit("message", number, bytes(number));
    if (number % 10 === 9) await new Promise((resolve) => setTimeout(resolve, 1)); // So that it lasts as long as an upgrade.
  }
  await within(SOON, whole, `the end of the burst (${back.length} of ${BURST} so far)`);
  assert.deepEqual(back, Array.from({ length: BURST }, (_, i) => i));
  await desk.settled(socket);
});

each("what nobody answers runs into its time-out", async (desk) => {
  const socket = await desk.connected();
  const [error] = await within(SOON, new Promise((resolve) => socket.timeout(100).emit("nobody-is-here", (...args) => resolve(args))));
  assert.ok(error instanceof Error);
  await assert.rejects(socket.timeout(100).emitWithAck("nobody-is-here", 1));
  assert.equal(await socket.timeout(SOON).emitWithAck("message-with-ack", "answered"), "answered");
}, { majors: [4] });

each("what is sent again and again until it is acknowledged is in order", async (desk) => {
  const socket = await desk.connected({ retries: 3, ackTimeout: SOON });
  const answers = Array.from({ length: 20 }, (_, i) => new Promise((resolve) => socket.emit("message-with-ack", i, (_, answer) => resolve(answer))));
  assert.deepEqual(await within(SOON, Promise.all(answers)), Array.from({ length: 20 }, (_, i) => i));
}, { majors: [4] });

test("an older client at a server that does not speak with it is told so", LIMIT, async () => {
  for (const { transports } of WAYS) {
    const socket = io2(server.http, { transports, forceNew: true, reconnection: false });
    await heard(socket, "connect_error");
    socket.close();
  }
});

test("python-socketio, over each transport", { timeout: 120_000 }, async (t) => {
  const python = process.env.PYTHON ?? (existsSync(OWN_PYTHON) ? OWN_PYTHON : "python3");
  const script = fileURLToPath(new URL("python_client.py", import.meta.url));
  const child = spawn(python, [script, "--verbose"], { env: { ...process.env, LONGWIRE_SOCKETIO_URL: server.http } });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (said += text));
  const end = () => child.kill();
  t.signal.addEventListener("abort", end);
  const [code] = await once(child, "close");
  for (const line of said.trim().split("\n")) t.diagnostic(line);
  assert.equal(code, 0);
  assert.match(said, /Ran [1-9]\d* tests/);
});
