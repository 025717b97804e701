import assert from "node:assert/strict";
import { test } from "node:test";
import { WebSocket } from "ws";
import { Longwire } from "../dist/longwire.js";
import { calls, connected, failure, settled, state, world } from "./support/world.mjs";

test("the line is opened at /v1/ws with the subprotocol, and says who we are", async (t) => {
  const { first, connect } = await connected(t, { token: "me", info: { name: "Ann" } });
  assert.equal(first.url, "/v1/ws");
  assert.equal(first.protocol, "longwire.v1.json");
  assert.deepEqual(connect, { type: "connect", token: "me", info: { name: "Ann" } });
});

test("an address may have a path, and be relative to the page's server", async (t) => {
  const { url, peer } = await world(t);
  globalThis.location = { origin: url };
  t.after(() => delete globalThis.location);
  for (const [given, path] of [[undefined, "/v1/ws"], ["/", "/v1/ws"], ["/rt/ws?a=b", "/rt/ws?a=b"], [new URL(url.replace("http", "ws")), "/v1/ws"]]) {
    const line = new Longwire(given, { WebSocket });
    const { url: asked } = await peer();
    line.close();
    assert.equal(asked, path);
  }
});

test("states are told in their order", async (t) => {
  const { client, peer, clock } = await world(t);
  const line = client();
  const states = calls();
  line.on("state", states);
  assert.deepEqual(line.connection, { state: "closed" });
  const first = await peer();
  assert.deepEqual(await states.next(), [{ state: "connecting", attempt: 0, transport: "websocket" }]);
  await first.greet({ user: "ann" });
  assert.deepEqual(await states.next(), [{ state: "open", session: "s1", resumed: false, transport: "websocket", user: "ann" }]);
  first.close(1001, "restart");
  const [{ error, ...lost }] = await states.next();
  assert.deepEqual(lost, { state: "lost", attempt: 1, next: clock.time + 250 });
  assert.deepEqual([error.code, error.name, error.retry], [1001, "connection_lost", true]);
  line.close();
  assert.deepEqual(await states.next(), [{ state: "closed" }]);
  assert.equal(clock.waiting, 0);
});

test("nothing is opened before connect() if so wanted, or after close()", async (t) => {
  const { client, peer } = await world(t);
  const unwanted = client();
  unwanted.close();
  const line = client({ connect: false });
  assert.equal(line.connection.state, "closed");
  const published = line.publish("a", 1);
  const open = line.connect();
  const first = await peer();
  await first.greet();
  await open;
  const { id } = await first.command("publish");
  first.send({ type: "published", id, channel: "a", epoch: "e", offset: 1 });
  assert.deepEqual(await published, { channel: "a", epoch: "e", offset: 1, repeated: false });
  assert.equal(unwanted.connection.state, "closed");
  await assert.rejects(unwanted.publish("a", 1), { name: "closed", code: 0, retry: false });
});

test("close() ends the WebSocket with 1000, and connect() takes the session up again", async (t) => {
  const { line, first, peer } = await connected(t);
  line.close();
  assert.equal((await first.closed).code, 1000);
  await assert.rejects(line.history("a"), { name: "closed" });
  const open = line.connect();
  const second = await peer();
  const connect = await second.greet({ resumed: true });
  assert.deepEqual([connect.session, connect.key], ["s1", "k1"]);
  await open;
  assert.equal(line.connection.resumed, true);
});

test("waits double up to the longest, with full jitter", async (t) => {
  const { client, clock } = await world(t);
  class Refused {
    constructor() {
      queueMicrotask(() => this.onclose({ code: 1006, reason: "" }));
    }
    close() {}
  }
  const line = client({ WebSocket: Refused, backoff: 100, backoffMax: 1000 });
  const waits = [];
  for (const chance of [0.5, 0.5, 0, 0.5, 0.999, 0.5, 0.25]) {
    clock.chance = chance;
    const { next } = await state(line, "lost");
    waits.push(next - clock.time);
    clock.advance(next - clock.time);
  }
  assert.deepEqual(waits, [50, 100, 0, 400, 999, 500, 250]);
});

test("a line that stood begins the back-off anew, one that fell at once does not", async (t) => {
  const { line, first, peer, clock } = await connected(t);
  let lost = state(line, "lost");
  first.cut();
  assert.equal((await lost).attempt, 1);
  clock.advance(250);
  const second = await peer();
  let open = state(line, "open");
  await second.greet();
  await open;
  lost = state(line, "lost");
  second.cut();
  assert.equal((await lost).attempt, 2);
  clock.advance(500);
  const third = await peer();
  open = state(line, "open");
  await third.greet();
  await open;
  clock.advance(5_000);
  lost = state(line, "lost");
  third.cut();
  assert.equal((await lost).attempt, 1);
});

