// What the example `socketio_contract` does, by the reference implementation: the tests are held against it first.
//
//   node contract.mjs 127.0.0.1:PORT [--eio3] [--patient]

import { createServer } from "node:http";
import { Server as Engine } from "engine.io";
import { Server } from "socket.io";
import { listen } from "./listen.mjs";

const OPTIONS = {
  ...(process.argv.includes("--patient") ? {} : { pingInterval: 300, pingTimeout: 200 }),
  maxHttpBufferSize: 1_000_000,
  cors: { origin: "*" },
  allowEIO3: process.argv.includes("--eio3"),
};

const http = createServer((_, response) => response.writeHead(404).end());

const engine = new Engine(OPTIONS);
engine.on("connection", (socket) => socket.on("message", (message) => socket.send(message)));
engine.attach(http, { path: "/engine.io/" });

const allowRequest = ({ url }, decide) => {
  const why = new URL(url, "http://localhost").searchParams.get("refuse");
  decide(why, why === null);
};
const io = new Server(http, { ...OPTIONS, path: "/socket.io/", connectTimeout: 1000, allowRequest });
io.engine.on("initial_headers", (headers) => (headers["x-contract"] = "yes"));
io.on("connection", (socket) => {
  socket.emit("auth", socket.handshake.auth);
  socket.on("message", (...args) => socket.emit("message-back", ...args));
  socket.on("message-with-ack", (...args) => args.pop()(...args));
});
io.of("/custom").on("connection", (socket) => socket.emit("auth", socket.handshake.auth));

const without = (socket) => [...socket.rooms].filter((room) => room !== socket.id);
const api = io.of("/api");
api.on("connection", (socket) => {
  socket.onAny((name) => socket.emit("seen", name));
  socket.use(([name], next) => next(name === "forbidden" ? new Error("not allowed") : undefined));
  socket.on("forbidden", (ack) => ack("was not forbidden"));
  socket.on("join", (rooms, ack) => (socket.join(rooms), ack(true)));
  socket.on("leave", (rooms, ack) => (rooms.forEach((room) => socket.leave(room)), ack(without(socket))));
  socket.on("note", (data, ack) => ((socket.data = data), ack(true)));
  socket.on("tell", (to, except, text, ack) => (api.to(to).except(except).emit("told", text), ack(true)));
  socket.on("ask", (to, within, ack) =>
    api.to(to).timeout(within).emit("question", (error, answers) => ack(answers.map((answer) => JSON.stringify([answer])), error ? 1 : 0)),
  );
  socket.on("who", async (to, ack) => ack((await api.to(to).fetchSockets()).map((found) => [found.id, without(found), found.data])));
  socket.on("listen", (ack) => {
    socket.once("once", () => socket.emit("heard", "once"));
    socket.on("extra", () => socket.emit("heard", "extra"));
    ack();
  });
  socket.on("deaf", (ack) => (socket.removeAllListeners("extra"), ack()));
  socket.on("put out", () => socket.disconnect());
  let rooms;
  socket.on("disconnecting", () => (rooms = without(socket)));
  socket.on("disconnect", (reason) => api.emit("gone", socket.id, reason, rooms, socket.data));
});
io.of((name, { key }, next) => next(null, name === `/tenant-${key}`)).on("connection", (socket) => {
  socket.emit("auth", socket.handshake.auth);
});

listen(http);
