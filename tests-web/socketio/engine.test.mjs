// Engine.IO, revision 4, without a client library: the handshake, polling, refusals. Upgrades and heartbeats are in
// engine_upgrade.test.mjs, revision 3 in engine3.test.mjs.

import assert from "node:assert/strict";
import { request } from "node:http";
import { after, before, test } from "node:test";
import { REFERENCE, Server } from "./server.mjs";
import { Line, Polling, RS, http, refused, settle, within } from "./wire.mjs";

const LIMIT = { timeout: 30_000 };
const MAX_PAYLOAD = 1_000_000;
const UNKNOWN = "AAAAAAAAAAAAAAAAAAAA";

let server;
before(async () => (server = await Server.start("contract")));
after(() => server.kill());

/** The address of a request to the echoing engine with this query. */
const engine = (query) => `${server.http}/engine.io/?${query}`;

// ---- Handshake ----

test("a handshake over polling says what it must and no more", LIMIT, async () => {
  const session = await Polling.open(server);
  const { sid, ...rest } = session.handshake;
  assert.equal(typeof sid, "string");
  assert.ok(sid.length >= 16, "a session id can't be guessed");
  assert.deepEqual(rest, { upgrades: ["websocket"], pingInterval: 300, pingTimeout: 200, maxPayload: MAX_PAYLOAD });
  const { headers, text } = session.opening;
  assert.match(headers["content-type"], /^text\/plain; ?charset=utf-8$/i);
  assert.equal(headers["cache-control"], "no-store");
  assert.ok(!text.includes(RS), "one packet");
});

test("a handshake over WebSocket offers no upgrade", LIMIT, async () => {
  const line = await Line.session(server);
  const { sid, ...rest } = line.handshake;
  assert.equal(typeof sid, "string");
  assert.deepEqual(rest, { upgrades: [], pingInterval: 300, pingTimeout: 200, maxPayload: MAX_PAYLOAD });
  await line.close();
});

test("each session has an id of its own", LIMIT, async () => {
  const sessions = await Promise.all(Array.from({ length: 50 }, () => Polling.open(server)));
  assert.equal(new Set(sessions.map((session) => session.handshake.sid)).size, 50);
});

test("parameters that are not the protocol's do no harm", LIMIT, async () => {
  for (const query of ["&t=abc123", "&token=%F0%9F%A6%80&empty=", "&b64=0"]) {
    const session = await Polling.open(server, "/engine.io/", { query });
    await session.send("4x");
    assert.deepEqual(await session.packets(), ["4x"]);
  }
});

// ---- Requests that are refused ----

const V4 = "EIO=4&transport=polling";

for (const [what, method, query, code] of [
  ["without a revision", "GET", "transport=polling", 5],
  ["with a revision that is no number", "GET", "EIO=abc&transport=polling", 5],
  ["with revision 3", "GET", "EIO=3&transport=polling", 5],
  ["with revision 5", "GET", "EIO=5&transport=polling", 5],
  ["without a transport", "GET", "EIO=4", 0],
  ["with an unknown transport", "GET", "EIO=4&transport=carrier-pigeon", 0],
  ["with a transport called constructor", "GET", "EIO=4&transport=constructor", 0],
  ["by POST", "POST", V4, 2],
  ["by PUT", "PUT", V4, 2],
  ["by DELETE", "DELETE", V4, 2],
  ["for WebSocket, without an upgrade", "GET", "EIO=4&transport=websocket", 3],
]) {
  test(`a handshake ${what} gets 400 and code ${code}`, LIMIT, async () => {
    await assertRefused(await http(engine(query), { method, body: method === "GET" ? undefined : "4x" }), code);
  });
}

for (const method of ["GET", "POST", "PUT"]) {
  test(`${method} for an unknown session gets 400 and code 1`, LIMIT, async () => {
    const body = method === "GET" ? undefined : "4x";
    await assertRefused(await http(engine(`${V4}&sid=${UNKNOWN}`), { method, body }), 1);
    await assertRefused(await http(engine(`${V4}&sid=__proto__`), { method, body }), 1);
  });
}

