// Opening handshakes by curl: what a server answers to a good one, and to each way of getting it wrong.
//
//   LONGWIRE_URL       the running default server, http://127.0.0.1:PORT
//   LONGWIRE_ECHO_URL  the running `echo` example, which has permessage-deflate on

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";

const SERVER = address("LONGWIRE_URL");
const ECHO = address("LONGWIRE_ECHO_URL");
const GREETING = "✅ WebSocket 已连接";
const CURL_LIMIT_S = 10;

const SAMPLE = {
  Connection: "Upgrade",
  Upgrade: "websocket",
  "Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw==",
  "Sec-WebSocket-Version": "13",
};

function address(name) {
  assert.ok(process.env[name], `set ${name} to the address of a running server`);
  return process.env[name].replace(/\/$/, "");
}

/** The sample handshake with some headers changed; undefined leaves one out, a list repeats it. */
function headers(changes = {}) {
  return { ...SAMPLE, ...changes };
}

/**
 * One request by curl. Resolves to { status, headers, body }; header names are in lower case.
 * After a 101 the body is what came until `enough(body)` says so.
 */
function curl(url, { headers = {}, words = [], enough = () => true } = {}) {
  const lines = Object.entries(headers).flatMap(([name, values]) =>
    [values].flat().filter((value) => value !== undefined).flatMap((value) => ["--header", `${name}: ${value}`]),
  );
  const bounds = ["--max-time", String(CURL_LIMIT_S)];
  const child = spawn("curl", ["--silent", "--show-error", "--dump-header", "-", "--no-buffer", ...bounds, ...lines, ...words, url]);
  let out = Buffer.alloc(0);
  let said = "";
  child.stderr.on("data", (data) => (said += data));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.stdout.on("data", (data) => {
      out = Buffer.concat([out, data]);
      const response = parse(out);
      // An upgraded connection stays open for as long as both sides want.
      if (response?.status === 101 && enough(response.body)) {
        child.kill();
        resolve(response);
      }
    });
    child.on("close", (code) => {
      const response = parse(out);
      if (response && response.status !== 101 && code === 0) resolve(response);
      else reject(new Error(`curl ended with ${code}: ${said}${out}`));
    });
  });
}

function parse(bytes) {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const [statusLine, ...lines] = bytes.subarray(0, end).toString().split("\r\n");
  const fields = lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]);
  return { status: Number(statusLine.split(" ")[1]), headers: Object.fromEntries(fields), body: bytes.subarray(end + 4) };
}

/** The answer is an error with this status and code, in JSON, with a message for people. */
function assertRefused(response, status, code) {
  assert.equal(response.status, status, response.body.toString());
  assert.match(response.headers["content-type"] ?? "", /^application\/json\b/);
  const { error } = JSON.parse(response.body);
  assert.equal(error.code, code);
  assert.ok(error.message.length > 10, `a message that explains: ${error.message}`);
}

test("the sample key gets 101 and the sample accept", async () => {
  const response = await curl(`${SERVER}/ws`, { headers: headers() });
  assert.equal(response.status, 101);
  assert.equal(response.headers["sec-websocket-accept"], "HSmrc0sMlYUkAGmm5OPpG2HaGWk=");
  assert.match(response.headers.upgrade, /^websocket$/i);
  assert.match(response.headers.connection, /^upgrade$/i);
  assert.equal(response.headers["sec-websocket-extensions"], undefined, "none was offered");
  assert.equal(response.headers["sec-websocket-protocol"], undefined, "none was offered");
});

test("the first frame after the 101 is the greeting", async () => {
  const text = Buffer.from(GREETING);
  const frame = Buffer.concat([Buffer.from([0x81, text.length]), text]);
  const response = await curl(`${SERVER}/ws`, { headers: headers(), enough: (body) => body.length >= frame.length });
  assert.deepEqual(response.body, frame);
});

test("tokens are compared without regard to case, and in lists", async () => {
  const changes = { Connection: "keep-alive, UPGRADE", Upgrade: "WebSocket" };
  assert.equal((await curl(`${SERVER}/ws`, { headers: headers(changes) })).status, 101);
});

for (const [what, changes, status, code] of [
  ["an old version", { "Sec-WebSocket-Version": "8" }, 426, "unsupported_websocket_version"],
  ["no version", { "Sec-WebSocket-Version": undefined }, 426, "missing_websocket_version"],
]) {
  test(`${what} is told which version is spoken here`, async () => {
    const response = await curl(`${SERVER}/ws`, { headers: headers(changes) });
    assertRefused(response, status, code);
    assert.equal(response.headers["sec-websocket-version"], "13");
  });
}

