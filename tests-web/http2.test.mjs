// HTTP/2 with prior knowledge: curl for the API and event streams, Node's `http2` for WebSocket over it (RFC 8441).
//
//   LONGWIRE_URL       the running default server, http://127.0.0.1:PORT
//   API_KEY            a key of its API

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import http2 from "node:http2";
import { test } from "node:test";
import { promisify } from "node:util";

const SERVER = process.env.LONGWIRE_URL?.replace(/\/$/, "");
assert.ok(SERVER, "set LONGWIRE_URL to the address of a running server");
const KEY = `X-API-Key: ${process.env.API_KEY}`;
const LIMIT = { timeout: 30_000 };
const TEXT = 1;
const CLOSE = 8;

/** Runs curl over HTTP/2 to its end; what it prints. */
async function curl(...words) {
  const { stdout } = await promisify(execFile)("curl", ["--silent", "--http2-prior-knowledge", "--max-time", "10", ...words]);
  return stdout;
}

/** A frame of less than 126 bytes, masked with zeros. */
function frame(opcode, payload) {
  return Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length, 0, 0, 0, 0]), payload]);
}

/** A WebSocket over a stream, for messages of less than 126 bytes. */
class Line {
  #input = Buffer.alloc(0);

  static async open(session, path, headers = {}) {
    const line = new Line(session.request({ ":method": "CONNECT", ":protocol": "websocket", ":path": path, "sec-websocket-version": "13", ...headers }));
    [line.head] = await once(line.stream, "response");
    return line;
  }

  constructor(stream) {
    this.stream = stream;
    this.chunks = stream[Symbol.asyncIterator]();
  }

  async next() {
    while (this.#input.length < 2 || this.#input.length < 2 + this.#input[1]) {
      const { value, done } = await this.chunks.next();
      if (done) return null;
      this.#input = Buffer.concat([this.#input, value]);
    }
    const end = 2 + this.#input[1];
    const message = { opcode: this.#input[0] & 15, payload: this.#input.subarray(2, end) };
    this.#input = this.#input.subarray(end);
    return message;
  }

  async expectText(text) {
    const { opcode, payload } = await this.next();
    assert.deepEqual([opcode, payload.toString()], [TEXT, text]);
  }

  sendText(text) {
    this.stream.write(frame(TEXT, Buffer.from(text)));
  }

  async close() {
    this.stream.write(frame(CLOSE, Buffer.from([3, 232])));
    const { opcode, payload } = await this.next();
    assert.deepEqual([opcode, payload.readUInt16BE()], [CLOSE, 1000]);
    assert.equal(await this.next(), null);
    this.stream.end();
  }
}

/** A connection whose settings have come. */
async function connect() {
  const session = http2.connect(SERVER);
  const [settings] = await once(session, "remoteSettings");
  return { session, settings };
}

test("curl speaks HTTP/2 to the API", LIMIT, async () => {
  assert.equal(await curl("--output", "/dev/null", "--write-out", "%{http_version} %{http_code}", `${SERVER}/healthz`), "2 200");
  const body = JSON.stringify({ channel: "chat:http2", data: "hello" });
  const json = "Content-Type: application/json";
  const published = JSON.parse(await curl("--header", json, "--header", KEY, "--data", body, `${SERVER}/api/v1/publish`));
  assert.ok(!published.error, JSON.stringify(published));
  const missing = JSON.parse(await curl(`${SERVER}/nothing`));
  assert.equal(missing.error.code, "not_found");
});

test("curl follows a channel over HTTP/2", LIMIT, async () => {
  const url = `${SERVER}/v1/events?channel=chat:http2-events`;
  const child = spawn("curl", ["--silent", "--http2-prior-knowledge", "--no-buffer", "--max-time", "20", url]);
  let text = "";
  try {
    for await (const chunk of child.stdout) {
      const was = text;
      text += chunk;
      if (!was.includes("event: subscribed") && text.includes("event: subscribed")) {
        const body = JSON.stringify({ channel: "chat:http2-events", data: "over HTTP/2" });
        await curl("--header", "Content-Type: application/json", "--header", KEY, "--data", body, `${SERVER}/api/v1/publish`);
      }
      if (text.includes('"over HTTP/2"')) break;
    }
  } finally {
    child.kill();
  }
  assert.match(text, /id: [^\n]+\ndata: [^\n]*"over HTTP\/2"|data: [^\n]*"over HTTP\/2"/);
});

test("Node opens WebSockets over streams of one connection", LIMIT, async () => {
  const { session, settings } = await connect();
  assert.equal(settings.enableConnectProtocol, true);
  const lines = [];
  for (let n = 0; n < 20; n++) lines.push(await Line.open(session, "/ws", { origin: SERVER }));
  for (const [n, line] of lines.entries()) {
    assert.equal(line.head[":status"], 200);
    assert.equal(line.head["sec-websocket-accept"], undefined);
    await line.expectText("✅ WebSocket 已连接");
    line.sendText(`hello ${n}`);
  }
  for (const [n, line] of lines.entries()) await line.expectText(`你发送了：hello ${n}`);
  await Promise.all(lines.map((line) => line.close()));
  session.close();
  await once(session, "close");
});

test("Node chooses the native protocol over HTTP/2", LIMIT, async () => {
  const { session } = await connect();
  const line = await Line.open(session, "/v1/ws", { "sec-websocket-protocol": "other, longwire.v1.json" });
  assert.equal(line.head["sec-websocket-protocol"], "longwire.v1.json");
  line.stream.close(http2.constants.NGHTTP2_CANCEL);
  session.close();
});

test("Node is told why there is no line", LIMIT, async () => {
  const { session } = await connect();
  const refusals = [
    ["/ws", { origin: "https://elsewhere.example" }, 403],
    ["/ws", { ":protocol": "connect-udp" }, 501],
    ["/ws", { "sec-websocket-version": "8" }, 426],
    ["/nothing", {}, 404],
    ["/healthz", {}, 405],
  ];
  for (const [path, headers, status] of refusals) {
    const line = await Line.open(session, path, headers);
    assert.equal(line.head[":status"], status, path);
    line.stream.close();
  }
  session.close();
});
