// Many stock clients at once: cut off over and over while messages flow, or going over from polling to WebSocket meanwhile. It runs
// against any server that does what the example `socketio_room` does, prints a table, and fails if anything was lost.
//
//   node load.mjs cuts [--count 1000] [--clients 30] [--seed 1] [--kinds cut,cutUnnoticed,cutTorn] -- COMMAND...
//   node load.mjs upgrade [--clients 1000] [--at-once 200] -- COMMAND...
//
// COMMAND starts the server; HOST:PORT follows it as one more argument.

import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";
import { Follower, Publisher, WAYS } from "./follower.mjs";
import { Proxy } from "./proxy.mjs";
import { Server } from "./server.mjs";

const SOON = 20_000;
/** How often a room that is followed gets a number, in milliseconds. */
const CUTS_EVERY_MS = 20;
/** How many numbers a client of `upgrade` has had over polling before it may go over. */
const BEFORE = 5;
/** How many deliveries per second the clients of one wave of `upgrade` get together. */
const DELIVERIES = 10_000;
/** What each client of `upgrade` asks to have back, in the other direction. */
const ECHOES = 30;
const ECHO_EVERY_MS = 10;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    count: { type: "string", default: "1000" },
    clients: { type: "string" },
    seed: { type: "string", default: "1" },
    // Each is as frequent as it is named: what they are is said in proxy.mjs.
    kinds: { type: "string", default: "cut,cut,cut,cutUnnoticed,cutUnnoticed,cutTorn" },
    "at-once": { type: "string", default: "200" },
  },
});
const [mode, ...command] = positionals;
const kinds = values.kinds.split(",");
if (!["cuts", "upgrade"].includes(mode) || command.length === 0 || kinds.some((kind) => !["cut", "cutUnnoticed", "cutTorn"].includes(kind))) {
  console.error("usage: node load.mjs cuts|upgrade [options] -- COMMAND...");
  process.exit(2);
}

// ---- Cuts ----

/** `count` cuts of clients that follow a room each, over each way to be connected. */
async function cuts() {
  let left = Number(values.count);
  const clients = Number(values.clients ?? 30);
  const random = generator(Number(values.seed));
  const runs = [];
  for (let i = 0; i < clients; i++) {
    const follower = await Follower.open(server, publisher, WAYS[i % WAYS.length]);
    await follower.join(`cuts ${i}`);
    runs.push({ follower, way: WAYS[i % WAYS.length].name, failed: {} });
  }
  let flowing = true;
  const flow = (async () => {
    for (; flowing; await sleep(CUTS_EVERY_MS)) for (const { follower } of runs) follower.publish(1);
  })();
  const one = async ({ follower, failed }) => {
    while (left > 0) {
      left -= 1;
      await sleep(random() * 60);
      const kind = kinds[Math.floor(random() * kinds.length)];
      await follower.lose(kind);
      await sleep(random() * 40);
      await follower.comeBack();
      if (!follower.recoveries.at(-1)) failed[kind] = (failed[kind] ?? 0) + 1;
      // Sooner or later the server notices the line that it has kept; by then the client may be on its third.
      if (kind === "cutUnnoticed") setTimeout(() => follower.proxy.forget(), random() * 500);
    }
  };
  await Promise.all(runs.map(one));
  flowing = false;
  await flow;
  await Promise.all(runs.map(({ follower }) => follower.caughtUp()));
  const rows = WAYS.map(({ name }) => total(name, runs.filter(({ way }) => way === name)));
  rows.push(total("all", runs));
  console.table(rows);
  for (const { follower } of runs) follower.close();
  const all = rows.at(-1);
  return all["not recovered"] === 0 && all.lost === 0 && all.repeated === 0 && all["out of order"] === 0;
}

/** One row: the sums over some clients. */
function total(way, runs) {
  const sum = (of) => runs.reduce((all, run) => all + of(run), 0);
  const reports = (key) => sum(({ follower }) => follower.report[key]);
  const row = {
    way,
    clients: runs.length,
    cuts: reports("cuts"),
    "not recovered": reports("cuts") - reports("recovered"),
    published: reports("published"),
    lost: reports("lost"),
    repeated: reports("repeated"),
    "out of order": reports("disordered"),
    unaware: sum(({ follower }) => follower.unaware),
  };
  for (const kind of new Set(kinds)) row[`after ${kind}`] = sum(({ failed }) => failed[kind] ?? 0);
  return row;
}

// ---- Upgrades ----

