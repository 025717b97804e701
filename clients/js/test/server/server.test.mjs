// The client against a real server: `npm run test:server`, with the program that LONGWIRE names.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { WebSocket } from "ws";
import { Longwire } from "../../dist/longwire.js";
import { calls, state } from "../support/world.mjs";

const program = process.env.LONGWIRE ?? new URL("../../../../target/debug/longwire", import.meta.url).pathname;
const API_KEY = "a-key-for-the-client-tests";
let server;

/** Starts the server; where it listens. */
async function start(port = 0) {
  const child = spawn(program, ["serve", "--listen", `127.0.0.1:${port}`, "--ping-interval", "2s"], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, LONGWIRE_API_KEYS: API_KEY },
  });
  const found = new Promise((resolve, reject) => {
    for (const output of [child.stdout, child.stderr]) {
      createInterface({ input: output }).on("line", (line) => {
        const [, address] = /(?:http:\/\/|listening on |on )(127\.0\.0\.1:\d+)/i.exec(line) ?? [];
        if (address) resolve(address);
      });
    }
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
  });
  return { child, address: await found };
}

before(async () => {
  server = await start();
});
after(() => server.child.kill("SIGKILL"));

/** A client of the server, or of what stands before it. */
function client(t, { address = server.address, ...options } = {}) {
  const line = new Longwire(`ws://${address}`, { WebSocket, backoff: 20, backoffMax: 100, ...options });
  t.after(() => line.close());
  return line;
}

/** Something before the server that can cut what goes through it. */
async function proxy(t) {
  const pairs = new Set();
  const [host, port] = server.address.split(":");
  const between = createServer((near) => {
    const far = connect(Number(port), host);
    const pair = [near, far];
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      for (const socket of pair) socket.destroy();
    };
    for (const socket of pair) socket.on("error", end).on("close", end);
    near.pipe(far).pipe(near);
  });
  between.listen(0, "127.0.0.1");
  await once(between, "listening");
  const cut = () => {
    for (const socket of [...pairs].flat()) {
      // One that is being ended cannot be reset: Node 20 would never come to its own end.
      if (socket.writableEnded) socket.destroy();
      else socket.resetAndDestroy();
    }
  };
  t.after(() => {
    cut();
    between.close();
  });
  return { address: `127.0.0.1:${between.address().port}`, cut };
}

let count = 0;
const channel = (namespace) => `${namespace}:test-${process.pid}-${++count}`;

test("what one says another gets, with all that goes beside it", async (t) => {
  const [ann, bob] = [client(t, { info: { name: "Ann" } }), client(t)];
  const name = channel("chat");
  const got = calls();
  await bob.subscribe(name, { onPublication: got }).ready;
  const { epoch, offset, repeated } = await ann.publish(name, { text: "你好 🦀" }, { event: "e", tags: { a: "b" }, once: "1" });
  assert.deepEqual([offset, repeated, epoch.length], [1, false, 8]);
  assert.deepEqual(await ann.publish(name, { text: "again" }, { once: "1" }), { channel: name, epoch, offset: 1, repeated: true });
  await ann.publish(name, new Uint8Array([0, 255]));
  const [first] = await got.next();
  assert.deepEqual([first.data, first.event, first.tags, first.from.info], [{ text: "你好 🦀" }, "e", { a: "b" }, { name: "Ann" }]);
  const [second] = await got.next();
  assert.deepEqual([second.bytes, second.offset], [new Uint8Array([0, 255]), 2]);
  const { publications, head, more } = await bob.history(name, { limit: 1 });
  assert.deepEqual([publications.length, publications[0].offset, head, more], [1, 2, 2, true]);
});

test("who is there", async (t) => {
  const [ann, bob] = [client(t, { info: { name: "Ann" } }), client(t, { info: { name: "Bob" } })];
  const name = channel("chat");
  const members = calls();
  await ann.subscribe(name, { onMembers: (all) => members([...all.values()].map(({ info }) => info.name).sort()) }).ready;
  assert.deepEqual(await members.next(), [["Ann"]]);
  const there = bob.subscribe(name);
  assert.deepEqual(await members.next(), [["Ann", "Bob"]]);
  assert.equal((await ann.presence(name)).sessions, 2);
  await there.unsubscribe();
  assert.deepEqual(await members.next(), [["Ann"]]);
});

