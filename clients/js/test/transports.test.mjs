// Which transport carries the line: what is attempted when one fails, what is remembered, and how a better one takes over.
import assert from "node:assert/strict";
import { test } from "node:test";
import { WebSocket } from "ws";
import { Longwire } from "../dist/longwire.js";
import { calls, failure, settled, state, world } from "./support/world.mjs";

const ALL = ["websocket", "stream", "poll"];
const START = 1_000_000;

/** A client of all transports that is open on one of them, and its peer. */
async function on(t, transport, options = {}, greeting = { ping: 0 }) {
  const all = await world(t);
  for (const better of ALL.slice(0, ALL.indexOf(transport))) all.network[better] = "refuse";
  const line = all.client({ transports: ALL, ...options });
  const first = await all.peer();
  const open = state(line, "open");
  await first.greet(greeting);
  await open;
  assert.deepEqual([first.transport, line.transport], [transport, transport]);
  for (let tried; tried !== transport; ) tried = await all.attempt();
  return { ...all, line, first };
}

/** What a page's storage has. */
function storage(entries = {}) {
  const map = new Map(Object.entries(entries));
  return { map, getItem: (key) => map.get(key) ?? null, setItem: (key, value) => map.set(key, value), removeItem: (key) => map.delete(key) };
}

test("where a WebSocket can be had it is used, and HTTP is not asked", async (t) => {
  const { line, attempt } = await on(t, "websocket");
  const next = attempt();
  assert.equal(await Promise.race([next, settledSoon(line)]), "nothing");
});

/** Resolves when whatever the client does at once is done. */
async function settledSoon() {
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  return "nothing";
}

for (const [what, options, how] of [
  ["is refused", {}, "refuse"],
  ["cannot be made", { WebSocket: class { constructor() { throw new Error("not here"); } } }, "open"],
  ["is not there", { WebSocket: undefined }, "open"],
]) {
  test(`a WebSocket that ${what}: the stream is there at once`, async (t) => {
    const { client, network, peer, clock } = await world(t);
    network.websocket = how;
    const line = client({ transports: ALL, ...options });
    const open = state(line, "open");
    await (await peer()).greet();
    assert.equal((await open).transport, "stream");
    assert.equal(line.transport, "stream");
    assert.equal(clock.time, START);
  });
}

test("neither WebSocket nor stream: polls are there at once, and each failure is told", async (t) => {
  const { client, network, peer, clock } = await world(t);
  network.websocket = network.stream = "refuse";
  const line = client({ transports: ALL });
  const states = calls();
  line.on("state", ({ state, transport, error }) => states(state, transport, error?.name));
  const first = await peer();
  assert.equal(first.url, "/v1/http");
  await first.greet();
  assert.deepEqual(await states.next(), ["connecting", "websocket", undefined]);
  assert.deepEqual(await states.next(), ["connecting", "stream", "connection_lost"]);
  assert.deepEqual(await states.next(), ["connecting", "poll", "connection_lost"]);
  assert.deepEqual(await states.next(), ["open", "poll", undefined]);
  assert.equal(clock.time, START);
});

test("a WebSocket that is neither opened nor refused is given up after five seconds", async (t) => {
  const { client, network, attempt, peer, clock } = await world(t);
  network.websocket = "hang";
  const line = client({ transports: ALL });
  assert.equal(await attempt(), "websocket");
  clock.advance(4_999);
  assert.equal(line.connection.transport, "websocket");
  const failed = failure(line);
  clock.advance(1);
  assert.equal((await failed).name, "timeout");
  assert.equal((await peer()).transport, "stream");
});

test("so is one that opens, and over which nothing comes back", async (t) => {
  const { client, peer, clock } = await world(t);
  client({ transports: ALL, openTimeout: 2_000 });
  const mute = await peer();
  await mute.command("connect");
  clock.advance(2_000);
  assert.equal((await peer()).transport, "stream");
  await mute.closed;
});

test("a stream that does not begin is given up for polls, and so is one over which nothing comes back", async (t) => {
  for (const how of ["hang", "open"]) {
    const { client, network, attempt, peer, clock } = await world(t);
    network.stream = how;
    client({ transports: ["stream", "poll"] });
    await attempt();
    if (how === "open") await (await peer()).command("connect");
    clock.advance(5_000);
    assert.equal((await peer()).transport, "poll");
  }
});

