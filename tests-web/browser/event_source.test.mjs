// The browser's own `EventSource`: at a full server it waits for a place, and put out for good it stays away.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { connect } from "node:net";
import { API_KEY, pageTest, setUp } from "./harness.mjs";

// What Chromium says of the end of the last stream, which is an empty answer.
const FAILED = [/^Failed to load resource/];

setUp();

/** A window with a page of another origin, whose `EventSource` tells what happens to it. */
async function listens(desk, url) {
  const pages = createServer((_, response) => response.setHeader("content-type", "text/html").end('<!doctype html><link rel="icon" href="data:,">'));
  await once(pages.listen(0, "127.0.0.1"), "listening");
  const page = await desk.window();
  await page.goto(`http://127.0.0.1:${pages.address().port}/`);
  pages.closeAllConnections();
  pages.close();
  await page.evaluate((url) => {
    window.source = new EventSource(url);
    window.told = [];
    window.lost = 0;
    source.addEventListener("connected", ({ data }) => (window.session = JSON.parse(data).session));
    source.addEventListener("subscribed", () => (window.subscribed = true));
    source.addEventListener("close", ({ data }) => told.push(JSON.parse(data)));
    source.addEventListener("error", () => (window.lost += 1));
  }, `${url}/v1/events?channel=chat:here`);
  return page;
}

pageTest("an EventSource that comes to a full server waits for a place", async (desk) => {
  const { url, port } = await desk.server({ more: ["--max-connections", "4"] });
  // Until one is refused, whoever else is there.
  const others = [];
  for (let full = false; !full; ) {
    const other = connect(port, "127.0.0.1");
    other.on("error", () => {});
    other.write("GET /v1/events?channel=chat:here HTTP/1.1\r\nHost: localhost\r\n\r\n");
    others.push(other);
    full = String((await once(other, "data"))[0]).includes("503");
  }
  const page = await listens(desk, url);
  await page.waitForFunction(() => lost > 0);
  const [close] = await page.evaluate(() => told);
  assert.deepEqual([close.code, close.error.code], [1013, "too_many_connections"]);
  assert.equal(await page.evaluate(() => source.readyState), 0, "it comes back");
  for (const other of others) other.destroy();
  await page.waitForFunction(() => window.subscribed);
});

pageTest("an EventSource that is put out by the operator stays away", async (desk) => {
  desk.expectedComplaints = FAILED;
  const page = await listens(desk, desk.url);
  await page.waitForFunction(() => window.subscribed);
  const answer = await fetch(`${desk.url}/api/v1/disconnect`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-API-Key": API_KEY },
    body: JSON.stringify({ session: await page.evaluate(() => session) }),
  });
  assert.equal(answer.status, 200);
  await page.waitForFunction(() => source.readyState === EventSource.CLOSED);
  assert.deepEqual(await page.evaluate(() => told.map(({ code }) => code)), [3501]);
});
