// One conversation over every transport: in the chat by our own client, on another site's page by socket.io-client as it is, in a
// terminal by `curl -N`, and by a loop of long polls. All are told the same, in the same order.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, before } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { API_KEY, enterRoom, newRoom, pageTest, say, sees, setUp } from "./harness.mjs";

const SOCKET_IO = fileURLToPath(new URL("../node_modules/socket.io-client/dist/socket.io.min.js", import.meta.url));
const NO_ENGINE = /^(WebSocket connection to .* failed|Failed to load resource)/;
const WAIT_MS = 15_000;

// All that somebody with a front end for Socket.IO writes.
const STOCK_PAGE = `<!doctype html>
<link rel="icon" href="data:,">
<ol id="log"></ol>
<script src="/socket.io.min.js"></script>
<script>
  const query = new URLSearchParams(location.search);
  const channel = "chat:" + query.get("room");
  const socket = io(query.get("server"));
  const recoveries = [];
  socket.on("connect", () => {
    recoveries.push(socket.recovered);
    if (!socket.recovered) socket.emit("subscribe", channel, (reply) => (document.body.dataset.reply = reply.type));
  });
  socket.on("publication", ({ data, event }) => {
    if (event === "typing") return;
    const item = document.createElement("li");
    item.textContent = data.text;
    document.querySelector("#log").append(item);
  });
  const say = (text) => socket.timeout(10000).emitWithAck("publish", channel, { text });
</script>`;

setUp();

let site;
before(async () => {
  site = createServer((request, response) => {
    const script = request.url.startsWith("/socket.io.min.js");
    response.setHeader("Content-Type", script ? "text/javascript" : "text/html; charset=utf-8");
    response.end(script ? readFileSync(SOCKET_IO) : STOCK_PAGE);
  });
  await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
});
after(() => new Promise((resolve) => site.close(resolve)));

pageTest("our client, a stock Socket.IO client, curl -N and a long-polling loop see the same conversation", async (desk) => {
  desk.expectedComplaints = [NO_ENGINE];
  const origin = `http://127.0.0.1:${site.address().port}`;
  const server = await desk.server({ config: `allowed_origins = ["${origin}"]\n` });
  const room = newRoom();

  const ada = await desk.window();
  await enterRoom(ada, server.url, { room, name: "Ada" });
  const stock = await desk.window();
  await stock.goto(`${origin}/?room=${room}&server=${encodeURIComponent(server.url)}`);
  await stock.waitForSelector("body[data-reply=subscribed]", { state: "attached" });
  const stream = new CurlStream(server.url, `chat:${room}`);
  const polls = new CurlPolls(server.url, `chat:${room}`);
  try {
    await Promise.all([stream.begun, polls.begun]);

    // One after the other, by everyone who can speak.
    await say(ada, "Is the kettle on?");
    await heard("Is the kettle on?");
    const reply = await stock.evaluate(() => say("It is."));
    assert.equal(reply.type, "published");
    await heard("It is.");
    await post(server.url, `chat:${room}`, "水开了 🫖", "tea-1");
    await post(server.url, `chat:${room}`, "水开了 🫖", "tea-1"); // again, in doubt: it is there once
    await heard("水开了 🫖");

    // All at once: whatever the order is, it is one.
    const crowd = Array.from({ length: 10 }, (_, n) => n);
    await Promise.all([
      (async () => {
        for (const n of crowd) await say(ada, `Ada ${n}`);
      })(),
      stock.evaluate((numbers) => Promise.all(numbers.map((n) => say(`stock ${n}`))), crowd),
      Promise.all(crowd.map((n) => post(server.url, `chat:${room}`, `curl ${n}`))),
    ]);
    await everyone((texts) => texts.length === 33);

    // Their lines are lost; what is said meanwhile is not.
    await stock.evaluate(() => socket.io.engine.close());
    stream.cut();
    await say(ada, "Where is everybody?");
    await sees(ada, "Where is everybody?");
    stream.comeBack();
    await heard("Where is everybody?");
    assert.deepEqual(await stock.evaluate(() => recoveries), [false, true]);

    const [first, ...others] = Object.entries(await conversation());
    for (const [name, texts] of others) assert.deepEqual(texts, first[1], `${name} and ${first[0]}`);
    assert.equal(new Set(first[1]).size, 34, "each once");
    for (const name of ["Ada", "stock"]) {
      const theirs = first[1].filter((text) => text.startsWith(name));
      assert.deepEqual(theirs, crowd.map((n) => `${name} ${n}`), `in the order of ${name}`);
    }
  } finally {
    stream.cut();
    polls.stop();
  }

  async function conversation() {
    return {
      "the chat": await ada.locator("#log .bubble").allTextContents(),
      "socket.io-client": await stock.locator("#log li").allTextContents(),
      "curl -N": stream.texts,
      "long polling": polls.texts,
    };
  }

  async function everyone(holds) {
    const end = Date.now() + WAIT_MS;
    for (;;) {
      const now = await conversation();
      if (Object.values(now).every(holds)) return;
      assert.ok(Date.now() < end, `still not: ${JSON.stringify(now, null, 1)} ${stream.complaints} ${polls.complaints}`);
      await ada.waitForTimeout(20);
    }
  }

  async function heard(text) {
    await everyone((texts) => texts.at(-1) === text);
  }
});