async function assertRefused(response, code) {
  assert.equal(response.status, 400);
  assert.match(response.headers["content-type"], /^application\/json/);
  const error = JSON.parse(response.text);
  assert.deepEqual(Object.keys(error), ["code", "message"]);
  assert.equal(error.code, code);
  assert.equal(typeof error.message, "string");
}

test("a method that a session does not know is an error and does not reach it", LIMIT, async () => {
  const session = await Polling.open(server);
  for (const method of ["PUT", "DELETE"]) {
    const { status } = await http(session.url, { method, body: "4unwanted" });
    assert.ok(status >= 400, `${method} got ${status}`);
  }
  await session.send("4wanted");
  assert.deepEqual(await session.packets(), ["4wanted"]);
});

test("a WebSocket is refused under the same conditions", LIMIT, async () => {
  const url = (query) => engine(query).replace("http", "ws");
  for (const query of [
    "transport=websocket",
    "EIO=abc&transport=websocket",
    "EIO=3&transport=websocket",
    "EIO=4",
    "EIO=4&transport=carrier-pigeon",
    "EIO=4&transport=polling",
    `EIO=4&transport=websocket&sid=${UNKNOWN}`,
  ]) {
    await within(2000, refused(url(query)), `the end of ${query}`);
  }
});

test("a path that nothing is at gets 404", LIMIT, async () => {
  assert.equal((await http(`${server.http}/nothing.io/?${V4}`)).status, 404);
});

// ---- Messages over polling ----

test("a POST is answered with ok, and its message comes back by GET", LIMIT, async () => {
  const session = await Polling.open(server);
  const posted = await session.post("4hello");
  assert.deepEqual([posted.status, posted.text], [200, "ok"]);
  const polled = await session.poll();
  assert.deepEqual([polled.status, polled.text], [200, "4hello"]);
  assert.match(polled.headers["content-type"], /^text\/plain; ?charset=utf-8$/i);
  assert.equal(Number(polled.headers["content-length"]), 6);
  assert.equal(polled.headers["cache-control"], "no-store");
});

test("what a payload joins comes back in order, text and binary", LIMIT, async () => {
  const session = await Polling.open(server);
  const packets = ["4a", "4", "bAQIDBA==", "4héllo 你好 🦀", "b", "4last \u2028 \\ \"", "b/+7dzLuqmYh3ZlVEMyIRAA=="];
  await session.send(...packets);
  assert.deepEqual(await session.packets(), packets);
});

test("a length is counted in bytes", LIMIT, async () => {
  const session = await Polling.open(server);
  const packet = "4€你🦀";
  await session.send(packet);
  const polled = await session.poll();
  assert.equal(polled.text, packet);
  assert.equal(Number(polled.headers["content-length"]), Buffer.byteLength(packet));
});

test("a GET waits until there is something", LIMIT, async () => {
  const session = await Polling.open(server);
  const waiting = session.packets();
  await session.send("4for the one who waits");
  assert.deepEqual(await within(200, waiting), ["4for the one who waits"]);
});

test("a session has as many requests as it likes, one after the other, in order", LIMIT, async () => {
  const session = await Polling.open(server);
  for (let round = 0; round < 20; round++) {
    await session.send(`4${round}`, "4!");
    assert.deepEqual(await session.packets(), [`4${round}`, "4!"]);
    if (performance.now() - session.openedAt > 250) break; // Heartbeats are another test's.
  }
});

test("a session does not hear its neighbours", LIMIT, async () => {
  const [one, other] = [await Polling.open(server), await Polling.open(server)];
  await Promise.all([one.send("4one"), other.send("4other")]);
  assert.deepEqual(await Promise.all([one.packets(), other.packets()]), [["4one"], ["4other"]]);
});

test("a payload may come in small pieces, without its length said before", LIMIT, async () => {
  const session = await Polling.open(server);
  const status = await postInPieces(session.url, [..."4ab🦀c"].flatMap((c) => [...Buffer.from(c)].map((byte) => Buffer.of(byte))));
  assert.equal(status, 200);
  assert.deepEqual(await session.packets(), ["4ab🦀c"]);
});

