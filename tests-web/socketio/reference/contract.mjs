// What the example `socketio_contract` does, by the reference implementation: the tests are held against it first.
//
//   node contract.mjs 127.0.0.1:PORT [--eio3]

import { createServer } from "node:http";
import { Server as Engine } from "engine.io";
import { Server } from "socket.io";
import { listen } from "./listen.mjs";

const OPTIONS = {
  pingInterval: 300,
  pingTimeout: 200,
  maxHttpBufferSize: 1_000_000,
  cors: { origin: "*" },
  allowEIO3: process.argv.includes("--eio3"),
};

const http = createServer((_, response) => response.writeHead(404).end());

const engine = new Engine(OPTIONS);
engine.on("connection", (socket) => socket.on("message", (message) => socket.send(message)));
engine.attach(http, { path: "/engine.io/" });

const io = new Server(http, { ...OPTIONS, path: "/socket.io/", connectTimeout: 1000 });
io.on("connection", (socket) => {
  socket.emit("auth", socket.handshake.auth);
  socket.on("message", (...args) => socket.emit("message-back", ...args));
  socket.on("message-with-ack", (...args) => args.pop()(...args));
});
io.of("/custom").on("connection", (socket) => socket.emit("auth", socket.handshake.auth));

listen(http);
