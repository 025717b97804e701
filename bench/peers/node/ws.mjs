// The echo/broadcast contract on npm `ws`, the way its documentation broadcasts: one `send` for each client.
import { createServer } from "node:http";
import { WebSocket, WebSocketServer } from "ws";

const [host, port] = (process.argv[2] ?? "").split(":");
if (!port) {
  console.error("usage: node ws.mjs HOST:PORT");
  process.exit(2);
}

/** @type {Map<string, Set<WebSocket>>} */
const channels = new Map();

function subscribers(name) {
  let set = channels.get(name);
  if (!set) channels.set(name, (set = new Set()));
  return set;
}

const server = createServer((_request, response) => response.writeHead(404).end());
const lines = new WebSocketServer({ server, perMessageDeflate: false });

lines.on("connection", (line, request) => {
  line.on("error", () => {});
  const [, kind, name] = request.url.split("/");
  if (kind === "sub") {
    const channel = subscribers(name);
    channel.add(line);
    line.on("close", () => channel.delete(line));
  } else if (kind === "pub") {
    const channel = subscribers(name);
    line.on("message", (data, isBinary) => {
      if (isBinary) return;
      for (const subscriber of channel) {
        if (subscriber.readyState === WebSocket.OPEN) subscriber.send(data, { binary: false });
      }
    });
  } else {
    line.on("message", (data, isBinary) => line.send(data, { binary: isBinary }));
  }
});

server.listen(Number(port), host);