for (const [what, changes, status, code] of [
  ["no key", { "Sec-WebSocket-Key": undefined }, 400, "missing_websocket_key"],
  ["a key that is not base64", { "Sec-WebSocket-Key": "not base64 at all!!!!" }, 400, "invalid_websocket_key"],
  ["a key of 15 bytes", { "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAA" }, 400, "invalid_websocket_key"],
  ["two keys", { "Sec-WebSocket-Key": [SAMPLE["Sec-WebSocket-Key"], SAMPLE["Sec-WebSocket-Key"]] }, 400, "duplicate_websocket_key"],
  ["Connection without Upgrade", { Connection: "keep-alive" }, 400, "connection_not_upgrade"],
  ["an upgrade to something else", { Upgrade: "h2c" }, 426, "upgrade_not_websocket"],
  ["no Upgrade", { Upgrade: undefined, Connection: "keep-alive" }, 426, "upgrade_required"],
  ["extensions outside the grammar", { "Sec-WebSocket-Extensions": "permessage-deflate; =" }, 400, "malformed_extensions"],
  ["subprotocols outside the grammar", { "Sec-WebSocket-Protocol": "chat room" }, 400, "malformed_subprotocols"],
]) {
  test(`${what} gets ${status} ${code}`, async () => {
    assertRefused(await curl(`${SERVER}/ws`, { headers: headers(changes) }), status, code);
  });
}

test("POST gets 405 and the method that is allowed", async () => {
  const response = await curl(`${SERVER}/ws`, { headers: headers(), words: ["--request", "POST"] });
  assertRefused(response, 405, "method_not_allowed");
  assert.match(response.headers.allow, /\bGET\b/);
});

test("HTTP/1.0 cannot be upgraded", async () => {
  const response = await curl(`${SERVER}/ws`, { headers: headers(), words: ["--http1.0"] });
  assertRefused(response, 400, "unsupported_http_version");
});

test("a plain GET of /ws gets 426 and what to upgrade to", async () => {
  const response = await curl(`${SERVER}/ws`);
  assertRefused(response, 426, "upgrade_required");
  assert.match(response.headers.upgrade, /^websocket$/i);
  assert.match(response.headers.connection, /\bupgrade\b/i);
});

test("an unknown path gets 404, upgrade or not", async () => {
  assertRefused(await curl(`${SERVER}/no/such/path`), 404, "not_found");
  assertRefused(await curl(`${SERVER}/no/such/path`, { headers: headers() }), 404, "not_found");
});

test("/healthz is 200", async () => {
  assert.equal((await curl(`${SERVER}/healthz`)).status, 200);
});

test("a page of another site gets 403, one of our own is let in", async () => {
  for (const origin of ["https://evil.example", "null", `${SERVER}.evil.example`]) {
    assertRefused(await curl(`${SERVER}/ws`, { headers: headers({ Origin: origin }) }), 403, "origin_not_allowed");
  }
  assert.equal((await curl(`${SERVER}/ws`, { headers: headers({ Origin: SERVER }) })).status, 101);
});

test("headers past the bound get 431", async () => {
  const response = await curl(`${SERVER}/ws`, { headers: headers({ "X-Padding": "x".repeat(100_000) }) });
  assert.equal(response.status, 431);
});

// RFC 7692, 7.1: the answer holds only what the offer allows, and keeps to it.
for (const [offer, allowed, demanded] of [
  ["permessage-deflate", /^(server_no_context_takeover|client_no_context_takeover|server_max_window_bits=\d+)$/, []],
  ["permessage-deflate; server_no_context_takeover", /^\w+(=\d+)?$/, [/^server_no_context_takeover$/]],
  ["permessage-deflate; server_max_window_bits=10", /^\w+(=\d+)?$/, [/^server_max_window_bits=(9|10)$/]],
  ["permessage-deflate; client_max_window_bits=9; server_max_window_bits=9", /^\w+(=\d+)?$/, [/^server_max_window_bits=9$/]],
]) {
  test(`the answer to the offer ${offer} keeps to it`, async () => {
    const response = await curl(`${ECHO}/echo`, { headers: headers({ "Sec-WebSocket-Extensions": offer }) });
    assert.equal(response.status, 101);
    const [name, ...parameters] = response.headers["sec-websocket-extensions"].split(";").map((part) => part.trim());
    assert.equal(name, "permessage-deflate");
    assert.equal(new Set(parameters.map((parameter) => parameter.split("=")[0])).size, parameters.length, "no parameter twice");
    for (const parameter of parameters) assert.match(parameter, allowed);
    for (const demand of demanded) assert.ok(parameters.some((parameter) => demand.test(parameter)), parameters.join("; "));
  });
}

for (const offer of ["x-unknown-extension", "permessage-deflate; server_max_window_bits=7", "permessage-deflate; unknown=1"]) {
  test(`the offer ${offer} is declined, and the line opens without it`, async () => {
    const response = await curl(`${ECHO}/echo`, { headers: headers({ "Sec-WebSocket-Extensions": offer }) });
    assert.equal(response.status, 101);
    assert.equal(response.headers["sec-websocket-extensions"], undefined);
  });
}

test("of several offers the first that can be kept is taken", async () => {
  const offers = "permessage-deflate; unknown=1, permessage-deflate; server_no_context_takeover";
  const response = await curl(`${ECHO}/echo`, { headers: headers({ "Sec-WebSocket-Extensions": offers }) });
  assert.match(response.headers["sec-websocket-extensions"], /^permessage-deflate;.*server_no_context_takeover/);
});
