// The demo of a stream: whatever is done to the pages, all have the same text in the end.

import assert from "node:assert/strict";
import { lineIs, PAGES, pageTest, scrollsSideways, setUp } from "./harness.mjs";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const TEXT = (name) => readFileSync(join(PAGES, "..", "src", "demo", `${name}.txt`), "utf8").trim();
const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };
const NO_SERVER = /^(WebSocket connection to .* failed|Failed to load resource: net::ERR_)/;

setUp();

pageTest("a reload, a late window and a hung-up line change nothing about the answer", async (desk) => {
  const asking = await desk.window();
  await asking.goto(`${desk.url}/demo/stream`);
  await lineIs(asking, "open");
  await asking.getByRole("button", { name: "Why keep a line open?" }).click();
  await hasText(asking, 60);
  await asking.reload();
  await hasText(asking, 120);
  assert.match(await figures(asking), /1 catch-up/);

  const late = await desk.window();
  await late.goto(asking.url());
  await hasText(late, 200);
  assert.match(await figures(late), /1 catch-up/);
  await late.getByRole("button", { name: "Hang up" }).click();
  await lineIs(late, "stopped");
  const before = (await late.textContent(".answer .text")).length;
  await hasText(asking, before + 60);
  await late.getByRole("button", { name: "Call again" }).click();
  await lineIs(late, "open");
  await hasText(late, before + 60);
  assert.match(await figures(late), /2 catch-ups/);

  for (const page of [asking, late]) {
    await stateIs(page, "finished");
    assert.equal(await page.textContent(".answer .text"), TEXT("line.en"));
    assert.equal(await page.textContent(".answer h3"), "Why keep a line open?");
    assert.equal(await page.locator(".answer .stop").isVisible(), false);
  }
  const after = await desk.window({ locale: "zh-CN" });
  await after.goto(asking.url());
  await stateIs(after, "finished");
  assert.equal(await after.textContent(".answer .text"), TEXT("line.en"));
  assert.equal(await after.textContent(".answer h3"), "为什么要让连接一直开着？");
});

pageTest("either window can stop it, and both have the same text then", async (desk) => {
  const [asking, other] = [await desk.window({ locale: "zh-CN" }), await desk.window()];
  await asking.goto(`${desk.url}/demo/stream`);
  await lineIs(asking, "open");
  await asking.getByRole("button", { name: "流有什么用？" }).click();
  await hasText(asking, 20);
  await other.goto(asking.url());
  await hasText(other, 40);
  await other.click(".answer .stop");
  for (const page of [asking, other]) await stateIs(page, "cancelled");
  const text = await asking.textContent(".answer .text");
  assert.equal(await other.textContent(".answer .text"), text);
  assert.ok(TEXT("stream.zh").startsWith(text) && text.length < TEXT("stream.zh").length);
  assert.equal(await asking.textContent(".answer .state"), "已停止");

  await other.getByRole("button", { name: "How is nothing lost?" }).click();
  await hasText(asking, 30);
  assert.equal(await asking.locator(".answer").count(), 2);
  await asking.click(".answer .stop:visible");
  for (const page of [asking, other]) await stateIs(page, "cancelled");
});

pageTest("an answer outlives the page that asked", async (desk) => {
  const asking = await desk.window();
  await asking.goto(`${desk.url}/demo/stream`);
  await lineIs(asking, "open");
  await asking.getByRole("button", { name: "What are streams for?" }).click();
  await hasText(asking, 30);
  const address = asking.url();
  await asking.close();
  const other = await desk.window();
  await other.goto(address);
  await stateIs(other, "finished");
  assert.equal(await other.textContent(".answer .text"), TEXT("stream.en"));
});

pageTest("a server that is killed takes its writer along, and what was read stays", async (desk) => {
  desk.expectedComplaints = [NO_SERVER];
  const server = await desk.server();
  const page = await desk.window();
  await page.goto(`${server.url}/demo/stream`);
  await lineIs(page, "open");
  await page.getByRole("button", { name: "Why keep a line open?" }).click();
  await hasText(page, 60);
  await server.kill();
  await lineIs(page, "lost");
  assert.equal(await page.getByRole("button", { name: "Why keep a line open?" }).isDisabled(), true);
  await desk.server({ port: server.port });
  await lineIs(page, "open");
  await stateIs(page, "gone");
  assert.ok(TEXT("line.en").startsWith(await page.textContent(".answer .text")));
  await page.getByRole("button", { name: "How is nothing lost?" }).click();
  await page.waitForFunction(() => document.querySelectorAll(".answer").length === 2);
});

pageTest("an answer whose writer died with the server is marked so, where channels are kept", async (desk) => {
  desk.expectedComplaints = [NO_SERVER];
  const config = '[namespaces.ai]\nhistory_size = 100\nstreams = true\nstream_lease = "2s"\n';
  const data = desk.directory();
  const server = await desk.server({ data, config });
  const page = await desk.window();
  await page.goto(`${server.url}/demo/stream`);
  await lineIs(page, "open");
  await page.getByRole("button", { name: "Why keep a line open?" }).click();
  await hasText(page, 60);
  await server.kill();
  const read = await page.textContent(".answer .text");
  await desk.server({ port: server.port, data, config });
  await stateIs(page, "lost");
  assert.ok((await page.textContent(".answer .text")).startsWith(read));
  await page.reload();
  await stateIs(page, "lost");
  assert.ok(TEXT("line.en").startsWith(await page.textContent(".answer .text")));
});

pageTest("on a phone nothing scrolls sideways, and everything works from the keyboard", async (desk) => {
  const phone = await desk.window(PHONE);
  await phone.goto(`${desk.url}/demo/stream`);
  await lineIs(phone, "open");
  assert.equal(await scrollsSideways(phone), false);
  await phone.focus("[data-question=line]");
  await phone.keyboard.press("Enter");
  await hasText(phone, 30);
  assert.equal(await scrollsSideways(phone), false);
  await phone.focus(".answer .stop");
  await phone.keyboard.press("Enter");
  await stateIs(phone, "cancelled");
});

pageTest("who asks what is not there is told so", async (desk) => {
  const ask = (body, type = "application/json") =>
    fetch(`${desk.url}/demo/stream/ask`, { method: "POST", headers: { "Content-Type": type }, body });
  const good = JSON.stringify({ id: "a1", question: "line", language: "en" });
  for (const [body, type] of [["{", undefined], ["{}", undefined], [good.replace("a1", "a:b"), undefined], [good, "text/plain"]]) {
    const answer = await ask(body, type);
    assert.equal(answer.status, 400);
    assert.equal((await answer.json()).error.name, "bad_value");
  }
});

async function hasText(page, length) {
  await page.waitForFunction((least) => document.querySelector(".answer .text")?.textContent.length >= least, length);
}

// Of the newest answer. A whole one takes its time.
async function stateIs(page, state) {
  await page.waitForSelector(`#answers .answer:first-child[data-state=${state}]`, { timeout: 60_000 });
}

async function figures(page) {
  return page.textContent(".answer footer");
}