test("a page of some proxy in the place of the stream is no line", async (t) => {
  const { client, network, peer } = await world(t);
  network.stream = "page";
  const line = client({ transports: ["stream", "poll"] });
  const failed = failure(line);
  assert.equal((await peer()).transport, "poll");
  assert.match((await failed).message, /not a Longwire server/);
});

test("where answers cannot be read before their end, polls are used", async (t) => {
  const { client, peer } = await world(t);
  const bodiless = async (url, init) => Object.defineProperty(await fetch(url, init), "body", { value: null });
  const line = client({ transports: ["stream", "poll"], fetch: (url, init) => (String(url).includes("stream") ? bodiless(url, init) : fetch(url, init)) });
  const open = state(line, "open");
  const stream = await peer();
  assert.equal(stream.transport, "stream");
  await (await peer()).greet();
  assert.equal((await open).transport, "poll");
});

test("when nothing works one waits; then what is best is attempted alone, then with the others", async (t) => {
  const { client, network, attempt, clock } = await world(t);
  for (const transport of ALL) network[transport] = "refuse";
  const line = client({ transports: ALL, backoff: 100 });
  for (const round of [ALL, ["websocket"], ALL, ["websocket"]]) {
    const lost = state(line, "lost");
    for (const transport of round) assert.equal(await attempt(), transport);
    const { next, error } = await lost;
    assert.ok(next > clock.time);
    assert.match(error.message, round.length > 1 ? /HTTP 503: no place/ : /400/);
    clock.advance(next - clock.time);
  }
});

test("what the server refuses is not the transport's fault", async (t) => {
  const { client, peer, clock } = await world(t);
  const line = client({ transports: ALL });
  for (const transport of ["websocket", "websocket", "websocket"]) {
    const first = await peer();
    assert.equal(first.transport, transport);
    const lost = state(line, "lost");
    await first.command("connect");
    first.send({ type: "error", code: 130, name: "overloaded", retry: true, message: "later" });
    clock.advance((await lost).next - clock.time);
  }
});

test("what worked is attempted again when it drops; after two failures the others are", async (t) => {
  const { line, first, network, attempt, clock, peer } = await on(t, "websocket");
  clock.advance(10_000);
  network.websocket = "refuse";
  let lost = state(line, "lost");
  first.cut();
  for (let round = 0; round < 2; round++) {
    clock.advance((await lost).next - clock.time);
    lost = state(line, "lost");
    assert.equal(await attempt(), "websocket");
  }
  assert.equal(await attempt(), "stream");
  const second = await peer();
  const connect = await second.greet({ resumed: true });
  assert.deepEqual([connect.session, connect.key], ["s1", "k1"]);
});

test("a WebSocket that is cut as soon as it is open is as one that cannot be opened", async (t) => {
  const { first, clock, peer } = await on(t, "websocket", { transports: ["websocket", "poll"] });
  first.cut();
  assert.equal((await peer()).transport, "poll");
  assert.equal(clock.time, START);
});

test("so is one that once stood, when it is cut so twice", async (t) => {
  const { line, first, clock, peer } = await on(t, "websocket", { transports: ["websocket", "poll"] });
  clock.advance(2_000);
  let last = first;
  for (const next of ["websocket", "websocket", "poll"]) {
    const over = Promise.race([state(line, "lost"), state(line, "connecting")]);
    last.cut();
    const { state: now, next: at } = await over;
    assert.equal(now, next === "poll" ? "connecting" : "lost");
    if (now === "lost") clock.advance(at - clock.time);
    last = await peer();
    assert.equal(last.transport, next);
    const open = state(line, "open");
    await last.greet({ ping: 0 });
    await open;
  }
});

test("a server that ends its lines with a word is not taken for a network that does", async (t) => {
  const { line, first, clock, peer } = await on(t, "websocket");
  const lost = state(line, "lost");
  first.close(1001);
  clock.advance((await lost).next - clock.time);
  assert.equal((await peer()).transport, "websocket");
});

// Remembering.

