// Connection state recovery with the stock socket.io-client: its line is cut, messages are published meanwhile, it comes back, and
// it must have each of them once, in order, and say that it was recovered.
//
//   IDLE_S  for how long the idle client is idle, 3 by default; past 180 the reference has dropped its place
//
// A case in which the reference is known to fail is told, not asserted, when the tests run against it (LONGWIRE_SOCKETIO=reference).

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Follower, Publisher, WAYS } from "./follower.mjs";
import { REFERENCE, Server } from "./server.mjs";
import { Line, within } from "./wire.mjs";

const IDLE_S = Number(process.env.IDLE_S ?? 3);
const LIMIT = { timeout: 60_000 + IDLE_S * 1000 };
const SOON = 5000;

// In which ways a case goes better than by the reference. Over polling it knows of a loss only if a request is under way just then; if
// the cut is between two of them, it keeps no state until the heartbeat is missed, and the client comes back too early.
const BETTER = { better: ["polling", "websocket", "upgrade"] };
const BETTER_BY_POLLING = { better: ["polling"] };

let server;
let publisher;
let rooms = 0;
let lasts = 0;
before(async () => {
  server = await Server.start("room");
  publisher = await Publisher.open(server);
});
after(async () => {
  publisher.close();
  await server.kill();
});

/** A case over each way to be connected. `body` gets a follower that is connected; what it counts is asserted afterwards. */
function each(name, body, { better = [], anyOrder = false } = {}) {
  for (const way of WAYS) {
    test(`${name} (${way.name})`, LIMIT, async (t) => {
      const follower = await Follower.open(server, publisher, way);
      try {
        await body(follower, way);
        await follower.caughtUp();
        const { report } = follower;
        const said = Object.entries(report).map(([key, value]) => `${key} ${value}`);
        const onlyTold = REFERENCE && better.includes(way.name);
        t.diagnostic(`${onlyTold ? "only told, ours has to be better: " : ""}${said.join(", ")}`);
        if (onlyTold) return;
        const { cuts, published } = report;
        const disordered = anyOrder ? report.disordered : 0;
        assert.deepEqual(report, { cuts, recovered: cuts, published, lost: 0, repeated: 0, disordered });
        assert.deepEqual(follower.others, [], "nothing of anybody else's");
        assert.ok(cuts > 0 && published > 0);
      } finally {
        follower.close();
      }
    });
  }
}

const newRoom = () => `room ${(rooms += 1)}`;

/** Cuts the line, publishes, lets the client come back, and publishes again. */
async function away(follower, how, count = 3) {
  await follower.lose(how);
  follower.publish(count);
  await publisher.taken();
  await follower.comeBack();
  follower.publish(1);
}

each("what is published while a client is away reaches it when it is back", async (follower) => {
  await follower.join(newRoom());
  follower.publish(3);
  await follower.caughtUp();
  await follower.polling();
  const { id } = follower.socket;
  await follower.lose();
  follower.publish(3);
  publisher.publish(newRoom(), "for others");
  await publisher.taken();
  await follower.comeBack();
  assert.equal(follower.socket.id, id);
  follower.publish(3);
});

each("a client that has heard no event yet", (follower) => away(follower), BETTER);

each("a client whose last event ended in a string", async (follower) => {
  await follower.join(newRoom());
  await away(follower);
}, BETTER_BY_POLLING);

each("a client that asked for an echo of a string last", async (follower) => {
  await follower.join(newRoom());
  const back = new Promise((resolve) => follower.socket.once("m", resolve));
  follower.socket.emit("echo", "the last that it hears is text");
  await within(SOON, back);
  await away(follower);
  assert.equal(follower.others.pop(), "the last that it hears is text");
}, BETTER_BY_POLLING);

each(`a client that is idle for ${IDLE_S} s`, async (follower) => {
  await follower.join(newRoom());
  follower.publish(1);
  await follower.caughtUp();
  await sleep(IDLE_S * 1000);
  await away(follower);
}, IDLE_S > 180 ? BETTER : undefined);

each("a client that is idle while others talk a lot", async (follower) => {
  await follower.join(newRoom());
  follower.publish(1);
  await follower.caughtUp();
  const busy = newRoom();
  for (let i = 0; i < 3000; i++) publisher.publish(busy, "talk");
  await publisher.taken();
  await away(follower);
});

each("five recoveries in a row", async (follower) => {
  await follower.join(newRoom());
  for (let round = 0; round < 5; round++) await away(follower, "cut", round % 3); // Twice with nothing meanwhile.
}, BETTER_BY_POLLING);

each("five recoveries in a row with nothing between them", async (follower) => {
  await follower.join(newRoom());
  for (let round = 0; round < 5; round++) {
    await follower.lose();
    await follower.comeBack();
  }
  follower.publish(1);
});