/** Clients that connect over polling and go over to WebSocket while their room gets numbers and they ask for echoes. */
async function upgrade() {
  const all = Number(values.clients ?? 1000);
  const atOnce = Number(values["at-once"]);
  const clients = [];
  const proxy = await Proxy.open(server);
  for (let wave = 0; clients.length < all; wave++) {
    const room = `upgrade ${wave}`;
    const size = Math.min(atOnce, all - clients.length);
    let number = 0;
    let flowing = true;
    const flow = (async () => {
      for (; flowing; await sleep((1000 * size) / DELIVERIES)) publisher.publish(room, (number += 1));
    })();
    proxy.holdUpgrades();
    const wavers = Array.from({ length: size }, () => new Upgrading(proxy.http, room));
    clients.push(...wavers);
    await soon(() => wavers.every((client) => client.byPolling >= BEFORE));
    proxy.letUpgrade();
    await soon(() => wavers.every((client) => client.upgraded));
    await sleep(100);
    flowing = false;
    await flow;
    await publisher.taken();
    await Promise.all(wavers.map((client) => client.caughtUp(number)));
  }
  const sum = (of) => clients.reduce((total, client) => total + of(client), 0);
  const row = {
    clients: all,
    upgraded: sum((client) => Number(client.upgraded)),
    received: sum((client) => client.numbers.length),
    "of these over polling": sum((client) => client.byPolling),
    lost: sum((client) => client.lost),
    repeated: sum((client) => client.numbers.length - new Set(client.numbers).size),
    "out of order": sum((client) => disordered(client.numbers)),
    "echoes lost": sum((client) => ECHOES - new Set(client.echoes).size),
    "echoes out of order": sum((client) => disordered(client.echoes)),
    disconnected: sum((client) => client.losses),
  };
  console.table([row]);
  for (const client of clients) client.socket.close();
  proxy.close();
  const bad = ["lost", "repeated", "out of order", "echoes lost", "echoes out of order", "disconnected"];
  return row.upgraded === all && row["of these over polling"] >= all * BEFORE && bad.every((key) => row[key] === 0);
}

/** A client on its way from polling to WebSocket. */
class Upgrading {
  numbers = [];
  echoes = [];
  byPolling = 0;
  losses = 0;
  upgraded = false;
  lost = 0;

  constructor(url, room) {
    this.socket = io(url, { transports: ["polling", "websocket"], forceNew: true, reconnection: false });
    const { engine } = this.socket.io;
    engine.once("upgrade", () => (this.upgraded = true));
    this.socket.on("connect", async () => {
      this.socket.emit("join", room);
      for (let echo = 0; echo < ECHOES; echo++) {
        this.socket.emit("echo", `${echo}`);
        await sleep(ECHO_EVERY_MS);
      }
    });
    this.socket.on("disconnect", () => (this.losses += 1));
    this.socket.on("m", (message) => {
      if (typeof message === "string") return void this.echoes.push(Number(message));
      this.numbers.push(message);
      if (engine.transport.name === "polling") this.byPolling += 1;
    });
  }

  /** Until the last number and all echoes have come, or are late; then counts the holes. */
  async caughtUp(last) {
    await soon(() => this.numbers.at(-1) === last && this.echoes.length === ECHOES);
    // From its first number on; a client that has none has lost as many as its wave had.
    this.lost = last - (this.numbers[0] ?? 1) + 1 - new Set(this.numbers).size;
  }
}

// ---- Helpers ----

/** Until it is so, or it takes too long. */
async function soon(is) {
  const deadline = performance.now() + SOON;
  while (!is() && performance.now() < deadline) await sleep(10);
}

/** How many of these are less than the one before. */
function disordered(numbers) {
  return numbers.filter((number, i) => i > 0 && number < numbers[i - 1]).length;
}

/** Numbers from 0 to 1 that are the same for the same seed (a linear congruential generator). */
function generator(seed) {
  let state = seed >>> 0;
  return () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
}

/** The most memory that a process has had, where the system tells. */
async function peakMebibytes(pid) {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Math.round(Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
}

// ---- The run: last, since classes are not there before their place ----

const server = await Server.run(command);
const publisher = await Publisher.open(server);
const started = performance.now();
const good = await { cuts, upgrade }[mode]();
console.log(`${((performance.now() - started) / 1000).toFixed(1)} s, the server took at most ${await peakMebibytes(server.pid)} MiB`);
publisher.close();
await server.kill();
process.exit(good ? 0 : 1);