test("what worked is remembered for the next page, for an hour", async (t) => {
  const pages = storage();
  const { line, url, client, peer, clock, network } = await on(t, "poll", { environment: { storage: pages } });
  line.close();
  assert.deepEqual([...pages.map], [[`longwire:${url.replace("http", "ws")}/v1/ws`, `poll ${START + 3_600_000}`]]);
  network.websocket = network.stream = "open";
  clock.advance(3_599_999);
  client({ transports: ALL, environment: { storage: pages } }).on("error", assert.fail);
  assert.equal((await peer()).transport, "poll");
  clock.advance(1);
  const again = client({ transports: ALL, environment: { storage: pages } });
  const third = await peer();
  assert.equal(third.transport, "websocket");
  const open = state(again, "open");
  await third.greet();
  await open;
  assert.equal(pages.map.size, 0, "the best need not be remembered");
});

test("what was remembered and does not work any more: the others are attempted at once", async (t) => {
  const { client, url, network, peer, clock } = await world(t);
  const pages = storage({ [`longwire:${url.replace("http", "ws")}/v1/ws`]: `poll ${START + 1}` });
  network.poll = "refuse";
  client({ transports: ALL, environment: { storage: pages } });
  assert.equal((await peer()).transport, "websocket");
  assert.equal(clock.time, START);
});

test("a storage that is broken, or says what is not so, does no harm", async (t) => {
  const { client, url, peer } = await world(t);
  const key = `longwire:${url.replace("http", "ws")}/v1/ws`;
  const throws = () => {
    throw new Error("forbidden");
  };
  for (const pages of [
    { getItem: throws, setItem: throws, removeItem: throws },
    ...["", "{", "poll", "poll x", `pigeon ${START + 1}`, `poll ${START + 1e9}`, `poll ${START}`].map((text) => storage({ [key]: text })),
  ]) {
    const line = client({ transports: ALL, environment: { storage: pages } });
    const first = await peer();
    assert.equal(first.transport, "websocket");
    const open = state(line, "open");
    await first.greet();
    await open;
  }
});

// Climbing.

test("after a while a better transport takes over: what was on its way comes again, or is said again, once", async (t) => {
  const { line, first, network, clock, peer } = await on(t, "poll", { climb: 60_000 });
  const [states, got] = [calls(), []];
  line.on("state", states);
  line.on("error", assert.fail);
  const subscription = line.subscribe("a", { onPublication: ({ data }) => got.push(data) });
  await first.subscribed();
  first.send({ type: "publication", channel: "a", offset: 1, time: 0, data: "one" });
  await subscription.ready;
  await settled(line, first);
  const published = line.publish("a", "two");
  const asked = await first.command("publish");
  while (clock.waiting > 1) await new Promise(setImmediate); // until the POST is answered
  network.websocket = "open";
  clock.advance(60_000);
  const second = await peer();
  assert.equal(second.transport, "websocket");
  const connect = await second.command("connect");
  assert.deepEqual([connect.session, connect.key], ["s1", "k1"]);
  assert.equal(line.transport, "poll", "until it has been answered");
  first.close(3500, "replaced");
  second.send({ type: "connected", session: "s1", key: "k2", resumed: true, ping: 0, keep: 60, max: 65536 });
  assert.equal((await second.subscribed({ offset: 1, recovered: true })).offset, 1);
  const again = await second.command("publish");
  assert.deepEqual([again.once, again.data], [asked.once, "two"]);
  second.send({ type: "published", id: again.id, channel: "a", epoch: "e1", offset: 2, repeated: true });
  second.send({ type: "publication", channel: "a", offset: 2, time: 0, data: "two" });
  assert.equal((await published).repeated, true);
  await settled(line, second);
  assert.deepEqual(got, ["one", "two"]);
  assert.deepEqual(states.all, [[{ state: "open", session: "s1", resumed: true, transport: "websocket" }]]);
  assert.ok(!first.requests.includes("DELETE"), "the server has ended the old line itself");
});

test("from polls it is up to the stream if no WebSocket can be had", async (t) => {
  const { line, network, clock, peer, attempt } = await on(t, "poll");
  network.stream = "open";
  const open = state(line, "open");
  clock.advance(60_000);
  assert.equal(await attempt(), "websocket");
  assert.equal(await attempt(), "stream");
  await (await peer()).greet({ resumed: true });
  assert.equal((await open).transport, "stream");
});