each("coming back before the server has noticed", async (follower) => {
  await follower.join(newRoom());
  follower.publish(2);
  await follower.caughtUp();
  for (let round = 0; round < 3; round++) await away(follower, "cutUnnoticed");
  await follower.caughtUp();
  follower.proxy.forget();
  await sleep(50);
  follower.publish(2); // The end of the old lines is not the end of the client.
}, BETTER);

each("a line that breaks in the middle of a message", async (follower) => {
  await follower.join(newRoom());
  for (let round = 0; round < 3; round++) await away(follower, "cutTorn");
}, BETTER);

each("binary messages", async (follower) => {
  const wrap = (number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(number);
    return { bytes, more: Buffer.alloc(1000, number) };
  };
  await follower.join(newRoom());
  follower.publish(2, wrap);
  await follower.caughtUp();
  await follower.lose();
  follower.publish(3, wrap);
  await publisher.taken();
  await follower.comeBack();
  follower.publish(2, wrap);
}, BETTER_BY_POLLING);

each("a thousand messages while away", async (follower) => {
  await follower.join(newRoom());
  await away(follower, "cut", 1000);
}, BETTER_BY_POLLING);

each("five thousand messages while away, and more on the way back", async (follower) => {
  await follower.join(newRoom());
  await follower.lose();
  follower.publish(5000);
  await publisher.taken();
  const back = follower.comeBack();
  for (let i = 0; i < 20; i++) {
    follower.publish(5);
    await sleep(1);
  }
  await back;
  follower.publish(1);
}, BETTER_BY_POLLING);

each("ten cuts while messages flow", async (follower) => {
  await follower.join(newRoom());
  let flowing = true;
  const flow = (async () => {
    for (; flowing; await sleep(1)) follower.publish(1);
  })();
  for (let round = 0; round < 10; round++) {
    await sleep(20);
    await follower.lose();
    await sleep(round * 3);
    await follower.comeBack();
  }
  flowing = false;
  await flow;
}, BETTER_BY_POLLING);

// Each room has its order; one over all rooms is not promised.
each("a client that is in two rooms, and in neither alone", async (follower) => {
  await follower.join(newRoom());
  const first = follower.room;
  await follower.join(newRoom());
  await follower.lose();
  follower.publish(1);
  follower.room = first;
  follower.publish(1);
  follower.room = follower.socket.id ?? first;
  await publisher.taken();
  follower.proxy.up();
  await within(SOON, new Promise((resolve) => follower.socket.once("connect", resolve)));
  follower.recoveries.push(follower.socket.recovered);
  follower.room = follower.socket.id;
  follower.publish(1);
}, { ...BETTER_BY_POLLING, anyOrder: true });

// ---- Where nothing may be claimed ----

for (const way of WAYS) {
  test(`a client that left by itself is a new one (${way.name})`, LIMIT, async () => {
    const follower = await Follower.open(server, publisher, way);
    await follower.join(newRoom());
    const { id } = follower.socket;
    follower.socket.disconnect();
    follower.publish(2);
    await publisher.taken();
    const back = new Promise((resolve) => follower.socket.once("connect", resolve));
    follower.socket.connect();
    await within(SOON, back);
    assert.equal(follower.socket.recovered, false);
    assert.notEqual(follower.socket.id, id);
    assert.deepEqual(follower.numbers, []);
    follower.close();
  });

  test(`a server that was started again claims nothing (${way.name})`, LIMIT, async () => {
    const own = await Server.start("room");
    const teller = await Publisher.open(own);
    const follower = await Follower.open(own, teller, way);
    await follower.join("room");
    follower.publish(2);
    await follower.caughtUp();
    const loss = new Promise((resolve) => follower.socket.once("disconnect", resolve));
    const back = new Promise((resolve) => follower.socket.once("connect", resolve));
    const teach = new Promise((resolve) => teller.socket.once("connect", resolve));
    await own.restart();
    await within(SOON, Promise.all([loss, back, teach]), "the way back");
    assert.equal(follower.socket.recovered, false);
    await follower.join("room");
    follower.publish(2);
    await follower.caughtUp();
    assert.deepEqual(follower.numbers, [1, 2, 3, 4]);
    follower.close();
    teller.close();
    await own.kill();
  });
}

// ---- The same by hand ----

/**
 * A line on the main namespace by `auth`: what the CONNECT was answered with, how many events came before that, and all that came
 * before a last one. Who got its old id `sid` back hears that one in its `room`, where the order is, and a new client as an echo.
 */
