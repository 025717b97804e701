// The first page: the live line, the article's snippet, and what the pages may load.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { enterRoom, lineIs, newRoom, pageTest, setUp } from "./harness.mjs";

setUp();

pageTest("the article's code works in the console of a page", async (desk) => {
  const page = await desk.window();
  await page.goto(`${desk.url}/`);
  const received = await page.evaluate(
    (address) =>
      new Promise((resolve, reject) => {
        const texts = [];
        const ws = new WebSocket(address);
        ws.onopen = () => ws.send("你好");
        ws.onerror = () => reject(new Error("the line did not open"));
        ws.onmessage = (event) => {
          texts.push(event.data);
          if (texts.length === 2) resolve(texts);
        };
      }),
    `${desk.url.replace(/^http/, "ws")}/ws`,
  );
  assert.deepEqual(received, ["✅ WebSocket 已连接", "你发送了：你好"]);
});

pageTest("the first page talks on its line and shows both directions", async (desk) => {
  const page = await desk.window();
  await page.goto(`${desk.url}/`);
  await lineIs(page, "open");
  await page.fill("#send-text", "<b>hello</b>");
  await page.click("#send button");
  await page.locator("#traffic").getByText("你发送了：<b>hello</b>").waitFor();
  const rows = await page.locator("#traffic > div").evaluateAll((items) =>
    items.map((item) => [item.className, item.querySelector(".words").textContent]),
  );
  assert.deepEqual(rows, [
    ["received", "✅ WebSocket 已连接"],
    ["sent", "<b>hello</b>"],
    ["received", "你发送了：<b>hello</b>"],
  ]);
  assert.match(await page.textContent("#traffic > div:last-child .took"), /^\d+(\.\d)? ms$/);
});

pageTest("the snippet names this very server and can be copied", async (desk) => {
  const page = await desk.window({ permissions: ["clipboard-read", "clipboard-write"] });
  await page.goto(`${desk.url}/`);
  await page.click("[data-copy='#snippet']");
  await page.waitForSelector("[data-copy='#snippet'][data-copied=true]");
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  const { host } = new URL(desk.url);
  assert.ok(copied.includes(`new WebSocket("ws://${host}/ws")`), copied);
  await page.click("text=Open the chat");
  await page.waitForURL(`${desk.url}/chat`);
});

pageTest("the first page leads to the stream, and the client can be used from a page", async (desk) => {
  const page = await desk.window();
  await page.goto(`${desk.url}/`);
  await page.click("nav a[href='/demo/stream']");
  await lineIs(page, "open");
  const got = await page.evaluate(async () => {
    const { Longwire } = await import("/longwire.js");
    const line = new Longwire();
    const got = new Promise((resolve) => line.subscribe("first", { onPublication: ({ data }) => resolve(data) }));
    await line.publish("first", { text: "你好" });
    return got;
  });
  assert.deepEqual(got, { text: "你好" });
});

pageTest("the README's page works from another origin, and is served by --static", async (desk) => {
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const [html] = readme.match(/<script type="module">[^]*?<\/script>/);
  const files = desk.directory();
  // Browsers ask for a page's icon when they like.
  writeFileSync(join(files, "favicon.ico"), "");
  writeFileSync(join(files, "index.html"), `<!doctype html><meta charset="utf-8">${html.replaceAll("http://localhost:8000", desk.url)}`);
  const server = await desk.server({ files });
  const page = await desk.window();
  const heard = page.waitForEvent("console", (message) => message.text().includes("hello"));
  await page.goto(`${server.url}/`);
  await heard;
  assert.notEqual(new URL(server.url).origin, new URL(desk.url).origin);
});

pageTest("the strict content security policy is sent, and nothing violates it", async (desk) => {
  const page = await desk.window();
  const loaded = [];
  page.on("response", (response) => loaded.push([response.url(), response.status()]));
  for (const path of ["/", "/chat", "/compare", "/demo/stream"]) {
    const response = await page.goto(desk.url + path);
    const policy = response.headers()["content-security-policy"];
    assert.match(policy, /default-src 'none'/);
    assert.match(policy, /script-src 'self'(;|$)/);
    assert.match(policy, /style-src 'self'(;|$)/);
    assert.match(policy, /frame-ancestors 'none'/);
    assert.match(response.headers()["content-type"], /^text\/html; ?charset=utf-8$/i);
  }
  await enterRoom(page, desk.url, { room: newRoom(), name: "Ada" });
  for (const [address, status] of loaded) {
    assert.ok(address.startsWith(`${desk.url}/`), `loaded from elsewhere: ${address}`);
    assert.ok(status === 200 || status === 304, `${status} ${address}`);
  }
  // The test ends with a look at the consoles, where a violation would be.
});
