// Lines over HTTP: the order of requests, how they end, and that nothing is lost or doubled on the way.
import assert from "node:assert/strict";
import { test } from "node:test";
import { calls, connected, failure, settled, state } from "./support/world.mjs";

const poll = (t, options, greeting) => connected(t, { transports: ["poll"], ...options }, { ping: 0, ...greeting });
const stream = (t, options, greeting) => connected(t, { transports: ["stream"], ...options }, { ping: 0, ...greeting });
const HTTP = [["stream", stream], ["poll", poll]];

/** Waits until the client knows that its POST was taken. */
async function posted(clock, timers) {
  while (clock.waiting > timers) await new Promise(setImmediate);
}

test("a poll's line is made by the first command, and one poll follows another", async (t) => {
  const { first, line } = await poll(t, { info: 1 });
  assert.equal(first.url, "/v1/http");
  await first.polls.take();
  await settled(line, first);
  await first.polls.take();
  await first.polls.take();
  first.nothing();
  assert.equal(await first.polls.take(), "?wait=25");
  const kinds = first.requests.map((request) => request.split("?")[0]);
  assert.deepEqual([kinds[0], kinds.filter((kind) => kind === "POST").length], ["POST", 2]);
});

test("a poll waits no longer than the line may be silent", async (t) => {
  const { first } = await poll(t, {}, { ping: 10 });
  await first.polls.take();
  assert.equal(await first.polls.take(), "?wait=10");
});

