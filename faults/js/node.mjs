// Subscribers in Node: `node node.mjs ADDRESS CLIENTS CHANNELS`. What they tell goes to standard output; ends when standard input does.
import { createRequire } from "node:module";
import { Longwire } from "../../clients/js/dist/longwire.min.js";
import { subscribe } from "./subscribers.mjs";

// Where `cargo xtask setup` has put the packages.
const { WebSocket } = createRequire(new URL("../../tests-web/", import.meta.url))("ws");
const [address, clients, channels] = process.argv.slice(2);

process.stdin.on("end", () => process.exit(0)).resume();
subscribe({ Longwire, WebSocket, address, clients: Number(clients), channels: Number(channels) }, (line) => {
  process.stdout.write(`${line}\n`);
});