for (const [what, happens] of [
  ["the network", ({ window }) => window.dispatchEvent(new Event("online"))],
  ["the page", ({ document }) => document.dispatchEvent(new Event("visibilitychange"))],
]) {
  test(`when ${what} is back, a lost line is attempted at once`, async (t) => {
    const { line, first, peer, clock } = await connected(t);
    const lost = state(line, "lost");
    first.cut();
    await lost;
    happens(clock);
    const second = await peer();
    await second.greet();
    assert.equal(clock.time, 1_000_000);
  });
}

test("a page that is hidden changes nothing", async (t) => {
  const { line, first, clock } = await connected(t);
  const lost = state(line, "lost");
  first.cut();
  await lost;
  clock.document.visibilityState = "hidden";
  clock.document.dispatchEvent(new Event("visibilitychange"));
  assert.equal(line.connection.state, "lost");
});

test("it works without a page and without a window, as in Node and in workers", async (t) => {
  const { line } = await connected(t, { environment: { window: undefined, document: undefined } });
  assert.equal(line.connection.state, "open");
});

for (const [code, name] of [[3500, "replaced"], [3501, "disconnected"], [3502, "bad_protocol"], [4000, "connection_lost"]]) {
  test(`close code ${code} is the end`, async (t) => {
    const { line, first, clock } = await connected(t);
    const waiting = line.history("a");
    await first.command("history");
    const closed = state(line, "closed");
    first.close(code);
    const { error } = await closed;
    assert.deepEqual([error.code, error.name, error.retry], [code, name, false]);
    await assert.rejects(waiting, { code, name });
    await assert.rejects(line.publish("a", 1), { code, name });
    assert.equal(clock.waiting, 0);
  });
}

for (const code of [1000, 1001, 1011, 3000, 3002, 3005, 3499]) {
  test(`after close code ${code} it comes back`, async (t) => {
    const { line, first, peer, clock } = await connected(t);
    const lost = state(line, "lost");
    first.close(code);
    assert.equal((await lost).error.code, code);
    clock.advance(250);
    await (await peer()).greet();
  });
}

test("a server that does not answer in time is given up", async (t) => {
  const { client, peer, clock } = await world(t);
  const line = client({ timeout: 3_000 });
  const first = await peer();
  await first.command("connect");
  const lost = state(line, "lost");
  clock.advance(2_999);
  assert.equal(line.connection.state, "connecting");
  clock.advance(1);
  assert.equal((await lost).error.name, "timeout");
  await first.closed;
});

test("the token's callback may take longer than the time there is, and is not waited for", async (t) => {
  const { client, clock, peer } = await world(t);
  const asked = calls();
  const line = client({ token: () => new Promise((resolve) => asked(resolve)) });
  const [late] = await asked.next();
  const lost = state(line, "lost");
  clock.advance(10_000);
  assert.equal((await lost).error.name, "timeout");
  clock.advance(250);
  const [resolve] = await asked.next();
  resolve("second");
  late("first");
  assert.equal((await (await peer()).greet()).token, "second");
});

test("silence is answered with a ping a bit before the server would, and an answer is enough", async (t) => {
  const { line, first, clock } = await connected(t, {}, { ping: 20 });
  clock.advance(17_999);
  await settled(line, first);
  clock.advance(17_999);
  await settled(line, first);
  clock.advance(18_000);
  assert.deepEqual(await first.receive(), [{ type: "ping" }]);
  first.send({ type: "pong" });
  await settled(line, first);
  clock.advance(10_000);
  assert.equal(line.connection.state, "open");
  clock.advance(8_000);
  assert.deepEqual(await first.receive(), [{ type: "ping" }]);
});

test("a line on which nothing comes after a ping is given up, without waiting for its end", async (t) => {
  const { line, first, clock, peer } = await connected(t);
  clock.advance(18_000);
  await first.command("ping");
  clock.advance(9_999);
  assert.equal(line.connection.state, "open");
  const failed = failure(line);
  clock.advance(1);
  assert.equal(line.connection.state, "lost");
  assert.equal((await failed).name, "timeout");
  clock.advance(250);
  await (await peer()).greet();
});

test("a server that wants no pings gets none", async (t) => {
  const { clock } = await connected(t, {}, { ping: 0 });
  assert.equal(clock.waiting, 0);
});

test("when the page is back after a long silence, the line is tried", async (t) => {
  const { first, clock } = await connected(t);
  clock.advance(10_001);
  clock.document.dispatchEvent(new Event("visibilitychange"));
  await first.command("ping");
});