test("keys", async (t) => {
  const [ann, bob] = [client(t), client(t)];
  const name = channel("state");
  await ann.publish(name, 1, { key: "x" });
  await ann.publish(name, 2, { key: "y" });
  const told = calls();
  const { entries } = await ann.state(name);
  assert.deepEqual(entries.map(({ key, data }) => [key, data]), [["x", 1], ["y", 2]]);
  bob.subscribe(name, { onState: (all) => told(Object.fromEntries([...all].map(([key, { data }]) => [key, data]))) });
  assert.deepEqual(await told.next(), [{ x: 1, y: 2 }]);
  await ann.publish(name, undefined, { key: "x", remove: true });
  assert.deepEqual(await told.next(), [{ y: 2 }]);
});

test("a stream: live, late, cancelled", async (t) => {
  const [ann, bob, cat] = [client(t), client(t), client(t)];
  const name = channel("ai");
  const live = calls();
  await bob.subscribe(name, { onStream: (stream) => live(stream.text, stream.end, stream) }).ready;
  const writer = ann.stream(name);
  await writer.append("Es war ein");
  await writer.append("mal ein 🦀");
  const [, , stream] = await live.next();
  const late = calls();
  cat.subscribe(name, { onStream: ({ text, end }) => late(text, end) });
  await cat.presence(name).catch(() => {});
  await writer.append(", und");
  for (let text = ""; text !== "Es war einmal ein 🦀, und"; ) [text] = await late.next();
  const asked = once(writer.signal, "abort");
  await stream.cancel();
  await asked;
  await writer.stop();
  for (const told of [live, late]) {
    let now;
    do now = await told.next();
    while (!now[1]);
    assert.deepEqual(now.slice(0, 2), ["Es war einmal ein 🦀, und", "cancelled"]);
  }
});

for (const transports of [["websocket"], ["stream"], ["poll"], ["websocket", "stream", "poll"]]) {
  test(`${transports}: lines are cut again and again: every reader gets everything once and in order`, (t) => cutAgain(t, { transports }));
}

async function cutAgain(t, options) {
  const { address, cut } = await proxy(t);
  const name = channel("chat");
  const lines = Array.from({ length: 6 }, () => client(t, { address, climb: 200, ...options }));
  const writer = lines[0];
  const most = 2_000;
  let seen = 0;
  let cuts = 0;
  const some = calls();
  const counts = [];
  const readers = lines.slice(1).map(
    (line, reader) =>
      new Promise((resolve, reject) => {
        const got = [];
        line.subscribe(name, {
          onPublication({ data }) {
            counts[reader] = got.push(data);
            some();
            if (++seen % 300 === 0) {
              cuts++;
              cut();
            }
            if (data === most) resolve(got);
          },
          onMissed: ({ reason }) => reject(new Error(`missed: ${reason}`)),
          onError: reject,
        });
      }),
  );
  await Promise.all(lines.slice(1).map((line) => line.connect()));
  await Promise.all(lines.slice(1).map((line) => line.presence(name)));
  const all = Array.from({ length: most }, (_, index) => index + 1);
  let said = Promise.resolve();
  for (const number of all) {
    said = writer.publish(name, number);
    if (number % 20 === 0) await said;
    // The history has 1,000: nobody may be further behind.
    while (Math.min(...Array.from(readers, (_, reader) => counts[reader] ?? 0)) < number - 500) await some.next();
  }
  for (const got of await Promise.all(readers)) assert.deepEqual(got, all);
  assert.ok(cuts > 20, `${cuts} cuts`);
}