/** A chunked POST; the status of its answer, or "broken" if there was none. */
function postInPieces(url, pieces) {
  return new Promise((resolve) => {
    const post = request(url, { method: "POST", headers: { "content-type": "text/plain" } }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    post.on("error", () => resolve("broken"));
    post.setNoDelay(true);
    for (const piece of pieces) post.write(piece);
    post.end();
  });
}

// ---- What closes a session over polling ----

for (const [what, body] of [
  ["an unknown packet", "abc"],
  ["an unknown packet behind a good one", `4ok${RS}abc`],
  ["a packet type past the last", "7"],
  ["an empty payload", ""],
  ["an empty packet between others", `4a${RS}${RS}4b`],
  ["a heartbeat that only the server may send", "2"],
]) {
  test(`a payload with ${what} closes the session`, LIMIT, async () => {
    const session = await Polling.open(server);
    await session.post(body).catch(() => {}); // It may be refused, or cut off.
    await session.assertClosed();
  });
}

test("a payload of the old binary kind closes the session", LIMIT, async () => {
  const session = await Polling.open(server);
  const headers = { "content-type": "application/octet-stream" };
  const answer = await session.post(Buffer.of(0, 2, 255, 52, 97), { headers }).catch(() => ({ status: 400 }));
  assert.equal(answer.status, 400);
  await session.assertClosed();
});

test("of two GETs at once the first is told of the close and the second refused", LIMIT, async () => {
  const session = await Polling.open(server);
  const first = session.poll();
  await settle(server);
  const second = await session.poll();
  assert.ok([400, 500].includes(second.status), `${second.status}`);
  const { status, text } = await within(300, first);
  assert.deepEqual([status, text], [200, "1"]);
  await session.assertClosed();
});

test("a GET that the client aborts closes the session", LIMIT, async () => {
  const session = await Polling.open(server);
  const abort = new AbortController();
  const polled = session.poll({ signal: abort.signal });
  await settle(server);
  abort.abort();
  await assert.rejects(polled);
  await session.assertClosed();
});

test("a POST that breaks off closes the session", LIMIT, async () => {
  const session = await Polling.open(server);
  const post = request(session.url, { method: "POST", headers: { "content-type": "text/plain", "content-length": 100 } });
  const broken = new Promise((resolve) => post.on("error", resolve));
  post.write("4half of a mess");
  await settle(server);
  post.destroy();
  await broken;
  await settle(server);
  await session.assertClosed();
});

test("a session that the client closes answers the waiting GET", LIMIT, async () => {
  const session = await Polling.open(server);
  const waiting = session.poll();
  await settle(server);
  await session.send("1");
  const { status, text } = await within(200, waiting);
  assert.deepEqual([status, text], [200, "6"]);
  await session.assertClosed();
});

test("a session that the client closes is gone for POST as well", LIMIT, async () => {
  const session = await Polling.open(server);
  await session.send("1");
  assert.equal((await session.post("4x")).status, 400);
  await session.assertClosed();
});

// ---- Bounds ----

test("a payload as large as allowed is taken, over polling and WebSocket", LIMIT, async () => {
  const packet = `4${"x".repeat(MAX_PAYLOAD - 1)}`;
  const session = await Polling.open(server);
  await session.send(packet);
  assert.deepEqual(await session.packets(), [packet]);
  const line = await Line.session(server);
  const frame = Buffer.alloc(MAX_PAYLOAD, 7);
  line.send(packet, frame);
  assert.equal(await line.next(), packet);
  assert.deepEqual(await line.next(), frame);
  await line.close();
});

test("a payload past the bound gets 413, with its length said before or not", LIMIT, async () => {
  const large = Buffer.alloc(MAX_PAYLOAD + 1, "4");
  const session = await Polling.open(server);
  const answer = await session.post(large).catch(() => ({ status: "broken" }));
  assert.equal(answer.status, 413);
  const other = await Polling.open(server);
  const pieces = Array.from({ length: 11 }, () => large.subarray(0, 100_000));
  assert.equal(await postInPieces(other.url, pieces), 413);
});

test("a WebSocket message past the bound closes with 1009", LIMIT, async () => {
  const line = await Line.session(server);
  line.send(`4${"x".repeat(MAX_PAYLOAD)}`);
  assert.equal((await line.closed).code, 1009);
});

// ---- Pages of other origins ----

test("a page of any origin may read each answer", LIMIT, async () => {
  const headers = { origin: "https://elsewhere.example" };
  const may = ({ headers }) => assertReadable(headers, "https://elsewhere.example");
  const opening = await http(engine(V4), { headers });
  may(opening);
  const url = `${engine(V4)}&sid=${JSON.parse(opening.text.slice(1)).sid}`;
  may(await http(url, { method: "POST", body: "4x", headers }));
  may(await http(url, { headers }));
  may(await http(engine(`${V4}&sid=${UNKNOWN}`), { headers }));
  may(await http(url, { method: "POST", body: Buffer.alloc(MAX_PAYLOAD + 1), headers }));
});

/** An answer may be for everybody, or for this origin: then caches have to know that it is. */
function assertReadable(headers, origin) {
  if (headers["access-control-allow-origin"] === "*") return;
  assert.equal(headers["access-control-allow-origin"], origin);
  assert.match(headers.vary ?? "", /\borigin\b/i);
}

test("a preflight is allowed, and opens no session", LIMIT, async () => {
  const response = await http(engine(V4), {
    method: "OPTIONS",
    headers: {
      origin: "https://elsewhere.example",
      "access-control-request-method": "POST",
      "access-control-request-headers": "content-type,x-own",
    },
  });
  assert.ok([200, 204].includes(response.status), `${response.status}`);
  assert.equal(response.text, "");
  assertReadable(response.headers, "https://elsewhere.example");
  const listed = (name) => response.headers[name].split(/, */).map((word) => word.toLowerCase());
  assert.ok(["get", "post"].every((method) => listed("access-control-allow-methods").includes(method)));
  assert.ok(["content-type", "x-own"].every((header) => listed("access-control-allow-headers").includes(header)));
});

// ---- Messages over WebSocket ----

test("text and binary come back as they went", LIMIT, async () => {
  const line = await Line.session(server);
  const frames = ["4hello", Buffer.of(1, 2, 3, 4), "4", Buffer.alloc(0), "4héllo 你好 🦀", Buffer.from("4not text"), "4bAQID"];
  line.send(...frames);
  for (const frame of frames) assert.deepEqual(await line.next(), frame);
  await line.close();
});

test("a thousand messages come back in order", LIMIT, async () => {
  const line = await Line.session(server);
  for (let i = 0; i < 1000; i++) line.send(`4${i}`);
  for (let i = 0; i < 1000; i++) assert.equal(await line.next(), `4${i}`);
  await line.close();
});

for (const [what, frame, limit] of [
  ["an unknown packet", "abc", 200],
  ["an empty frame", "", 200],
  ["a heartbeat that only the server may send", "2", 200],
  ["a close", "1", REFERENCE ? 1000 : 200], // The reference takes no notice, until the heartbeat is missed.
]) {
  test(`${what} closes a WebSocket`, LIMIT, async () => {
    const line = await Line.session(server);
    line.send(frame);
    await within(limit, line.closed, "the close");
  });
}

/** The reference says that the request does not fit (3), ours that there is nothing to poll (1): clients look at the status. */
function assertRefusedAsGone({ status, text }) {
  assert.equal(status, 400);
  assert.ok([1, 3].includes(JSON.parse(text).code), text);
}

test("a session over WebSocket takes no polling", LIMIT, async () => {
  const line = await Line.session(server);
  const url = engine(`${V4}&sid=${line.handshake.sid}`);
  assertRefusedAsGone(await http(url));
  assertRefusedAsGone(await http(url, { method: "POST", body: "4x" }));
  line.send("4still here");
  assert.equal(await line.next(), "4still here");
  await line.close();
  assert.equal((await http(url)).status, 400);
});
