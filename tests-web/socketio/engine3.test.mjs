// Engine.IO, revision 3, which older clients speak where a server allows it: lengths before packets, binary payloads, and the client
// is the one who pings. The server runs with --eio3.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { REFERENCE, Server } from "./server.mjs";
import { Line, Polling, http, settle, until, within } from "./wire.mjs";

const LIMIT = { timeout: 30_000 };
const V3 = { eio: 3 };
const DEAD_AFTER = 500;
const SLACK = 150;
const EARLY = 20; // A server may round its timers to slots.
const BINARY = { "content-type": "application/octet-stream" };

let server;
before(async () => (server = await Server.start("contract", "--eio3")));
after(() => server.kill());

/** A payload: the length of each packet in UTF-16 units, as JavaScript counts them, before it. */
const joined = (...packets) => packets.map((packet) => `${packet.length}:${packet}`).join("");

/** A payload with binary in it: 0 for text or 1 for binary, the decimal digits of the length in bytes, 255, the packet. */
function joinedBinary(...packets) {
  return Buffer.concat(
    packets.map((packet) => {
      const bytes = Buffer.from(packet);
      const digits = [...String(bytes.length)].map(Number);
      return Buffer.concat([Buffer.of(typeof packet === "string" ? 0 : 1, ...digits, 255), bytes]);
    }),
  );
}

/** A message in binary: its type as a byte, then its bytes. */
const message = (...bytes) => Buffer.of(4, ...bytes);

/** A session whose POST and GET use lengths. */
class Old {
  static async open(query = "") {
    const old = new Old();
    old.polling = await Polling.open(server, "/engine.io/", { eio: 3, query });
    return old;
  }

  async send(body, headers) {
    const answer = await this.polling.post(body, headers && { headers });
    assert.deepEqual([answer.status, answer.text], [200, "ok"]);
  }

  async hears(body) {
    const answer = await this.polling.poll();
    assert.equal(answer.status, 200);
    assert.deepEqual(typeof body === "string" ? answer.text : answer.body, body);
    return answer;
  }
}

test("a handshake over polling has a length and says what it must", LIMIT, async () => {
  const { handshake, opening } = await Polling.open(server, "/engine.io/", V3);
  const { sid, ...rest } = handshake;
  assert.equal(typeof sid, "string");
  assert.deepEqual(rest, { upgrades: ["websocket"], pingInterval: 300, pingTimeout: 200, maxPayload: 1_000_000 });
  // Where nothing is binary the payload is text, whatever the client takes.
  assert.match(opening.headers["content-type"], /^text\/plain/);
  const [, length, packet] = /^(\d+):(.*)$/.exec(opening.text);
  assert.equal(Number(length), packet.length);
});

test("a client that takes no binary is spoken to in text", LIMIT, async () => {
  const response = await http(`${server.http}/engine.io/?EIO=3&transport=polling&b64=1`);
  const [, length, packet] = /^(\d+):(.*)$/.exec(response.text);
  assert.equal(Number(length), packet.length);
  assert.equal(packet[0], "0");
  assert.match(response.headers["content-type"], /^text\/plain/);
});

test("revision 4 is spoken beside it", LIMIT, async () => {
  const session = await Polling.open(server);
  await session.send("4new");
  assert.deepEqual(await session.packets(), ["4new"]);
});

test("a session is spoken to in the revision it began with", LIMIT, async () => {
  const { polling } = await Old.open();
  const answer = await http(polling.url.replace("EIO=3", "EIO=4"));
  assert.equal(answer.status, 400);
  const newer = await Polling.open(server);
  assert.equal((await http(newer.url.replace("EIO=4", "EIO=3"))).status, 400);
});

test("text comes back with its length in characters", LIMIT, async () => {
  const old = await Old.open("&b64=1");
  for (const payload of [joined("4hello"), joined("4€"), joined("4😀 你好"), joined("4a", "4:3:4x", "4")]) {
    await old.send(payload);
    await old.hears(payload);
  }
});

test("binary in text is base64 behind a b", LIMIT, async () => {
  const old = await Old.open("&b64=1");
  await old.send(joined("b4AQIDBA==", "4text"));
  await old.hears(joined("b4AQIDBA==", "4text"));
});

test("binary payloads are taken, and given to who takes them", LIMIT, async () => {
  const old = await Old.open();
  const payload = joinedBinary("4text 你好", message(1, 2, 3, 4), "4", message());
  await old.send(payload, BINARY);
  const answer = await old.hears(payload);
  assert.equal(answer.headers["content-type"], "application/octet-stream");
  await old.send(joinedBinary("4text alone", "4你好"), BINARY);
  await old.hears(joined("4text alone", "4你好"));
});