for (const transport of ["stream", "poll"]) {
  test(`${transport}: a line over HTTP ends as one over a WebSocket does`, async (t) => {
    const [line, other] = [client(t, { transports: [transport] }), client(t)];
    const name = channel("chat");
    const told = calls();
    await other.subscribe(name, { onLeave: () => told("leave") }).ready;
    await line.subscribe(name).ready;
    assert.equal(line.transport, transport);
    const closed = state(line, "closed");
    const { session } = line.connection;
    const answer = await fetch(`http://${server.address}/api/v1/disconnect`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-API-Key": API_KEY },
      body: JSON.stringify({ session }),
    });
    assert.equal(answer.status, 200);
    const { error } = await closed;
    assert.deepEqual([error.code, error.name], [3501, "disconnected"]);
    await told.next();
  });

  test(`${transport}: a WebSocket takes over, and to the others nobody has left`, async (t) => {
    let barred = true;
    class Barred extends WebSocket {
      constructor(...args) {
        if (barred) throw new Error("not yet");
        super(...args);
      }
    }
    const line = client(t, { transports: ["websocket", transport], climb: 20, WebSocket: Barred });
    const other = client(t);
    const name = channel("chat");
    const [got, told] = [calls(), calls()];
    await other.subscribe(name, { onLeave: () => told("leave") }).ready;
    const subscription = line.subscribe(name, { onPublication: ({ data }) => got(data), onMissed: assert.fail });
    await subscription.ready;
    const { session } = line.connection;
    assert.equal(line.transport, transport);
    line.on("error", assert.fail);
    line.on("state", ({ state }) => state === "lost" && assert.fail("it was lost"));
    barred = false;
    let said = 0;
    while (line.transport !== "websocket") await line.publish(name, ++said);
    await line.publish(name, ++said);
    for (let number = 1; number <= said; number++) assert.deepEqual(await got.next(), [number]);
    assert.deepEqual([line.connection.session, line.connection.resumed], [session, true]);
    await other.presence(name);
    assert.deepEqual(told.all, []);
  });
}

test("a session is taken up again: to the others it has not left", async (t) => {
  const { address, cut } = await proxy(t);
  const [ann, bob] = [client(t), client(t, { address, info: { name: "Bob" } })];
  const name = channel("chat");
  const told = calls();
  await ann.subscribe(name, { onJoin: () => told("join"), onLeave: () => told("leave") }).ready;
  await bob.subscribe(name).ready;
  while ((await told.next())[0] !== "join");
  const before = bob.connection.session;
  const open = state(bob, "open");
  cut();
  const { session, resumed } = await open;
  assert.deepEqual([session, resumed], [before, true]);
  bob.close();
  await ann.presence(name);
  assert.ok(!told.all.some(([what]) => what === "leave"));
});

test("errors of the server have their numbers", async (t) => {
  const line = client(t);
  await assert.rejects(line.publish("nowhere:x", 1), { code: 104, name: "unknown_namespace", retry: false, channel: "nowhere:x" });
  await assert.rejects(line.presence("live:x"), { code: 110, name: "not_enabled" });
  await assert.rejects(line.publish("", 1), { code: 103, name: "bad_channel" });
  await assert.rejects(line.subscribe("a\u0000b").ready, { name: "bad_channel" });
});

test("the server is killed and started again: clients come back, and are told what is gone", async (t) => {
  const name = channel("chat");
  // Not one that the system gives to whoever connects, or it could be taken while the server is away.
  const own = await start(20_000 + (process.pid % 10_000));
  t.after(() => own.child.kill("SIGKILL"));
  const line = client(t, { address: own.address });
  const [got, missed] = [calls(), calls()];
  line.subscribe(name, { onPublication: ({ data }) => got(data), onMissed: ({ reason }) => missed(reason) });
  await line.publish(name, "before");
  assert.deepEqual(await got.next(), ["before"]);
  const lost = state(line, "lost");
  const gone = once(own.child, "exit");
  own.child.kill("SIGKILL");
  await Promise.all([lost, gone]);
  const waiting = line.publish(name, "while it is away");
  const again = await start(Number(own.address.split(":")[1]));
  t.after(() => again.child.kill("SIGKILL"));
  await waiting;
  assert.deepEqual(await missed.next(), ["epoch"]);
  assert.deepEqual(await got.next(), ["while it is away"]);
});
