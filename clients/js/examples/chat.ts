// A chat for the terminal: `npm run example -- chat http://localhost:8000 Ann`. Stop the server and start it again: nothing is lost.
import { createInterface } from "node:readline";
import WebSocket from "ws";
import { Longwire } from "../src/index.js";

interface Said {
  text: string;
}

const [url = "http://localhost:8000", name = "somebody"] = process.argv.slice(2);
const line = new Longwire(url, { WebSocket, info: { name } });

line.on("state", (now) => {
  if (now.state === "lost") console.log(`(${now.error.message}; next attempt at ${new Date(now.next).toLocaleTimeString()})`);
});

const lobby = line.subscribe<Said>("chat:lobby", {
  last: 10,
  onPublication({ data, from }) {
    const { name = "?" } = (from?.info ?? {}) as { name?: string };
    console.log(`${name}: ${data?.text}`);
  },
  onMissed: ({ reason }) => console.log(`(some messages are gone: ${reason})`),
  onError: (error) => console.error(error.message),
});

const input = createInterface({ input: process.stdin });
let said: Promise<unknown> = Promise.resolve();
input.on("line", (text) => {
  said = lobby.publish({ text } satisfies Said).catch((error: Error) => console.error(`not said: ${error.message}`));
});
input.on("close", () => void said.then(() => line.close()));