test("a payload's length may have several digits", LIMIT, async () => {
  const old = await Old.open();
  const payload = joinedBinary(`4${"x".repeat(12_344)}`, Buffer.concat([Buffer.of(4), Buffer.alloc(100_000, 9)]));
  await old.send(payload, BINARY);
  await old.hears(payload);
});

for (const [what, body, headers] of [
  ["no length", "abc"],
  ["a length that is no number", "x:4a"],
  ["a length past the end", "10:4a"],
  ["an unknown packet", "3:abc"],
  ["a binary length without an end", Buffer.of(0, 1, 1, 1), BINARY],
  // The reference takes what there is for the whole.
  ...(REFERENCE ? [] : [["a binary length past the end", Buffer.of(0, 9, 255, 52), BINARY]]),
]) {
  test(`a payload with ${what} closes the session`, LIMIT, async () => {
    const { polling } = await Old.open();
    await polling.post(body, headers && { headers }).catch(() => {}); // It may be refused, or cut off.
    await polling.assertClosed();
  });
}

test("over WebSocket binary has its type before it", LIMIT, async () => {
  const line = await Line.session(server, "/engine.io/", V3);
  const frames = ["4hello 你好", message(1, 2, 3), "4", message()];
  line.send(...frames);
  for (const frame of frames) assert.deepEqual(await line.next(), frame);
  await line.close();
});

test("over WebSocket to a client that takes no binary it is base64", LIMIT, async () => {
  const line = await Line.session(server, "/engine.io/", { eio: 3, query: "&b64=1" });
  line.send("b4AQID");
  assert.equal(await line.next(), "b4AQID");
  await line.close();
});

test("the client pings and the server pongs, over polling and WebSocket", LIMIT, async () => {
  const [old, line] = [await Old.open("&b64=1"), await Line.session(server, "/engine.io/", V3)];
  for (let round = 0; round < 4; round++) {
    await until(performance.now() + 200);
    await old.send(joined("2"));
    await old.hears(joined("3"));
    line.send("2");
    assert.equal(await line.next(), "3");
  }
  line.send("4x");
  assert.equal(await line.next(), "4x");
  await line.close();
});

test("who does not ping is gone at the deadline, not before", LIMIT, async () => {
  const asked = performance.now();
  const line = await Line.session(server, "/engine.io/", V3);
  const { at } = await line.closed;
  assert.ok(at - asked >= DEAD_AFTER - EARLY, `closed after ${(at - asked).toFixed(1)} ms`);
  assert.ok(at - line.openedAt <= DEAD_AFTER + SLACK, `closed after ${(at - line.openedAt).toFixed(1)} ms`);
});

test("a pong from the client closes the session", LIMIT, async () => {
  const line = await Line.session(server, "/engine.io/", V3);
  line.send("3");
  await within(200, line.closed, "the close");
});

test("from polling to WebSocket, in order", LIMIT, async () => {
  const { polling } = await Old.open("&b64=1");
  await polling.post(joined("40", "41"));
  const line = await Line.open(polling.ws);
  line.send("2probe");
  assert.equal(await line.next(), "3probe");
  assert.equal((await polling.poll()).text, joined("40", "41"));
  const waiting = polling.poll();
  await settle(server);
  assert.equal((await within(250, waiting)).text, joined("6"));
  line.send("5", "42");
  assert.equal(await line.next(), "42");
  assert.equal((await polling.poll()).status, 400);
  await line.close();
});

test("the main namespace is joined without being asked for", LIMIT, async () => {
  const polling = await Polling.open(server, "/socket.io/", { eio: 3, query: "&b64=1" });
  let heard = polling.opening.text;
  while (!heard.includes("42[")) heard += (await polling.poll()).text;
  assert.ok(heard.endsWith(joined("40", '42["auth",{}]')), heard);
});

test("namespaces of older clients: no id, no auth, and the same messages", LIMIT, async () => {
  const line = await Line.session(server, "/socket.io/", V3);
  const next = () => within(200, line.next());
  assert.deepEqual([await next(), await next()], ["40", '42["auth",{}]']);
  line.send("40/custom");
  assert.deepEqual([await next(), await next()], ["40/custom,", '42/custom,["auth",{}]']);
  line.send("40/random");
  assert.equal(await next(), '44/random,{"message":"Invalid namespace"}');
  line.send('42["message",1,"2",{"3":[true]}]');
  assert.equal(await next(), '42["message-back",1,"2",{"3":[true]}]');
  line.send('4217["message-with-ack","x"]');
  assert.equal(await next(), '4317["x"]');
  line.send('451-["message",{"_placeholder":true,"num":0}]', message(1, 2, 3));
  assert.equal(await next(), '451-["message-back",{"_placeholder":true,"num":0}]');
  assert.deepEqual(await next(), message(1, 2, 3));
  await line.close();
});
