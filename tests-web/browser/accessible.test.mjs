// What axe-core, a checker of accessibility, has to say about each page; and where the pages lead.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { enterRoom, lineIs, newRoom, pageTest, scrollsSideways, setUp } from "./harness.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const ADDRESSES = ["/", "/chat", "/demo/stream", "/compare", "/nope"];

setUp();

for (const [locale, colorScheme] of [
  ["en-US", "light"],
  ["zh-CN", "dark"],
]) {
  pageTest(`nothing is to be said about how accessible the pages are, in ${locale}`, async (desk) => {
    desk.expectedComplaints.push(/404/);
    const page = await desk.window({ locale, colorScheme, reducedMotion: "reduce" });
    for (const address of ADDRESSES) {
      await page.goto(desk.url + address);
      if (address === "/") await lineIs(page, "open");
      assert.deepEqual(await violations(page), [], address);
    }
    await enterRoom(page, desk.url, { room: newRoom(), name: "Ada" });
    assert.deepEqual(await violations(page), [], "in a room");
  });
}

pageTest("every page leads to every other, on a phone as well", async (desk) => {
  desk.expectedComplaints.push(/404/);
  const page = await desk.window({ viewport: { width: 360, height: 740 } });
  for (const address of ADDRESSES) {
    await page.goto(desk.url + address);
    for (const other of ["/", "/chat", "/demo/stream", "/compare"]) {
      await page.locator(`header a[href="${other}"]`).first().waitFor();
    }
    assert.ok(!(await scrollsSideways(page)), address);
  }
});

pageTest("an address where nothing is says so to a person, in their language", async (desk) => {
  desk.expectedComplaints.push(/404/);
  const page = await desk.window({ locale: "zh-CN" });
  const response = await page.goto(`${desk.url}/nope`);
  assert.equal(response.status(), 404);
  await page.getByRole("heading", { name: "这个地址上什么也没有。" }).waitFor();
  await page.locator("main a[href='/chat']").click();
  await page.waitForURL(`${desk.url}/chat`);
});

async function violations(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target).join(", ")}`);
}
