// Writes a text as a language model would, and reads it: `npm run example -- stream http://localhost:8000`.
import { setTimeout as pause } from "node:timers/promises";
import WebSocket from "ws";
import { Longwire } from "../src/index.js";

const [url = "http://localhost:8000", channel = "ai:example"] = process.argv.slice(2);

async function* model(signal: AbortSignal): AsyncGenerator<string> {
  for (const word of "Once upon a time there was a line that was never lost for long.".split(/(?<= )/)) {
    await pause(100, undefined, { signal }).catch(() => {});
    yield word;
  }
}

const reader = new Longwire(url, { WebSocket });
const ended = new Promise<void>((resolve, reject) => {
  reader.subscribe(channel, {
    onStream(stream, added) {
      process.stdout.write(added ?? `\n${stream.text}`);
      if (stream.end) resolve(console.log(` (${stream.end})`));
    },
    onError: reject,
  }).ready.then(() => {
    const answer = writer.stream(channel, { event: "answer" });
    return answer.pipe(model(answer.signal));
  }).catch(reject);
});
const writer = new Longwire(url, { WebSocket });

await ended.finally(() => {
  reader.close();
  writer.close();
});
