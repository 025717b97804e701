// What a server may do with its clients besides answering them: the server API as stock clients see it. Each over polling, over WebSocket, and
// from the one to the other; what the server does is in the example `socketio_contract`.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { io as io4 } from "socket.io-client";
import { io as io3 } from "socket.io-client-3";
import { REFERENCE, Server } from "./server.mjs";
import { within } from "./wire.mjs";

const LIMIT = { timeout: 30_000 };
const SOON = 5000;
/** For those who are asked and never answer. */
const PATIENCE_MS = 300;

const CLIENTS = [
  { name: "socket.io-client 4.8", io: io4 },
  { name: "socket.io-client 3.1", io: io3 },
];
const WAYS = [["polling"], ["websocket"], ["polling", "websocket"]];

let server;
let room;
let asking;
before(async () => {
  [server, room, asking] = await Promise.all([Server.start("contract", "--patient"), Server.start("room"), Server.start("room", "--ask")]);
});
after(async () => {
  for (const each of [server, room, asking]) await each.kill();
});

/** A test with each client over each way. `body` gets what makes sockets of a namespace, and asks with one. */
function each(name, body, clients = CLIENTS) {
  for (const { name: client, io } of clients) {
    for (const transports of WAYS) {
      test(`${name}: ${client}, ${transports.join(" and ")}`, LIMIT, async () => {
        const sockets = [];
        const socket = (namespace, options) => {
          const url = (options?.server ?? server).http + namespace;
          sockets.push(io(url, { transports, forceNew: true, reconnectionDelay: 20, ...options }));
          return sockets.at(-1);
        };
        const connected = async (namespace, options) => {
          const made = socket(namespace, options);
          await heard(made, "connect");
          return made;
        };
        try {
          await body({ socket, connected });
        } finally {
          for (const made of sockets) made.disconnect();
        }
      });
    }
  }
}

const heard = (emitter, event) => within(SOON, new Promise((resolve) => emitter.once(event, (...args) => resolve(args))), event);
/** Emits, and gives the arguments of the answer. */
const ask = (socket, ...args) => within(SOON, new Promise((resolve) => socket.emit(...args, (...answer) => resolve(answer))), args[0]);

/** Remembers what comes; the next of a name is waited for. */
function listen(socket, ...events) {
  const all = [];
  for (const event of events) socket.on(event, (...args) => all.push([event, ...args]));
  return all;
}

let rooms = 0;
/** A name that no other test has. */
const fresh = (name) => `${name} ${++rooms}`;

each("what is emitted to several rooms comes once, and not to those who are excepted", async ({ connected }) => {
  const [a, b, c] = [fresh("a"), fresh("b"), fresh("c")];
  const sockets = await Promise.all([[a], [a, b], [b, c], []].map(async (rooms) => {
    const socket = await connected("/api");
    assert.deepEqual(await ask(socket, "join", rooms), [true]);
    return socket;
  }));
  const told = sockets.map((socket) => listen(socket, "told"));
  await ask(sockets[3], "tell", [a, b], [c], "first");
  assert.deepEqual(await ask(sockets[1], "leave", [a, b]), [[]]);
  await ask(sockets[3], "tell", [a, b], [], "second");
  // An answer comes behind what was emitted before it.
  await Promise.all(sockets.map((socket) => ask(socket, "leave", [])));
  const texts = told.map((all) => all.map(([, text]) => text));
  assert.deepEqual(texts, [["first", "second"], ["first"], ["second"], []]);
});

each("many are asked at once, and it is told who has not answered", async ({ connected }) => {
  const [all, some] = [fresh("all"), fresh("some")];
  const [asker, ...sockets] = await Promise.all([1, 2, 3, 4].map(() => connected("/api")));
  await Promise.all(sockets.map((socket, at) => ask(socket, "join", at < 2 ? [all, some] : [all])));
  sockets[0].on("question", (answer) => answer("one"));
  sockets[1].on("question", (answer) => answer("two"));
  sockets[2].once("question", () => {});
  const [answers, missing] = await ask(asker, "ask", [some], SOON);
  assert.deepEqual([answers.sort(), missing], [['["one"]', '["two"]'], 0]);
  assert.deepEqual(await ask(asker, "ask", [sockets[2].id], PATIENCE_MS), [[], 1]);
  // Who goes is not waited for.
  sockets[2].once("question", () => sockets[2].disconnect());
  const [fewer, one] = await ask(asker, "ask", [all], REFERENCE ? 1000 : SOON * 2);
  assert.deepEqual([fewer.sort(), one], [['["one"]', '["two"]'], 1]);
});

each("sockets are found with their rooms and what was noted with them", async ({ connected }) => {
  const [here, there] = [fresh("here"), fresh("there")];
  const sockets = await Promise.all([1, 2, 3].map(() => connected("/api")));
  for (const [at, socket] of sockets.entries()) await ask(socket, "join", at === 2 ? [there] : [here]);
  await ask(sockets[0], "note", { user: "安娜", bytes: [1, 2] });
  await ask(sockets[1], "note", "a text");
  const [found] = await ask(sockets[2], "who", [here]);
  const expected = [[sockets[0].id, [here], { user: "安娜", bytes: [1, 2] }], [sockets[1].id, [here], "a text"]];
  assert.deepEqual(found.sort(byId), expected.sort(byId));
  const byRooms = (await ask(sockets[2], "who", [here, there]))[0].map(([id]) => id);
  assert.deepEqual(byRooms.sort(), sockets.map(({ id }) => id).sort());
});

