// Longwire behind a real nginx: with the configuration of docs/deploy.md everything works; with the smallest one that there is, the
// internet does not get at the server API.
//
//   LONGWIRE_BIN  the longwire binary

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { io } from "socket.io-client";
import WebSocket from "ws";

const LONGWIRE = process.env.LONGWIRE_BIN;
assert.ok(LONGWIRE, "set LONGWIRE_BIN to the longwire binary");
const NGINX = ["/usr/sbin/nginx", "/usr/bin/nginx"].find(existsSync) ?? "nginx";
const LIMIT = { timeout: 60_000 };
const DEPLOY = new URL("../docs/deploy.md", import.meta.url);
const SITE = "https://app.example.com";

const folder = mkdtempSync(join(tmpdir(), "longwire-nginx-"));
const running = [];
after(() => {
  for (const child of running) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

test("the documented configuration passes on every path", LIMIT, async () => {
  const server = await longwire("documented", "--allowed-origins", SITE);
  const documented = readFileSync(DEPLOY, "utf8").match(/```nginx\n([^]*?)```/)[1];
  const proxy = await nginx("documented", (port) =>
    documented.replace("127.0.0.1:8000", server.address).replace("listen 80;", `listen 127.0.0.1:${port};`),
  );

  for (const path of ["/", "/chat", "/longwire.js"]) {
    assert.equal((await fetch(`${proxy}${path}`)).status, 200, path);
  }
  const line = new WebSocket(`${proxy.replace("http", "ws")}/ws`, { origin: SITE });
  assert.equal(await new Promise((resolve, reject) => line.once("message", (text) => resolve(`${text}`)).once("error", reject)), "✅ WebSocket 已连接");
  line.terminate();
  // As the site's own name, which is what a browser sends.
  const named = new WebSocket(`${proxy.replace("http", "ws")}/v1/ws`, { origin: SITE, headers: { host: new URL(SITE).host } });
  await new Promise((resolve, reject) => named.once("open", resolve).once("error", reject));
  named.terminate();
  const refused = new WebSocket(`${proxy.replace("http", "ws")}/ws`, { origin: "https://evil.example" });
  assert.equal(await new Promise((resolve) => refused.once("unexpected-response", (_, { statusCode }) => resolve(statusCode))), 403);

  // An event stream comes as it happens, not when nginx has collected enough of it.
  const stop = new AbortController();
  const headers = { origin: SITE };
  const events = await fetch(`${proxy}/v1/events?channel=chat:nginx`, { headers, signal: stop.signal });
  const reader = events.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  const until = async (part) => {
    while (!text.includes(part)) {
      const { value, done } = await reader.read();
      assert.ok(!done, text);
      text += value;
    }
  };
  await until("event: subscribed");
  server.publish("chat:nginx", "over nginx");
  await until("over nginx");
  stop.abort();

  const poll = await (await fetch(`${proxy}/v1/poll?channel=chat:nginx&last=1`, { headers })).text();
  assert.match(poll, /over nginx/);
  const socket = io(proxy, { extraHeaders: headers, reconnection: false });
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject));
  assert.equal((await socket.emitWithAck("subscribe", "chat:nginx", {})).type, "subscribed");
  socket.disconnect();
  assert.equal((await fetch(`${proxy}/api/v1/sessions`)).status, 404, "the API is for no proxy");
});

test("behind the smallest configuration strangers do not get at the API, with three servers on the machine", LIMIT, async () => {
  const servers = [];
  for (const name of ["one", "two", "three"]) servers.push(await longwire(name));
  for (const [at, server] of servers.entries()) {
    const proxy = await nginx(`smallest-${at}`, (port) => `server { listen 127.0.0.1:${port}; location / { proxy_pass http://${server.address}; } }`);
    // To the server it looks as if it came from its own machine: nginx sends its own name for it, and says nothing of the client.
    for (const path of ["sessions", "channels", "history?channel=lobby"]) {
      const answer = await fetch(`${proxy}/api/v1/${path}`);
      assert.equal(answer.status, 401, path);
      assert.equal((await answer.json()).error.name, "unauthorized");
    }
    const published = await fetch(`${proxy}/api/v1/publish`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ channel: "lobby", data: "from a stranger" }),
    });
    assert.equal(published.status, 401);
    // No path of the server tells the key, and the user of the machine has it.
    for (const path of ["/", "/chat", "/healthz", "/longwire.js", "/demo/compare/server"]) {
      assert.ok(!(await (await fetch(`${proxy}${path}`)).text()).includes(server.key()), path);
    }
    assert.equal((await fetch(`http://${server.address}/api/v1/sessions`, { headers: { "x-api-key": server.key() } })).status, 200);
    const other = servers[(at + 1) % servers.length];
    assert.equal((await fetch(`http://${server.address}/api/v1/sessions`, { headers: { "x-api-key": other.key() } })).status, 401);
    server.publish("lobby", `of server ${at}`);
  }
});

/** A server without keys of its own, as a newcomer starts it. */
async function longwire(name, ...options) {
  const address = `127.0.0.1:${await freePort()}`;
  const home = join(folder, `home-${name}`);
  mkdirSync(home);
  const env = { PATH: process.env.PATH, HOME: home, XDG_RUNTIME_DIR: folder };
  started(spawn(LONGWIRE, ["--listen", address, ...options], { stdio: ["ignore", "ignore", "inherit"], env }));
  await answers(`http://${address}/healthz`);
  const command = (...words) => execFileSync(LONGWIRE, [...words, "--url", `ws://${address}`], { env, encoding: "utf8" });
  return {
    address,
    key: () => command("key").trim(),
    publish: (channel, text) => command("publish", channel, text),
  };
}

/** An nginx with these servers; where it listens. */
async function nginx(name, servers) {
  const port = await freePort();
  const home = join(folder, `nginx-${name}`);
  mkdirSync(home);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((what) => `${what}_temp_path ${home}/${what};`);
  const config = `daemon off; master_process off; pid ${home}/pid; error_log ${home}/error.log;
    events { worker_connections 256; }
    http { access_log off; ${temporary.join(" ")} ${servers(port)} }`;
  writeFileSync(join(home, "nginx.conf"), config);
  started(spawn(NGINX, ["-p", home, "-e", `${home}/error.log`, "-c", "nginx.conf"], { stdio: ["ignore", "inherit", "inherit"] }));
  await answers(`http://127.0.0.1:${port}/healthz`);
  return `http://127.0.0.1:${port}`;
}

function started(child) {
  running.push(child);
}

async function answers(url) {
  const end = Date.now() + 15_000;
  while (!(await fetch(url).catch(() => null))?.ok) {
    assert.ok(Date.now() < end, `no answer from ${url}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
