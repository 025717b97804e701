// What the example `socketio_room` does, by the reference implementation with its connection state recovery on.
//
//   node room.mjs 127.0.0.1:PORT [--ask]

import { createServer } from "node:http";
import { Server } from "socket.io";
import { listen } from "./listen.mjs";

const http = createServer((_, response) => response.writeHead(404).end());
const io = new Server(http, { cors: { origin: "*" }, connectionStateRecovery: { skipMiddlewares: !process.argv.includes("--ask") } });

io.use((socket, next) => next(socket.handshake.auth.banned ? new Error("banned") : undefined));

io.on("connection", (socket) => {
  socket.on("join", async (room) => {
    await socket.join(room);
    socket.emit("joined", "");
  });
  socket.on("pub", (room, message) => io.to(room).emit("m", message));
  socket.on("echo", (message) => socket.emit("m", message));
});

listen(http);