/** `curl -N` on an event stream; it is begun again from the last `id` that it had. */
class CurlStream {
  texts = [];
  complaints = "";
  #address;
  #last = null;
  #curl;
  #rest;
  #began;
  begun = new Promise((resolve) => (this.#began = resolve));

  constructor(url, channel) {
    this.#address = `${url}/v1/events?channel=${encodeURIComponent(channel)}`;
    this.comeBack();
  }

  comeBack() {
    const since = this.#last === null ? "" : `&since=${this.#last}`;
    this.#rest = "";
    this.#curl = spawn("curl", ["-sSN", this.#address + since]);
    this.#curl.stdout.setEncoding("utf8").on("data", (text) => this.#read(text));
    this.#curl.stderr.on("data", (text) => (this.complaints += text));
  }

  cut() {
    this.#curl.stdout.removeAllListeners("data");
    this.#curl.kill("SIGKILL");
  }

  #read(text) {
    const blocks = (this.#rest + text).split("\n\n");
    this.#rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.match(/^(\w*): ?(.*)$/)?.slice(1) ?? []));
      if (fields.id !== undefined) this.#last = fields.id;
      if (fields.event === "subscribed") this.#began();
      if (fields.data && fields.event === undefined) this.texts.push(...said([JSON.parse(fields.data)]));
    }
  }
}

/** A loop of long polls, each by a curl of its own. */
class CurlPolls {
  texts = [];
  complaints = "";
  #address;
  #stopped = new AbortController();
  #began;
  begun = new Promise((resolve) => (this.#began = resolve));

  constructor(url, channel) {
    this.#address = `${url}/v1/poll?channel=${encodeURIComponent(channel)}`;
    this.#run().catch((error) => this.#stopped.signal.aborted || (this.complaints += error));
  }

  stop() {
    this.#stopped.abort();
  }

  async #run() {
    let since = "";
    while (!this.#stopped.signal.aborted) {
      const { stdout } = await promisify(execFile)("curl", ["-sS", this.#address + since], { signal: this.#stopped.signal });
      const answer = JSON.parse(stdout);
      since = `&since=${answer.since}`;
      this.texts.push(...said(answer.messages.filter(({ type }) => type === "publication")));
      this.#began();
    }
  }
}

/** The texts of what was said: that somebody is writing is not. */
function said(publications) {
  return publications.filter(({ event }) => event !== "typing").map(({ data }) => data.text);
}

/** Says something by `curl`, over the server API. */
async function post(url, channel, text, once) {
  const key = once ? ["-H", `Idempotency-Key: ${once}`] : [];
  const body = JSON.stringify({ channel, data: { text } });
  const command = ["-sSf", `${url}/api/v1/publish`, "-H", "Content-Type: application/json", "-H", `X-API-Key: ${API_KEY}`, ...key, "-d", body];
  const { stdout } = await promisify(execFile)("curl", command);
  assert.equal(JSON.parse(stdout).type, "published");
}
