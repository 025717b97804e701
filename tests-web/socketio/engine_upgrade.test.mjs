// Engine.IO, revision 4: from polling to WebSocket, and heartbeats to the millisecond.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { REFERENCE, Server } from "./server.mjs";
import { Line, Polling, http, refused, settle, until, within } from "./wire.mjs";

const LIMIT = { timeout: 30_000 };
const PING_INTERVAL = 300;
const DEAD_AFTER = 500; // The interval and the time-out of 200.
/** How late something may come on a machine with other things to do. */
const SLACK = 150;
/** How early: a server may round its timers to slots. */
const EARLY = 20;
/** The reference runs one timer after the other, and is a little behind. From ours nothing is forgiven. */
const REFERENCE_LATE = REFERENCE ? 20 : 0;

let server;
before(async () => (server = await Server.start("contract")));
after(() => server.kill());

// ---- Upgrade ----

/** A WebSocket to a session over polling, as far as the probe. */
async function probe(session) {
  const line = await Line.open(session.ws);
  line.send("2probe");
  assert.equal(await within(300, line.next()), "3probe");
  return line;
}

/** A session over polling that has gone over to WebSocket. */
async function upgraded() {
  const session = await Polling.open(server);
  const line = await probe(session);
  assert.deepEqual(await session.packets(), ["6"]);
  line.send("5");
  return { session, line };
}

test("a poll made after the probe is let go, and then the WebSocket carries the session", LIMIT, async () => {
  const session = await Polling.open(server);
  const line = await probe(session);
  assert.deepEqual(await within(250, session.packets()), ["6"]);
  line.send("5", "4over the new one");
  assert.equal(await line.next(), "4over the new one");
  line.send(Buffer.of(1, 2, 3));
  assert.deepEqual(await line.next(), Buffer.of(1, 2, 3));
  await line.close();
});

test("a poll that waits when the probe comes is let go", LIMIT, async () => {
  const session = await Polling.open(server);
  const waiting = session.packets();
  const line = await probe(session);
  assert.deepEqual(await within(250, waiting), ["6"]);
  line.send("5", "4x");
  assert.equal(await line.next(), "4x");
  await line.close();
});

test("after the upgrade there is no polling, and nobody else gets in", LIMIT, async () => {
  const { session, line } = await upgraded();
  line.send("4first");
  assert.equal(await line.next(), "4first");
  assert.equal((await session.poll()).status, 400);
  assert.equal((await session.post("4x")).status, 400);
  await within(500, refused(session.ws), "the end of a second WebSocket");
  line.send("4second");
  assert.equal(await line.next(), "4second");
  await line.close();
});

test("what was sent before, during and after the upgrade arrives once and in order", LIMIT, async () => {
  for (let round = 0; round < 10; round++) {
    const session = await Polling.open(server);
    await session.send("40", "41");
    const line = await probe(session);
    await session.send("42");
    const polled = await session.packets();
    line.send("5", "43", "44");
    const heard = polled.filter((packet) => packet !== "6");
    while (heard.at(-1) !== "44") heard.push(await within(500, line.next()));
    assert.deepEqual(heard, ["40", "41", "42", "43", "44"]);
    await line.close();
  }
});

test("what waits when the upgrade is complete goes over the WebSocket", LIMIT, async () => {
  const session = await Polling.open(server);
  const line = await probe(session);
  await session.send("4a", "bAQI=", "4c");
  line.send("5");
  assert.deepEqual([await line.next(), await line.next(), await line.next()], ["4a", Buffer.of(1, 2), "4c"]);
  await line.close();
});

test("a poll that waits when the upgrade is complete is let go", LIMIT, async () => {
  const session = await Polling.open(server);
  const line = await probe(session);
  const waiting = session.poll();
  await settle(server);
  line.send("5", "4x");
  assert.equal(await line.next(), "4x");
  const { status, text } = await within(250, waiting);
  assert.equal(status, 200);
  assert.ok(["6", "1"].includes(text), `${text}: nothing, or that polling is over`);
  await line.close();
});

test("messages go on over polling while the probe is under way", LIMIT, async () => {
  const session = await Polling.open(server);
  const line = await probe(session);
  await session.send("4one");
  assert.deepEqual(await session.packets(), ["4one"]);
  assert.deepEqual(await session.packets(), ["6"]);
  await session.send("4two");
  assert.deepEqual(await session.packets(), ["4two"]);
  line.socket.terminate();
});

for (const [what, leave] of [
  ["says something else than the probe", (line) => line.send("4too early")],
  ["answers a probe instead of asking", (line) => line.send("3probe")],
  ["sends binary", (line) => line.send(Buffer.of(2))],
  ["sends what is no packet", (line) => line.send("abc")],
  ["goes away at once", (line) => line.socket.terminate()],
]) {
  test(`a WebSocket that ${what} leaves the session where it was`, LIMIT, async () => {
    const session = await Polling.open(server);
    const line = await Line.open(session.ws);
    leave(line);
    await within(200, line.closed, "the close");
    await session.send("4here");
    assert.deepEqual(await session.packets(), ["4here"]);
    const next = await probe(session);
    assert.deepEqual(await session.packets(), ["6"]);
    next.send("5", "4there");
    assert.equal(await next.next(), "4there");
    await next.close();
  });
}

