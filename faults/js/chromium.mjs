// Subscribers in one page of a headless Chromium: `node chromium.mjs ADDRESS CLIENTS DEAL`. What they tell goes to standard output;
// ends when standard input does. CHROMIUM is the browser, /usr/bin/chromium by default.
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";

// Where `cargo xtask setup` has put the packages.
const { chromium } = createRequire(new URL("../../tests-web/", import.meta.url))("playwright-core");
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const FILES = {
  "/longwire.min.js": new URL("../../clients/js/dist/longwire.min.js", import.meta.url),
  "/longwire.mjs": new URL("longwire.mjs", import.meta.url),
  "/subscribers.mjs": new URL("subscribers.mjs", import.meta.url),
};

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
if (!existsSync(executablePath)) fail(`there is no Chromium at ${executablePath}: run \`cargo xtask setup\`, or set CHROMIUM`);
const [address, clients, deal] = process.argv.slice(2);

let closing = false;
const pages = await serve();
const browser = await chromium.launch({ executablePath, args: FLAGS });
browser.on("disconnected", () => closing || fail("Chromium has ended"));
process.stdin
  .on("end", async () => {
    closing = true;
    await browser.close();
    process.exit(0);
  })
  .resume();
const page = await browser.newPage();
page.on("crash", () => fail("the page has crashed"));
page.on("pageerror", (error) => fail(`in the page: ${error.stack ?? error}`));
await page.exposeFunction("report", (lines) => void process.stdout.write(`${lines.join("\n")}\n`));
await page.goto(pages);
await page.evaluate(begin, { address, clients: Number(clients), deal: JSON.parse(deal) });

/** Runs in the page. */
async function begin(plan) {
  const { Longwire } = await import("/longwire.min.js");
  const { longwire } = await import("/longwire.mjs");
  const { subscribe } = await import("/subscribers.mjs");
  let lines = [];
  let sending = false;
  // One batch at a time, so that they come in order.
  const send = async () => {
    sending = true;
    while (lines.length > 0) {
      const batch = lines;
      lines = [];
      await window.report(batch);
    }
    sending = false;
  };
  subscribe(longwire(Longwire, { transports: ["websocket"] }), plan, (line) => {
    lines.push(line);
    if (!sending) void send();
  });
}

/** An empty page and its modules, on a free port: the address. */
async function serve() {
  const server = createServer(({ url }, response) => {
    const file = FILES[url];
    if (file) response.setHeader("content-type", "text/javascript; charset=utf-8").end(readFileSync(file));
    else response.setHeader("content-type", "text/html; charset=utf-8").end('<!doctype html><link rel="icon" href="data:,">');
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${server.address().port}/`;
}

function fail(reason) {
  console.error(`faults, Chromium: ${reason}`);
  process.exit(1);
}
