// Socket.IO, protocol 5, without a client library, over each transport: namespaces, events, acknowledgements, binary, and what
// closes the connection.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Server } from "./server.mjs";
import { Line, Session, until, within } from "./wire.mjs";

const LIMIT = { timeout: 30_000 };
const SOON = 500;
const CONNECT_TIMEOUT = 1000;
const RESERVED = ["connect", "connect_error", "disconnect", "disconnecting"];

let server;
before(async () => (server = await Server.start("contract")));
after(() => server.kill());

/** A test of a session over each transport. */
function each(name, body) {
  for (const transport of ["polling", "websocket"]) {
    test(`${name} (${transport})`, LIMIT, async () => {
      const session = await Session.open(server, transport);
      await body(session);
      await session.end();
    });
  }
}

/** The next message, as it is or as the parts of a packet: what is before the JSON, and the JSON. */
const next = (session) => within(SOON, session.next());
async function nextPacket(session) {
  const [, head, json] = /^([^[{]*)(.*)$/s.exec(await next(session));
  return [head, JSON.parse(json)];
}

/** Connects to a namespace ("" is the main one) and reads what it says at once. */
async function join(session, namespace = "", auth) {
  const comma = namespace && `${namespace},`;
  await session.send(`0${comma}${auth ? JSON.stringify(auth) : ""}`);
  const [head, said] = await nextPacket(session);
  assert.equal(head, `0${comma}`);
  assert.deepEqual(Object.keys(said), ["sid"]);
  assert.deepEqual(await nextPacket(session), [`2${comma}`, ["auth", auth ?? {}]]);
  return said.sid;
}

// ---- Namespaces ----

each("the main namespace is joined with an id of its own", async (session) => {
  const sid = await join(session);
  assert.notEqual(sid, session.line.handshake.sid, "the id of the transport's session is a secret");
});

each("what a client says of itself reaches the namespace", async (session) => {
  const auth = { token: "123 你好 🦀", list: [1, null, true, { deep: "\"\\" }], empty: {} };
  await join(session, "", auth);
  await join(session, "/custom", { other: true });
});

each("an empty object is said as it is", (session) => join(session, "", {}));

each("one session may be in two namespaces, with an id in each", async (session) => {
  const [main, custom] = [await join(session), await join(session, "/custom")];
  assert.notEqual(main, custom);
});

each("a namespace that is not the main one can be the first", async (session) => {
  await join(session, "/custom");
  await join(session);
});

each("a namespace that there isn't is refused, and the session goes on", async (session) => {
  await session.send("0/random");
  assert.equal(await next(session), '4/random,{"message":"Invalid namespace"}');
  await session.send('0/random,{"token":1}');
  assert.equal(await next(session), '4/random,{"message":"Invalid namespace"}');
  await join(session);
});

each("the main namespace may be named", async (session) => {
  await session.send("0/,");
  assert.equal((await nextPacket(session))[0], "0");
});

each("one namespace can be left while another works", async (session) => {
  await join(session);
  await join(session, "/custom");
  await session.send("1/custom,");
  await session.send('2["message","message to main namespace"]');
  assert.equal(await next(session), '2["message-back","message to main namespace"]');
});

each("leaving the main namespace is not answered, and the session goes on", async (session) => {
  await join(session);
  await session.send("1");
  await until(performance.now() + 700); // Past a heartbeat, and past what an unanswered one would allow.
  assert.equal(session.unread, 0);
  await join(session);
});

each("a namespace that was left can be joined again", async (session) => {
  const first = await join(session, "/custom");
  await session.send("1/custom,");
  assert.notEqual(await join(session, "/custom"), first);
});

// ---- Events and acknowledgements ----

each("an event's arguments come back as they went", async (session) => {
  await join(session);
  for (const args of [
    [],
    [1, "2", { 3: [true] }],
    [null, false, 0, -1.5, 1e21, "", [], {}],
    ["héllo 你好 🦀 \u2028\u0000\"\\/"],
    [{ deep: { deeper: { deepest: [[[["x"]]]] } } }],
    ["x".repeat(100_000)],
    [{ _placeholder: false }],
    [["an array that begins like an event"]],
  ]) {
    await session.send(`2${JSON.stringify(["message", ...args])}`);
    assert.deepEqual(await nextPacket(session), ["2", ["message-back", ...args]]);
  }
});

each("a large integer keeps its digits", async (session) => {
  await join(session);
  await session.send('2["message",9007199254740991,-9007199254740991]');
  assert.equal(await next(session), '2["message-back",9007199254740991,-9007199254740991]');
});

each("an event that nobody handles is no harm, with or without an acknowledgement", async (session) => {
  await join(session);
  await session.send('2["nobody-is-here",1]', '21["nobody-is-here",1]', '2[7,"numbered"]', '2["message","on"]');
  assert.equal(await next(session), '2["message-back","on"]');
});

each("an acknowledgement has the id that was asked with", async (session) => {
  await join(session);
  for (const id of ["0", "7", "456", "9007199254740991"]) {
    await session.send(`2${id}["message-with-ack",1,"2",{"3":[false]}]`);
    assert.equal(await next(session), `3${id}[1,"2",{"3":[false]}]`);
  }
  await session.send('28["message-with-ack"]');
  assert.equal(await next(session), "38[]");
});

each("an acknowledgement that nobody waits for is no harm", async (session) => {
  await join(session);
  await session.send('3999["x"]', '3["without an id"]', '2["message","on"]');
  assert.equal(await next(session), '2["message-back","on"]');
});

each("two hundred events come back in order", async (session) => {
  await join(session);
  const numbers = Array.from({ length: 200 }, (_, i) => i);
  await session.send(...numbers.map((i) => `2["message",${i}]`));
  for (const i of numbers) assert.equal(await next(session), `2["message-back",${i}]`);
});

// ---- Binary ----

const place = (num) => ({ _placeholder: true, num });

each("binary comes back behind its event", async (session) => {
  await join(session);
  await session.send(`51-${JSON.stringify(["message", place(0)])}`, Buffer.of(1, 2, 3, 4));
  assert.deepEqual(await nextPacket(session), ["51-", ["message-back", place(0)]]);
  assert.deepEqual(await next(session), Buffer.of(1, 2, 3, 4));
});

each("several attachments come back in their places, among other arguments", async (session) => {
  await join(session);
  const args = ["text", place(0), { inside: [place(1), 2], last: place(2) }];
  const attachments = [Buffer.of(1), Buffer.alloc(0), Buffer.alloc(70_000, 3)];
  await session.send(`53-${JSON.stringify(["message", ...args])}`, ...attachments);
  assert.deepEqual(await nextPacket(session), ["53-", ["message-back", ...args]]);
  for (const attachment of attachments) assert.deepEqual(await next(session), attachment);
});

each("attachments are known by their number, not by their place", async (session) => {
  await join(session);
  await session.send(`52-${JSON.stringify(["message", place(1), place(0)])}`, Buffer.from("zero"), Buffer.from("one"));
  const [head, [name, ...places]] = await nextPacket(session);
  assert.deepEqual([head, name], ["52-", "message-back"]);
  const attachments = [await next(session), await next(session)];
  assert.deepEqual(places.map(({ num }) => attachments[num].toString()), ["one", "zero"]);
});

each("an acknowledgement carries binary", async (session) => {
  await join(session);
  await session.send(`52-789${JSON.stringify(["message-with-ack", place(0), "between", place(1)])}`, Buffer.of(1, 2), Buffer.of(3));
  assert.deepEqual(await nextPacket(session), ["62-789", [place(0), "between", place(1)]]);
  assert.deepEqual([await next(session), await next(session)], [Buffer.of(1, 2), Buffer.of(3)]);
});

each("ten attachments are taken", async (session) => {
  await join(session);
  const places = Array.from({ length: 10 }, (_, i) => place(i));
  const attachments = places.map(({ num }) => Buffer.of(num));
  await session.send(`510-${JSON.stringify(["message", ...places])}`, ...attachments);
  assert.deepEqual(await nextPacket(session), ["510-", ["message-back", ...places]]);
  for (const attachment of attachments) assert.deepEqual(await next(session), attachment);
});

// ---- What closes the connection ----

const ONE = '51-["message",{"_placeholder":true,"num":0}]';

for (const [what, ...messages] of [
  ["a type that there isn't", "9"],
  ["a type that is no digit", "abc"],
  ["nothing", ""],
  ["an event that is no array", "2{}"],
  ["an event that is a string", '2"message"'],
  ["an event without a name", "2[]"],
  ["an event whose name is an object", '2[{"message":1}]'],
  ["an event in broken JSON", '2["message"'],
  ["an event with something behind it", '2["message"]x'],
  ["an id that is no number", '2abc["message"]'],
  ["an acknowledgement that is no array", "31{}"],
  ["a negative number of attachments", '5-1-["message"]'],
  ["a number of attachments that is none", '5x-["message",{"_placeholder":true,"num":0}]'],
  ["no number of attachments", '5["message"]'],
  ["too many attachments", `511-${JSON.stringify(["message", ...Array.from({ length: 11 }, (_, i) => place(i))])}`],
  ["text where an attachment is due", ONE, '2["message"]'],
  ["an attachment that nobody announced", Buffer.of(1, 2, 3)],
  ["more attachments than announced", ONE, Buffer.of(1), Buffer.of(2)],
  ["a place for an attachment that there isn't", '51-["message",{"_placeholder":true,"num":1}]', Buffer.of(1)],
  ["a place with a negative number", '51-["message",{"_placeholder":true,"num":-1}]', Buffer.of(1)],
  ["a second CONNECT", "0"],
  ["an event for a namespace that was not joined", '2/custom,["message"]'],
  ["an acknowledgement for a namespace that was not joined", '3/custom,1["message"]'],
  ["a DISCONNECT with more than a namespace", "1[]"],
  ...RESERVED.map((name) => [`an event called ${name}`, `2["${name}"]`]),
]) {
  each(`${what} closes the connection`, async (session) => {
    await join(session);
    await session.send(...messages);
    await within(SOON, session.closed, "the close");
  });
}

for (const [what, message] of [
  ["an event before a CONNECT", '2["message"]'],
  ["a CONNECT with a string", '0"token"'],
  ["a CONNECT with an array", "0[1]"],
  ["a CONNECT in broken JSON", '0{"token"'],
]) {
  each(`${what} closes the connection`, async (session) => {
    await session.send(message);
    await within(SOON, session.closed, "the close");
  });
}

each("who does not connect in time is closed, though it answers heartbeats", async (session) => {
  await session.closed;
  const [since, passed] = [performance.now() - session.asked, performance.now() - session.line.openedAt];
  assert.ok(since >= CONNECT_TIMEOUT - 20, `closed after ${since.toFixed(0)} ms`);
  assert.ok(passed <= CONNECT_TIMEOUT + 400, `closed after ${passed.toFixed(0)} ms`);
});

each("who has connected stays past that time", async (session) => {
  await join(session, "/custom");
  await until(session.line.openedAt + CONNECT_TIMEOUT + 500);
  await join(session);
});

test("a connection that breaks takes no other along", LIMIT, async () => {
  const neighbour = await Session.open(server, "websocket");
  await join(neighbour);
  const line = await Line.session(server, "/socket.io/");
  line.send("40", `4${ONE}`, Buffer.of(1), "4abc");
  await line.closed;
  await neighbour.send('2["message","still here"]');
  assert.equal(await next(neighbour), '2["message-back","still here"]');
  await neighbour.end();
});