const byId = ([a], [b]) => (a < b ? -1 : 1);

each("handlers of one socket are there once, or until they are taken away", async ({ connected }) => {
  const [socket, other] = [await connected("/api"), await connected("/api")];
  const events = [listen(socket, "heard"), listen(other, "heard")];
  await ask(socket, "listen");
  for (const name of ["once", "once", "extra", "extra"]) {
    socket.emit(name);
    other.emit(name);
  }
  await ask(socket, "deaf");
  socket.emit("extra");
  await Promise.all([socket, other].map((each) => ask(each, "leave", [])));
  assert.deepEqual(events, [[["heard", "once"], ["heard", "extra"], ["heard", "extra"]], []]);
});

each("every event is seen, and those that are refused are not handled", async ({ connected }) => {
  const socket = await connected("/api");
  const seen = listen(socket, "seen");
  let answer;
  socket.emit("forbidden", (...args) => (answer = args));
  socket.emit("nobody handles it", 1, Buffer.from("x"));
  await ask(socket, "leave", []);
  const names = seen.map(([, name]) => name);
  assert.deepEqual(names, ["forbidden", "nobody handles it", "leave"]);
  // The reference leaves whoever waits for an answer without one.
  assert.deepEqual(answer, REFERENCE ? undefined : [{ error: { code: "refused", message: "not allowed" } }]);
});

each("it is told why a client has gone, and what it was", async ({ connected }) => {
  const watcher = await connected("/api");
  const gone = new Map();
  watcher.on("gone", (id, ...rest) => gone.get(id)(rest));
  for (const [how, expected, at] of [
    [(socket) => socket.disconnect(), "client namespace disconnect", "io client disconnect"],
    [(socket) => socket.emit("put out"), "server namespace disconnect", "io server disconnect"],
    [(socket) => socket.io.engine.close(), "transport close", "forced close"],
  ]) {
    const socket = await connected("/api", { reconnection: false });
    const name = fresh("left");
    await ask(socket, "join", [name]);
    await ask(socket, "note", how.toString());
    const told = new Promise((resolve) => gone.set(socket.id, resolve));
    const reason = heard(socket, "disconnect");
    how(socket);
    assert.deepEqual(await within(SOON, told, expected), [expected, [name], how.toString()]);
    assert.equal((await reason)[0], at);
  }
});

each("the request that opens a connection is refused, or its answer has more headers", async ({ socket, connected }) => {
  const refused = socket("", { query: { refuse: "not today" }, reconnection: false });
  const [error] = await heard(refused, "connect_error");
  assert.match(error.message, /xhr poll error|websocket error/);
  await connected("", { query: { other: "x" } });
  const answer = (more) => fetch(`${server.http}/socket.io/?EIO=4&transport=polling${more}`);
  const [no, yes] = [await answer("&refuse=not%20today"), await answer("")];
  assert.deepEqual([no.status, await no.json()], [403, { code: 4, message: "not today" }]);
  assert.deepEqual([yes.status, yes.headers.get("x-contract")], [200, "yes"]);
});

each("whether there is a namespace may depend on its name and on what the client says", async ({ socket, connected }) => {
  const mine = socket("/tenant-7", { auth: { key: "7" } });
  assert.deepEqual(await heard(mine, "auth"), [{ key: "7" }]);
  const strangers = [["/tenant-8", { key: "7" }], ["/tenant-8", {}], ["/nothing", { key: "7" }]];
  // In the reference a namespace that somebody is in is open to all.
  if (!REFERENCE) strangers.push(["/tenant-7", { key: "8" }]);
  for (const [name, auth] of strangers) {
    const [error] = await heard(socket(name, { auth }), "connect_error");
    assert.equal(error.message, "Invalid namespace");
  }
  // Beside each other on one line.
  const root = await connected("");
  const beside = root.io.socket("/tenant-9", { auth: { key: "9" } });
  assert.deepEqual(await heard(beside, "auth"), [{ key: "9" }]);
  beside.disconnect();
});

each(
  "those who come back are asked again if the application wants that",
  async ({ connected }) => {
    for (const [server, asks] of [[room, false], [asking, true]]) {
      const socket = await connected("", { server });
      socket.emit("join", fresh("room"));
      // The first event has the place to which the client comes back.
      await heard(socket, "joined");
      const { id } = socket;
      socket.auth = { banned: true };
      const outcome = within(SOON, Promise.race([once(socket, "connect").then(() => "back"), once(socket, "connect_error").then(([e]) => e.message)]), "it comes back");
      socket.io.engine.close();
      assert.equal(await outcome, asks ? "banned" : "back");
      if (!asks) assert.deepEqual([socket.recovered, socket.id], [true, id]);
    }
  },
  CLIENTS.slice(0, 1),
);