test("attempts to climb are silent, and come after waits that double up to ten times the first", async (t) => {
  const { line, clock, attempt } = await on(t, "stream", { climb: 1_000 });
  const stops = [line.on("state", assert.fail), line.on("error", assert.fail)];
  for (const wait of [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]) {
    clock.advance(wait - 1);
    assert.equal(clock.waiting, 1);
    clock.advance(1);
    assert.equal(await attempt(), "websocket");
    while (clock.waiting !== 1 || clock.times[0] !== clock.time + Math.min(10_000, 2 * wait)) await new Promise(setImmediate);
  }
  for (const stop of stops) stop();
});

test("when the network comes back, a better transport is attempted at once", async (t) => {
  const { network, clock, peer } = await on(t, "stream");
  network.websocket = "open";
  clock.window.dispatchEvent(new Event("online"));
  clock.advance(0);
  assert.equal((await peer()).transport, "websocket");
});

test("and if the line was lost meanwhile, as soon as there is one", async (t) => {
  const { line, first, network, clock, peer } = await on(t, "poll");
  clock.advance(10_000);
  const lost = state(line, "lost");
  first.cut();
  await lost;
  network.websocket = "open";
  clock.window.dispatchEvent(new Event("online"));
  const second = await peer();
  assert.equal(second.transport, "poll", "what worked last");
  const open = state(line, "open");
  await second.greet({ ping: 0 });
  await open;
  clock.advance(0);
  assert.equal((await peer()).transport, "websocket");
});

test("climb: 0 stays where it is", async (t) => {
  const { line, first, clock } = await on(t, "stream", { climb: 0 });
  clock.window.dispatchEvent(new Event("online"));
  await first.command("ping");
  first.send({ type: "pong" });
  await settled(line, first);
  assert.equal(clock.waiting, 0);
});

test("a better transport that takes the session and then falls silent: the line comes back as it was", async (t) => {
  const { line, first, network, clock, peer } = await on(t, "poll", { transports: ["websocket", "poll"] });
  network.websocket = "open";
  clock.advance(60_000);
  const second = await peer();
  await second.command("connect");
  const waiting = line.publish("a", 1);
  await first.command("publish");
  const lost = state(line, "lost");
  first.close(3500, "replaced");
  await first.polls.take();
  await settledSoon();
  assert.equal(line.connection.state, "open");
  clock.advance(5_000);
  await lost;
  clock.advance(0);
  const third = await peer();
  assert.equal(third.transport, "poll");
  await third.greet({ resumed: true });
  const { id } = await third.command("publish");
  third.send({ type: "published", id, channel: "a", epoch: "e1", offset: 1 });
  await waiting;
});

test("a greeting that went astray may replace a line a little later: that is no reason to stay away", async (t) => {
  for (const late of [59_999, 60_000]) {
    const { line, first, network, clock, peer } = await on(t, "poll", { transports: ["websocket", "poll"], climb: 1_000 });
    network.websocket = "open";
    clock.advance(1_000);
    await (await peer()).command("connect");
    network.websocket = "refuse";
    clock.advance(5_000); // given up
    const after = Promise.race([state(line, "lost"), state(line, "closed")]);
    while (clock.waiting !== 1) await new Promise(setImmediate);
    clock.time += late;
    first.close(3500, "replaced");
    assert.equal((await after).state, late < 60_000 ? "lost" : "closed");
    line.close();
  }
});

test("an operator's word on the old line counts while another is climbing", async (t) => {
  const { line, first, network, clock, peer } = await on(t, "stream");
  network.websocket = "open";
  clock.advance(60_000);
  const second = await peer();
  await second.command("connect");
  const closed = state(line, "closed");
  first.close(3501, "go away");
  assert.equal((await closed).error.name, "disconnected");
  await second.closed;
  assert.equal(clock.waiting, 0);
});