test("a WebSocket that goes away after the probe leaves the session where it was", LIMIT, async () => {
  const session = await Polling.open(server);
  const line = await probe(session);
  line.socket.terminate();
  await line.closed;
  await session.send("4here");
  let packets = [];
  while (!packets.includes("4here")) packets = packets.concat(await session.packets());
  assert.deepEqual(packets.filter((packet) => packet !== "6"), ["4here"]);
});

test("of two WebSockets at once for a session the second is closed", LIMIT, async () => {
  const session = await Polling.open(server);
  const line = await probe(session);
  await within(500, refused(session.ws), "the end of the second");
  assert.deepEqual(await session.packets(), ["6"]);
  line.send("5", "4x");
  assert.equal(await line.next(), "4x");
  await line.close();
});

test("a session that ends over polling takes its probing WebSocket along", LIMIT, async () => {
  const session = await Polling.open(server);
  const line = await probe(session);
  await session.send("1");
  await within(500, line.closed, "the close");
});

test("a session ends with its WebSocket after the upgrade", LIMIT, async () => {
  const { session, line } = await upgraded();
  line.send("4x");
  assert.equal(await line.next(), "4x");
  line.socket.terminate();
  await line.closed;
  await session.assertClosed();
  await within(500, refused(session.ws), "the end of another WebSocket");
});

// ---- Heartbeats ----

/** Asserts that now is `wanted` milliseconds after a moment between `first` and `last`, and if it is late, not much. */
function assertTime(first, last, wanted, what) {
  const now = performance.now();
  assert.ok(now - first >= wanted - EARLY, `${what} after ${(now - first).toFixed(1)} ms, before ${wanted}`);
  assert.ok(now - last <= wanted + SLACK, `${what} after ${(now - last).toFixed(1)} ms, not ${wanted}`);
}

test("over polling the server pings, and each pong is good for another round", LIMIT, async () => {
  let asked = performance.now();
  const session = await Polling.open(server);
  for (let round = 0; round < 4; round++) {
    const answered = performance.now();
    assert.deepEqual(await session.packets(), ["2"]);
    assertTime(asked, answered, PING_INTERVAL, "a ping");
    asked = performance.now();
    await session.send("3");
  }
});

test("over WebSocket the server pings, and each pong is good for another round", LIMIT, async () => {
  let asked = performance.now();
  const line = await Line.session(server);
  for (let round = 0; round < 4; round++) {
    const answered = performance.now();
    assert.equal(await line.next(), "2");
    assertTime(asked, answered, PING_INTERVAL, "a ping");
    asked = performance.now();
    line.send("3");
  }
  await line.close();
});

test("after an upgrade the heartbeat goes on", LIMIT, async () => {
  const { line } = await upgraded();
  for (let round = 0; round < 3; round++) {
    assert.equal(await within(PING_INTERVAL + SLACK, line.next(), "a ping"), "2");
    line.send("3");
  }
  await line.close();
});

test("a session over polling that never polls is gone at the deadline", LIMIT, async () => {
  const sessions = await Promise.all(Array.from({ length: 5 }, () => Polling.open(server)));
  for (const session of sessions) {
    await until(session.openedAt + DEAD_AFTER + REFERENCE_LATE);
    await session.assertClosed();
  }
});

test("a session over polling without a pong is gone at the deadline, not before", LIMIT, async () => {
  const asked = performance.now();
  const session = await Polling.open(server);
  assert.deepEqual(await session.packets(), ["2"]);
  const { status, text } = await session.poll();
  assert.deepEqual([status, text], [200, "1"]);
  assertTime(asked, session.openedAt, DEAD_AFTER, "the end");
  await session.assertClosed();
});

test("a session over WebSocket without a pong is closed at the deadline, not before", LIMIT, async () => {
  const asked = performance.now();
  const line = await Line.session(server);
  assert.equal(await line.next(), "2");
  await line.closed;
  assertTime(asked, line.openedAt, DEAD_AFTER, "the close");
  assert.equal((await http(`${server.http}/engine.io/?EIO=4&transport=polling&sid=${line.handshake.sid}`)).status, 400);
});

test("a pong in time is a pong, however late in time", LIMIT, async () => {
  const line = await Line.session(server);
  for (let round = 0; round < 3; round++) {
    assert.equal(await line.next(), "2");
    const ping = performance.now();
    await until(ping + 150);
    line.send("3");
  }
  line.send("4alive");
  assert.equal(await line.next(), "4alive");
  await line.close();
});

test("a WebSocket that is silent below the protocol is closed as well", LIMIT, async () => {
  const line = await Line.session(server);
  line.socket._socket.pause(); // Neither reads nor answers, as behind a network that has gone away.
  await until(line.openedAt + DEAD_AFTER + SLACK);
  const url = `${server.http}/engine.io/?EIO=4&transport=polling&sid=${line.handshake.sid}`;
  assert.equal(JSON.parse((await http(url)).text).code, 1, "the session is unknown by then");
  line.socket.terminate();
});