async function byHand(auth, { sid, room } = {}) {
  const line = await Line.session(server, "/socket.io/");
  line.send(`40${auth ? JSON.stringify(auth) : ""}`);
  const missed = [];
  const last = `all ${(lasts += 1)}?`;
  let answer;
  for (;;) {
    const frame = await within(SOON, line.next());
    const said = frame.length > 2 ? JSON.parse(frame.slice(2)) : undefined;
    if (frame.startsWith("40")) {
      answer = { ...said, before: missed.length };
      if (answer.sid === sid) publisher.publish(room, last);
      else line.send(`42${JSON.stringify(["echo", last])}`);
    } else if (said?.[1] === last) return { line, ...answer, missed, offset: said.at(-1) };
    else if (frame.startsWith("42")) missed.push(said);
  }
}

/** The next event on a line by hand. */
async function event(line) {
  for (;;) {
    const frame = await within(SOON, line.next());
    if (frame.startsWith("42")) return JSON.parse(frame.slice(2));
  }
}

/** By hand in a room, with what is published while away: `{sid, pid, offset, last, room}`. */
async function leftARoom(room) {
  const { line, sid, pid, offset } = await byHand();
  line.send(`42${JSON.stringify(["join", room])}`);
  await event(line);
  publisher.publish(room, 1);
  const [, , last] = await event(line);
  line.socket.terminate();
  await line.closed;
  publisher.publish(room, 2);
  publisher.publish(room, 3);
  await publisher.taken();
  return { sid, pid, offset, last, room };
}

test("what was missed comes right behind the answer, each with its position", LIMIT, async () => {
  const { sid, pid, last, room } = await leftARoom(newRoom());
  assert.deepEqual([typeof sid, typeof pid, typeof last], ["string", "string", "string"]);
  assert.notEqual(sid, pid, "the id is known to others, what recovers is a secret");
  const back = await byHand({ pid, offset: last, token: "more" }, { sid, room });
  assert.deepEqual([back.sid, back.pid], [sid, pid]);
  assert.deepEqual(back.missed.map(([name, number]) => [name, number]), [["m", 2], ["m", 3]]);
  for (const [, , offset, ...rest] of back.missed) assert.deepEqual([typeof offset, rest], ["string", []]);
  // What comes before it stock clients keep over a cut, and they would hear it twice: the reference does that.
  assert.equal(back.before, REFERENCE ? 2 : 0);
  back.line.socket.terminate();
});

test("it is the client that says how far it has come", LIMIT, async () => {
  const { sid, pid, offset, room } = await leftARoom(newRoom());
  const back = await byHand({ pid, offset }, { sid, room });
  assert.equal(back.sid, sid);
  assert.deepEqual(back.missed.map(([, number]) => number).filter(Boolean), [1, 2, 3]);
  back.line.socket.terminate();
});

test("who says a position that nobody gave is not told half of it", LIMIT, async (t) => {
  const { sid, pid, room } = await leftARoom(newRoom());
  const back = await byHand({ pid, offset: "the last argument of a volatile event" }, { sid, room });
  t.diagnostic(back.sid === sid ? "recovered" : "a new client");
  // Either it is a new client, or it is the old one, and misses nothing and hears nothing twice.
  const numbers = back.missed.map(([, number]) => number);
  if (back.sid === sid) assert.deepEqual(numbers, [2, 3]);
  else assert.deepEqual([numbers, back.pid === pid], [[], false]);
  back.line.socket.terminate();
});

test("what recovered a client is worth nothing once it has left by itself", LIMIT, async (t) => {
  const { sid, pid, last, room } = await leftARoom(newRoom());
  const back = await byHand({ pid, offset: last }, { sid, room });
  assert.equal(back.sid, sid);
  back.line.send("41");
  await within(SOON, back.line.close());
  const again = await byHand({ pid, offset: back.offset }, { sid, room });
  if (REFERENCE) t.diagnostic(`only told, ours has to be better: ${again.sid === sid ? "recovered once more" : "a new client"}`);
  else assert.notEqual(again.sid, sid);
  again.line.socket.terminate();
});

test("who shows what nobody gave is a new client", LIMIT, async () => {
  for (const auth of [
    { pid: "nobody gave this", offset: "nor this" },
    { pid: "nobody gave this" },
    { pid: 1, offset: 2 },
    { pid: { a: 1 }, offset: ["x"] },
    { pid: null, offset: null },
    { pid: "", offset: "" },
    { pid: "x".repeat(100_000), offset: "x".repeat(100_000) },
    { offset: "alone" },
  ]) {
    const { line, sid, pid, missed } = await byHand(auth);
    assert.deepEqual([typeof sid, typeof pid, missed], ["string", "string", []]);
    assert.notEqual(pid, auth.pid);
    line.socket.terminate();
  }
});
