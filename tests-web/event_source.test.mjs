// Event streams as stock clients read them: npm's `eventsource`, and curl.
//
//   LONGWIRE_URL       the running default server, http://127.0.0.1:PORT
//   API_KEY            a key of its API

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createServer, connect } from "node:net";
import { test } from "node:test";
import { promisify } from "node:util";
import { EventSource } from "eventsource";

const SERVER = process.env.LONGWIRE_URL?.replace(/\/$/, "");
assert.ok(SERVER, "set LONGWIRE_URL to the address of a running server");
const LIMIT = { timeout: 30_000 };

/** A channel that nobody else uses. */
const channelOf = (name) => `chat:${name}-${process.pid}-${Math.random().toString(36).slice(2)}`;

async function publish(channel, data) {
  const response = await fetch(`${SERVER}/api/v1/publish`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-api-key": process.env.API_KEY ?? "" },
    body: JSON.stringify({ channel, data }),
  });
  assert.equal(response.status, 200, await response.text());
}

/** A proxy whose connections can be cut. */
async function proxy() {
  const { hostname, port } = new URL(SERVER);
  const open = new Set();
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    for (const [one, other] of [[client, upstream], [upstream, client]]) {
      open.add(one);
      one.on("error", () => {}).on("close", () => (open.delete(one), other.destroy()));
      one.pipe(other);
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    cut: () => open.forEach((socket) => socket.destroy()),
    close: () => (server.close(), open.forEach((socket) => socket.destroy())),
  };
}

test("npm's eventsource misses nothing and hears nothing twice, though its line is cut", LIMIT, async () => {
  const channel = channelOf("es");
  const between = await proxy();
  const source = new EventSource(`${between.url}/v1/events?channel=${channel}`);
  try {
    const heard = [];
    let told = () => {};
    source.onmessage = ({ data }) => (heard.push(JSON.parse(data).data), told());
    const subscribed = () => new Promise((done) => source.addEventListener("subscribed", done, { once: true }));
    const until = async (count) => {
      while (heard.length < count) await new Promise((done) => (told = done));
    };
    await subscribed();
    let next = 0;
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 5; i++) await publish(channel, next++);
      await until(next);
      const again = subscribed();
      between.cut();
      for (let i = 0; i < 5; i++) await publish(channel, next++);
      await again;
      await until(next);
    }
    assert.deepEqual(heard, Array.from({ length: next }, (_, i) => i));
  } finally {
    source.close();
    between.close();
  }
});

test("npm's eventsource that is put out by the operator stays away", LIMIT, async () => {
  const source = new EventSource(`${SERVER}/v1/events?channel=${channelOf("out")}`);
  try {
    const told = (name) => new Promise((done) => source.addEventListener(name, ({ data }) => done(JSON.parse(data)), { once: true }));
    const { session } = await told("connected");
    const close = told("close");
    const response = await fetch(`${SERVER}/api/v1/disconnect`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-api-key": process.env.API_KEY ?? "" },
      body: JSON.stringify({ session }),
    });
    assert.equal(response.status, 200, await response.text());
    assert.equal((await close).code, 3501);
    while (source.readyState !== EventSource.CLOSED) await once(source, "error");
  } finally {
    source.close();
  }
});

test("curl reads a stream, and a poll that waits", LIMIT, async () => {
  const channel = channelOf("curl");
  const curl = async (...words) => (await promisify(execFile)("curl", ["--silent", "--max-time", "5", ...words])).stdout;
  const { since } = JSON.parse(await curl(`${SERVER}/v1/poll?channel=${channel}`));
  const waits = curl(`${SERVER}/v1/poll?channel=${channel}&since=${since}&wait=5`);
  await publish(channel, "hello");
  const { messages } = JSON.parse(await waits);
  assert.deepEqual(messages.map(({ data }) => data), ["hello"]);
  const stream = await curl("--no-buffer", "--max-time", "1", `${SERVER}/v1/events?channel=${channel}&last=1`).catch((error) => error.stdout);
  assert.match(stream, /^id: [0-9a-f]{8}:1(\.[0-9a-f]+)?\ndata: .*"hello"/m);
});
