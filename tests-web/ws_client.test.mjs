// npm's `ws` as a client.
//
//   LONGWIRE_URL       the running default server, http://127.0.0.1:PORT
//   LONGWIRE_ECHO_URL  the running `echo` example

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import WebSocket from "ws";

const SERVER = address("LONGWIRE_URL");
const ECHO = address("LONGWIRE_ECHO_URL");
const LIMIT = { timeout: 30_000 };
const MEBIBYTE = 1 << 20;

function address(name) {
  assert.ok(process.env[name], `set ${name} to the address of a running server`);
  return process.env[name].replace(/^http/, "ws").replace(/\/$/, "");
}

/** A line whose incoming messages wait in a queue, so that none is missed between two awaits. */
class Line {
  #messages = [];
  #waiting = [];

  static async open(url, options) {
    const line = new Line(url, options);
    await once(line.socket, "open");
    return line;
  }

  constructor(url, options) {
    this.socket = new WebSocket(url, options);
    this.closed = once(this.socket, "close").then(([code]) => code);
    this.socket.on("message", (data, isBinary) => {
      const message = isBinary ? data : data.toString();
      const waiting = this.#waiting.shift();
      if (waiting) waiting(message);
      else this.#messages.push(message);
    });
  }

  /** The next message: a string or a Buffer, as it was sent. */
  next() {
    return this.#messages.length ? Promise.resolve(this.#messages.shift()) : new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Sends a message and expects the same one back. */
  async echoes(message) {
    this.socket.send(message);
    assert.deepEqual(await this.next(), message);
  }

  close(code, reason) {
    this.socket.close(code, reason);
    return this.closed;
  }
}

test("/ws greets and answers in the article's words", LIMIT, async () => {
  const line = await Line.open(`${SERVER}/ws`);
  assert.equal(await line.next(), "✅ WebSocket 已连接");
  for (const text of ["你好", "hello", "", "🦀".repeat(1000)]) {
    line.socket.send(text);
    assert.equal(await line.next(), `你发送了：${text}`);
  }
  assert.equal(await line.close(1000, "bye"), 1000);
});

const UNCOMPRESSED = { perMessageDeflate: false };
const COMPRESSED = { perMessageDeflate: { threshold: 0 } };

for (const [how, options, extensions] of [
  ["without compression", UNCOMPRESSED, ""],
  ["with permessage-deflate", COMPRESSED, "permessage-deflate"],
  ["with a small window", { perMessageDeflate: { threshold: 0, serverMaxWindowBits: 9, clientMaxWindowBits: 10 } }, "permessage-deflate"],
  ["without context takeover", { perMessageDeflate: { threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true } }, "permessage-deflate"],
]) {
  test(`messages of each kind and size come back ${how}`, LIMIT, async () => {
    const line = await Line.open(`${ECHO}/echo`, options);
    assert.equal(line.socket.extensions, extensions);
    for (const text of ["", "a", "héllo wörld 你好 🦀", "x".repeat(125), "x".repeat(126), "x".repeat(65_535), "x".repeat(65_536)]) {
      await line.echoes(text);
      await line.echoes(Buffer.from(text));
    }
    await line.echoes("é".repeat(MEBIBYTE / 2));
    await line.echoes(randomBytes(MEBIBYTE));
    await line.close(1000);
  });

  test(`a fragmented message with a ping inside comes back whole ${how}`, LIMIT, async () => {
    const line = await Line.open(`${ECHO}/echo`, options);
    const pong = once(line.socket, "pong");
    line.socket.send("Hel", { fin: false });
    line.socket.send("lo, ", { fin: false });
    line.socket.ping("between fragments");
    line.socket.send("你", { fin: false });
    line.socket.send("好", { fin: true });
    assert.equal((await pong)[0].toString(), "between fragments");
    assert.equal(await line.next(), "Hello, 你好");
    await line.close(1000);
  });
}

test("a thousand messages come back in their order", LIMIT, async () => {
  const line = await Line.open(`${ECHO}/echo`, COMPRESSED);
  for (let i = 0; i < 1000; i++) line.socket.send(`message ${i}`);
  for (let i = 0; i < 1000; i++) assert.equal(await line.next(), `message ${i}`);
  await line.close(1000);
});

test("a ping is answered with its own payload", LIMIT, async () => {
  const line = await Line.open(`${ECHO}/echo`, UNCOMPRESSED);
  for (const payload of [Buffer.alloc(0), randomBytes(125)]) {
    line.socket.ping(payload);
    assert.deepEqual((await once(line.socket, "pong"))[0], payload);
  }
  await line.close(1000);
});

for (const [code, reason] of [[1000, ""], [1001, "leaving"], [3000, "registered"], [4999, "再见"]]) {
  test(`a close with ${code} is answered with ${code}`, LIMIT, async () => {
    const line = await Line.open(`${ECHO}/echo`);
    assert.equal(await line.close(code, reason), code);
  });
}

test("a close without a code is answered without one", LIMIT, async () => {
  const line = await Line.open(`${ECHO}/echo`);
  assert.equal(await line.close(), 1005);
});

test("a message past the bound is refused with 1009", LIMIT, async () => {
  const line = await Line.open(`${ECHO}/echo`, UNCOMPRESSED);
  line.socket.on("error", () => {}); // The server need not read the rest of what it refuses.
  line.socket.send(Buffer.alloc(64 * MEBIBYTE + 1));
  assert.equal(await line.closed, 1009);
});

test("a small message that inflates past the bound is refused with 1009", LIMIT, async () => {
  const line = await Line.open(`${ECHO}/echo`, COMPRESSED);
  line.socket.on("error", () => {});
  line.socket.send(Buffer.alloc(64 * MEBIBYTE + 1));
  assert.equal(await line.closed, 1009);
});

test("a line that is dropped leaves its neighbours alone", LIMIT, async () => {
  const [dropped, neighbour] = await Promise.all([Line.open(`${ECHO}/echo`), Line.open(`${ECHO}/echo`)]);
  dropped.socket.send("half of a message", { fin: false });
  dropped.socket.terminate();
  await dropped.closed;
  await neighbour.echoes("still here");
  await neighbour.close(1000);
});
