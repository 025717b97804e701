// Subscribers of one kind in Node: `node node.mjs KIND ADDRESS CLIENTS DEAL`. What they tell goes to standard output; ends when
// standard input does.
import { createRequire } from "node:module";
import { Longwire } from "../../clients/js/dist/longwire.min.js";
import { eventStream } from "./events.mjs";
import { longwire } from "./longwire.mjs";
import { polls } from "./polls.mjs";
import { socketIo } from "./socketio.mjs";
import { subscribe } from "./subscribers.mjs";

// Where `cargo xtask setup` has put the packages.
const packages = createRequire(new URL("../../tests-web/", import.meta.url));
const KINDS = {
  websocket: () => longwire(Longwire, { WebSocket: packages("ws").WebSocket, transports: ["websocket"] }),
  stream: () => longwire(Longwire, { transports: ["stream"] }),
  poll: () => longwire(Longwire, { transports: ["poll"] }),
  polls: () => polls,
  events: () => eventStream(packages("eventsource").EventSource),
  socketio: () => socketIo(packages("socket.io-client").io),
};
const [kind, address, clients, deal] = process.argv.slice(2);

process.stdin.on("end", () => process.exit(0)).resume();
subscribe(KINDS[kind](), { address, clients: Number(clients), deal: JSON.parse(deal) }, (line) => {
  process.stdout.write(`${line}\n`);
});
