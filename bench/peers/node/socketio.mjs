// The rooms contract on npm `socket.io`, its Node server: `join`(room) joins, `pub`(room, message) emits `m`(message) to the room.
// Recovery is off, as it is by default, and so is compression. `bufferutil` is installed, as its documentation advises for the `ws`
// below it, and the request that opened a line is let go of, as it advises for many lines.
import { createServer } from "node:http";
import { Server } from "socket.io";

const [host, port] = (process.argv[2] ?? "").split(":");
if (!port) {
  console.error("usage: node socketio.mjs HOST:PORT");
  process.exit(2);
}

const server = createServer((_request, response) => response.writeHead(404).end());
const io = new Server(server, { serveClient: false, perMessageDeflate: false });

io.engine.on("connection", (line) => {
  line.request = null;
});

io.on("connection", (socket) => {
  socket.on("join", (room) => socket.join(room));
  socket.on("pub", (room, message) => io.to(room).emit("m", message));
});

server.listen(Number(port), host);