test("a line that is lost while another climbs but has not asked yet comes back as always", async (t) => {
  const { line, first, network, clock, attempt, peer } = await on(t, "poll", { transports: ["websocket", "poll"] });
  network.websocket = "hang";
  clock.advance(60_000);
  await attempt();
  const lost = state(line, "lost");
  first.cut();
  clock.advance((await lost).next - clock.time);
  assert.equal((await peer()).transport, "poll");
});

test("a server that refuses the climber keeps the line as it is", async (t) => {
  const { line, first, network, clock, peer } = await on(t, "stream");
  line.on("error", assert.fail);
  network.websocket = "open";
  clock.advance(60_000);
  const second = await peer();
  await second.command("connect");
  second.send({ type: "error", code: 130, name: "overloaded", retry: true, message: "later" });
  await second.closed;
  await settled(line, first);
  assert.equal(line.transport, "stream");
});

test("a better transport that is cut at once is left again for the one before it", async (t) => {
  const { line, network, clock, peer } = await on(t, "stream");
  network.websocket = "open";
  clock.advance(60_000);
  let open = state(line, "open");
  const second = await peer();
  await second.greet({ resumed: true, ping: 0 });
  await open;
  open = state(line, "open");
  second.cut();
  await (await peer()).greet({ resumed: true, ping: 0 });
  assert.equal((await open).transport, "stream");
});

// Lines that are cut when they are silent.

for (const transport of ALL) {
  test(`${transport}: lines that are cut when they are silent are asked more often`, async (t) => {
    const { line, first, clock, peer } = await on(t, transport, { transports: [transport] }, { ping: 20 });
    let last = first;
    for (const silence of [12_000, 13_000]) {
      clock.advance(silence);
      const lost = state(line, "lost");
      last.cut();
      clock.advance((await lost).next - clock.time);
      last = await peer();
      const open = state(line, "open");
      await last.greet({ resumed: true });
      await open;
    }
    if (transport === "poll") {
      while ((await last.polls.take()) !== "?wait=4");
    }
    clock.advance(6_499);
    await settled(line, last);
    // Again and again, and answered each time.
    for (let ping = 0; ping < 3; ping++) {
      while (clock.waiting > 1) await new Promise(setImmediate);
      clock.advance(6_500);
      await last.command("ping");
      last.send({ type: "pong" });
      await settled(line, last);
    }
  });
}

test("but not more often than one says, and not after a single time, or times that differ", async (t) => {
  for (const [silences, every] of [[[12_000], 18_000], [[6_000, 12_000], 18_000], [[6_000, 6_000], 5_000], [[4_000, 4_000], 18_000]]) {
    const { line, first, clock, peer } = await on(t, "websocket", { transports: ["websocket"] }, { ping: 20 });
    let last = first;
    for (const silence of silences) {
      clock.advance(silence);
      const lost = state(line, "lost");
      last.cut();
      clock.advance((await lost).next - clock.time);
      last = await peer();
      const open = state(line, "open");
      await last.greet({ resumed: true });
      await open;
    }
    clock.advance(every - 1);
    await settled(line, last);
    clock.advance(every);
    await last.command("ping");
  }
});

// Where it is.

test("lines over HTTP are beside an address that ends in /ws, or where one says", async (t) => {
  const { url, clock } = await world(t);
  for (const [given, http, asked] of [
    ["/", undefined, "/v1/http?stream=ndjson"],
    ["/rt/ws?a=b", undefined, "/rt/http?stream=ndjson"],
    ["/rt", "/lines?a=b", "/lines?a=b&stream=ndjson"],
    ["/rt/ws", "http://example.org/x", "http://example.org/x?stream=ndjson"],
    ["/rt/ws", new URL("ws://example.org/x"), "http://example.org/x?stream=ndjson"],
  ]) {
    const got = calls();
    const pending = (address) => (got(address), new Promise(() => {}));
    const line = new Longwire(url + given, { transports: ["stream"], fetch: pending, environment: clock.environment, ...(http && { http }) });
    assert.equal(String((await got.next())[0]).replace(url, ""), asked);
    line.close();
  }
  assert.throws(() => new Longwire(`${url}/rt`, { transports: ["stream"] }), { name: "no_websocket" });
  assert.throws(() => new Longwire(url, { transports: [], WebSocket }), { name: "no_websocket" });
});