for (const [transport, open] of HTTP) {
  test(`${transport}: one POST at a time; what is said meanwhile goes together with the next, in its order, as much as may`, async (t) => {
    const { line, first } = await open(t, {}, { max: 400 });
    first.holding = true;
    const publish = (name) => line.publish("a", name, { once: name });
    publish("0");
    const next = async () => (await first.receive()).map(({ data }) => data);
    assert.deepEqual(await next(), ["0"]);
    let answer = await first.held.take();
    // Each in a message of its own, while the POST before is on its way.
    for (const name of ["1", "2", "3", "4", "5", "6", "7", "8"]) {
      publish(name);
      await new Promise(setImmediate);
    }
    assert.equal(first.requests.filter((request) => request === "POST").length, transport === "poll" ? 2 : 2);
    const got = [];
    while (got.length < 8) {
      answer();
      const said = await first.messages.take();
      assert.ok(said.length <= 400 && (got.length > 0 || said.length > 330), `${said.length} bytes`);
      got.push(...said.split("\n").map((text) => JSON.parse(text).data));
      answer = await first.held.take();
    }
    assert.deepEqual(got, ["1", "2", "3", "4", "5", "6", "7", "8"]);
    answer();
  });

  test(`${transport}: close() lets go of the requests, and tells the server`, async (t) => {
    const { line, first, clock } = await open(t);
    if (transport === "poll") await first.polls.take();
    line.close();
    await first.closed;
    while (!first.requests.includes("DELETE")) await new Promise(setImmediate);
    assert.equal(clock.waiting, 0);
  });

  test(`${transport}: the DELETE outlives its page`, async (t) => {
    const asked = calls();
    const { line, first } = await open(t, { fetch: (url, init) => (asked(init), fetch(url, init)) });
    line.close();
    await first.closed;
    const [init] = asked.all.find(([{ method }]) => method === "DELETE");
    assert.equal(init.keepalive, true);
  });

  for (const [code, name, comes] of [[3500, "replaced", "closed"], [3501, "disconnected", "closed"], [3002, "slow_reader", "lost"], [1001, "connection_lost", "lost"]]) {
    test(`${transport}: close code ${code} arrives as from a WebSocket`, async (t) => {
      const { line, first, clock, peer } = await open(t);
      const next = state(line, comes);
      first.close(code, "because");
      const { error } = await next;
      assert.deepEqual([error.code, error.name], [code, name]);
      assert.match(error.message, /because/);
      assert.ok(!first.requests.includes("DELETE"), "the server knows");
      if (comes === "closed") return assert.equal(clock.waiting, 0);
      clock.advance(250);
      const { session } = await (await peer()).greet();
      assert.equal(session, "s1");
    });
  }

  test(`${transport}: an answer that is cut off ends the line, and nothing of what was cut is taken`, async (t) => {
    const { line, first, clock, peer } = await open(t);
    const got = calls();
    const subscription = line.subscribe("a", { onPublication: ({ data }) => got(data) });
    await first.subscribed();
    await subscription.ready;
    first.send({ type: "publication", channel: "a", offset: 1, time: 0, data: 1 });
    await got.next();
    if (transport === "poll") while (first.requests.at(-1) !== "GET?wait=25") await new Promise(setImmediate);
    await posted(clock, 0);
    const lost = state(line, "lost");
    first.cut();
    assert.deepEqual([(await lost).error.code, got.all.length], [1006, 1]);
    clock.advance(250);
    const second = await peer();
    assert.notEqual(second.id, first.id);
    assert.deepEqual([(await second.greet({ resumed: true })).key, (await second.subscribed()).offset], ["k1", 1]);
    await settled(line, second);
    assert.deepEqual(got.all, [[1]]);
  });

  test(`${transport}: a POST that the server does not take ends the line, and what it said is said again`, async (t) => {
    let broken = false;
    const { line, first, clock, peer } = await open(t, {
      fetch: async (url, init) => (broken && init.method === "POST" ? new Response('{"error":{"message":"no such line"}}', { status: 404 }) : fetch(url, init)),
    });
    broken = true;
    const published = line.publish("a", 1, { once: "k" });
    const { error } = await state(line, "lost");
    assert.match(error.message, /HTTP 404: no such line/);
    broken = false;
    await first.closed;
    clock.advance(250);
    const second = await peer();
    await second.greet({ resumed: true });
    const { id, once } = await second.command("publish");
    assert.equal(once, "k");
    second.send({ type: "published", id, channel: "a", epoch: "e", offset: 1 });
    await published;
  });

  test(`${transport}: a POST without an answer ends the line after thirty seconds`, async (t) => {
    const { line, first, clock } = await open(t);
    first.holding = true;
    line.publish("a", 1);
    await first.held.take();
    clock.advance(29_999);
    assert.equal(line.connection.state, "open");
    const lost = state(line, "lost");
    clock.advance(1);
    assert.match((await lost).error.message, /not answered/);
  });

  test(`${transport}: silence is asked about, and ends the line`, async (t) => {
    const { line, first, clock } = await open(t, {}, { ping: 20 });
    await posted(clock, 1);
    clock.advance(29_999);
    await settled(line, first);
    await posted(clock, 1);
    clock.advance(30_000);
    await first.command("ping");
    await posted(clock, 1);
    const failed = failure(line);
    clock.advance(10_000);
    assert.equal((await failed).name, "timeout");
  });
}

test("signs of life without a message keep the line", async (t) => {
  for (const [open, sign] of [[stream, (first) => first.bytes("\n")], [poll, (first) => first.nothing()]]) {
    const { first, line, clock } = await open(t, {}, { ping: 20 });
    if (open === poll) while ((await first.polls.take()) !== "?wait=20");
    await posted(clock, 1);
    clock.advance(29_999);
    sign(first);
    if (open === poll) await first.polls.take();
    else for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
    clock.advance(29_998);
    assert.deepEqual([line.connection.state, first.requests.filter((request) => request === "POST").length], ["open", 1]);
    clock.advance(2);
    await first.command("ping");
  }
});

test("a stream is read however it is cut into pieces", async (t) => {
  const { line, first } = await stream(t);
  const got = calls();
  const subscription = line.subscribe("a", { onPublication: ({ data }) => got(data) });
  await first.subscribed();
  await subscription.ready;
  const text = [1, 2, 3].map((offset) => `${JSON.stringify({ type: "publication", channel: "a", offset, time: 0, data: `🦀 ${offset}` })}\n`).join("\n");
  const bytes = Buffer.from(text);
  for (const byte of bytes) {
    first.bytes(Buffer.from([byte]));
    await new Promise(setImmediate);
  }
  for (const offset of [1, 2, 3]) assert.deepEqual(await got.next(), [`🦀 ${offset}`]);
});