test("a closed line listens to nothing", async (t) => {
  const listening = new Set();
  const target = (name) => ({
    visibilityState: "visible",
    addEventListener: (type) => listening.add(`${name} ${type}`),
    removeEventListener: (type) => listening.delete(`${name} ${type}`),
  });
  const { line } = await connected(t, { environment: { window: target("window"), document: target("document") } });
  assert.deepEqual([...listening], ["window online", "window offline", "document visibilitychange"]);
  line.close();
  assert.deepEqual([...listening], []);
});

test("no WebSocket is said at once, or when it is wanted", async () => {
  assert.equal(globalThis.WebSocket, undefined, "this test is of a Node without one");
  const transports = ["websocket"];
  assert.throws(() => new Longwire("ws://127.0.0.1:1", { transports }), { name: "no_websocket" });
  const line = new Longwire("ws://127.0.0.1:1", { transports, connect: false });
  await assert.rejects(line.connect(), { name: "no_websocket", retry: false });
  assert.equal(line.connection.state, "closed");
});

test("a refused connection is told with what the WebSocket says", async (t) => {
  const { clock } = await world(t);
  const line = new Longwire("ws://127.0.0.1:1", { WebSocket, transports: ["websocket"], environment: clock.environment });
  const { error } = await state(line, "lost");
  assert.equal(error.code, 1006);
  assert.match(error.message, /ECONNREFUSED/);
  line.close();
});

test("what a handler throws is its own affair, and does not stop the line", async (t) => {
  const { line, first } = await connected(t);
  const thrown = new Promise((resolve) => {
    const before = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    process.once("uncaughtException", (error) => {
      for (const listener of before) process.on("uncaughtException", listener);
      resolve(error);
    });
  });
  const stop = line.on("state", () => {
    stop();
    throw new Error("mine");
  });
  const lost = state(line, "lost");
  first.cut();
  assert.equal((await thrown).message, "mine");
  assert.equal((await lost).state, "lost");
});

// A dead line.

for (const [what, happens] of [
  ["the clock is set back", (clock) => (clock.set -= 3_600_000)],
  ["the clock is set ahead", (clock) => (clock.set += 3_600_000)],
  ["the page is hidden and shown again and again", (clock) => clock.document.dispatchEvent(new Event("visibilitychange"))],
  ["the network is told to be there again and again", (clock) => clock.window.dispatchEvent(new Event("online"))],
]) {
  test(`a dead line is noticed within the ping interval and the time-out, although ${what}`, async (t) => {
    const { line, clock } = await connected(t);
    clock.advance(5_000);
    for (let second = 0; second < 28; second++) {
      happens(clock);
      clock.advance(1_000);
    }
    // Heard at 0; asked at 18 s at the latest, and given up 10 s later.
    assert.notEqual(line.connection.state, "open");
  });
}

test("a clock that is set back does not put off the pings of a line that is good", async (t) => {
  const { line, first, clock } = await connected(t);
  for (let round = 0; round < 3; round++) {
    clock.set -= 3_600_000;
    clock.advance(18_000);
    await first.command("ping");
    first.send({ type: "pong" });
    await settled(line, first);
  }
  assert.equal(line.connection.state, "open");
});

test("when the network is gone the line is lost at once, and attempted at once when it is back, with short waits", async (t) => {
  const { line, clock, peer } = await connected(t);
  const lost = state(line, "lost");
  clock.window.dispatchEvent(new Event("offline"));
  assert.deepEqual([(await lost).error.name, (await lost).attempt], ["connection_lost", 1]);
  // Attempts go on: who says that there is no network may be wrong.
  clock.advance(250);
  await (await peer()).command("connect");
  clock.window.dispatchEvent(new Event("offline"));
  assert.equal(line.connection.state, "lost");
  assert.equal(line.connection.attempt, 2);
  clock.window.dispatchEvent(new Event("online"));
  assert.deepEqual([line.connection.state, line.connection.attempt], ["connecting", 0]);
  await (await peer()).greet();
});

test("another network while a line is being opened: what was begun on the one before is not waited for", async (t) => {
  const { client, peer, clock } = await world(t);
  client();
  await (await peer()).command("connect");
  clock.window.dispatchEvent(new Event("online"));
  clock.advance(0);
  await (await peer()).greet();
});

test("when the network changes, a line that stands has to answer soon", async (t) => {
  const { line, first, clock } = await connected(t);
  clock.window.dispatchEvent(new Event("online"));
  await first.command("ping");
  first.send({ type: "pong" });
  await settled(line, first);
  clock.advance(5_000);
  assert.equal(line.connection.state, "open");
  clock.window.dispatchEvent(new Event("online"));
  clock.advance(4_999);
  assert.equal(line.connection.state, "open");
  clock.advance(1);
  assert.equal(line.connection.state, "lost");
});

test("while the page is looked at waits are short, for a while, and not if the server has asked for patience", async (t) => {
  const { client, clock, peer } = await world(t);
  clock.chance = 0.999;
  class Refused {
    constructor() {
      queueMicrotask(() => this.onclose({ code: 1006, reason: "" }));
    }
    close() {}
  }
  const waits = async (line) => {
    const all = [];
    for (let attempt = 0; attempt < 25; attempt++) {
      const { next } = await state(line, "lost");
      all.push(Math.round((next - clock.time) / 1000));
      clock.advance(next - clock.time);
    }
    line.close();
    return all;
  };
  const seen = await waits(client({ WebSocket: Refused }));
  assert.deepEqual(seen.slice(2), [2, ...Array(17).fill(3), ...Array(5).fill(20)]);
  clock.document.visibilityState = "hidden";
  assert.deepEqual((await waits(client({ WebSocket: Refused }))).slice(2, 8), [2, 4, 8, 16, 20, 20]);
  clock.document.visibilityState = "visible";
  const line = client();
  const patient = [];
  for (let attempt = 0; attempt < 5; attempt++) {
    const refusing = await peer();
    const { id } = await refusing.command("connect");
    const lost = state(line, "lost");
    refusing.send({ type: "error", id, code: 130, name: "overloaded", retry: true });
    patient.push(Math.round(((await lost).next - clock.time) / 1000));
    clock.advance((await lost).next - clock.time);
  }
  assert.deepEqual(patient.slice(2), [2, 4, 8]);
});

// WebSockets of other makes.

test("a close without a code is a line that was cut", async (t) => {
  const { client, peer, clock } = await world(t);
  class Silent extends WebSocket {
    set onclose(handler) {
      super.onclose = () => handler({});
    }
  }
  const line = client({ WebSocket: Silent });
  const first = await peer();
  await first.greet();
  const lost = state(line, "lost");
  first.close(1001);
  assert.equal((await lost).error.code, 1006);
  clock.advance(250);
  await (await peer()).greet();
});

test("a constructor that throws is attempted again, unless the address is wrong or the page may not", async (t) => {
  const { client, peer, clock } = await world(t);
  let thrown = new Error("ERR_NAME_NOT_RESOLVED");
  class Throwing {
    constructor(...all) {
      if (thrown) throw thrown;
      return new WebSocket(...all);
    }
  }
  const line = client({ WebSocket: Throwing });
  assert.equal((await state(line, "lost")).error.message, thrown.message);
  thrown = undefined;
  clock.advance(250);
  const first = await peer();
  const open = state(line, "open");
  await first.greet();
  await open;
  for (const name of ["SyntaxError", "SecurityError"]) {
    thrown = Object.assign(new Error("no"), { name });
    assert.equal((await state(client({ WebSocket: Throwing }), "closed")).error.message, "no");
  }
});

test("an address without a scheme is refused, with what to do", () => {
  for (const address of ["localhost:8000", "example.org:8000/v1/ws", "127.0.0.1:8000", "localhost", "ftp://example.org", "ws://"]) {
    assert.throws(() => new Longwire(address, { WebSocket }), { name: "bad_address", message: /ws:\/\/HOST/, retry: false }, address);
  }
  assert.throws(() => new Longwire("ws://example.org", { WebSocket, http: "ftp://example.org" }), { name: "bad_address" });
  globalThis.location = { origin: "https://example.org" };
  try {
    for (const address of ["localhost:8000", "127.0.0.1:8000"]) {
      assert.throws(() => new Longwire(address, { WebSocket }), { name: "bad_address" });
    }
  } finally {
    delete globalThis.location;
  }
});

test("who is told, and stops another from listening, has it not told", async (t) => {
  const { line, first } = await connected(t);
  const told = calls();
  line.on("state", () => stop());
  const stop = line.on("state", told);
  const lost = state(line, "lost");
  first.cut();
  await lost;
  assert.deepEqual(told.all, []);
});

test("the clock that is used where none is given counts what the machine has slept", async (t) => {
  const { peer, url, clock } = await world(t);
  const { now } = Date;
  const { environment } = clock;
  let slept = 0;
  Date.now = () => now() + slept;
  t.after(() => (Date.now = now));
  const line = new Longwire(url, { WebSocket, transports: ["websocket"], environment: { random: environment.random } });
  t.after(() => line.close());
  const first = await peer();
  await first.greet();
  line.publish("a", 1);
  await first.command("publish");
  slept = 60_000;
  first.cut();
  const second = await peer();
  await second.greet();
  const { age } = await second.command("publish");
  assert.ok(age > 60_000 && age < 200_000, String(age));
  // What goes back is no time that has not passed.
  slept = -3_600_000;
  second.cut();
  const third = await peer();
  await third.greet();
  assert.ok((await third.command("publish")).age >= age);
});
