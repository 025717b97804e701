// English and Chinese: chosen by the browser, switched by the reader, and both complete.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { languageFor, strings } from "../../crates/longwire/pages/assets/i18n.js";
import { enterRoom, lineIs, newRoom, PAGE_FILES, PAGES, pageTest, say, sees, seesLine, setUp } from "./harness.mjs";

setUp();

test("both languages have the same texts with the same placeholders", () => {
  const keys = Object.keys(strings.en).sort();
  assert.deepEqual(Object.keys(strings.zh).sort(), keys);
  for (const key of keys) {
    assert.deepEqual(placeholders(strings.zh[key]), placeholders(strings.en[key]), key);
    assert.notEqual(strings.zh[key].trim(), "", key);
  }
});

test("every text that the pages name exists, and every text is named somewhere", () => {
  const sources = PAGE_FILES.map((name) => join(PAGES, name));
  for (const name of readdirSync(join(PAGES, "assets"))) {
    if (name.endsWith(".js") && name !== "i18n.js") sources.push(join(PAGES, "assets", name));
  }
  const source = sources.map((file) => readFileSync(file, "utf8")).join("\n");
  const prefixes = [...source.matchAll(/`([a-z.]+\.)\$\{/g)].map((match) => match[1]);
  for (const [, key] of source.matchAll(/data-i18n="([^"]+)"/g)) assert.ok(key in strings.en, key);
  for (const key of Object.keys(strings.en)) {
    const base = key.replace(/\.(one|other)$/, "");
    const named = source.includes(base) || prefixes.some((prefix) => base.startsWith(prefix));
    assert.ok(named, `${key} is not used`);
  }
});

test("any Chinese browser gets Chinese, any other English", () => {
  for (const tag of ["zh", "zh-CN", "zh-Hans-SG", "zh-TW", "ZH"]) assert.equal(languageFor(tag), "zh", tag);
  for (const tag of ["en", "en-GB", "de", "ja", "zhx", "", undefined]) assert.equal(languageFor(tag), "en", tag);
});

pageTest("a Chinese browser gets Chinese pages", async (desk) => {
  const room = newRoom();
  const lin = await desk.window({ locale: "zh-CN" });
  await lin.goto(`${desk.url}/`);
  await lineIs(lin, "open");
  assert.equal(await lin.getAttribute("html", "lang"), "zh-CN");
  assert.equal(await lin.textContent("h1"), strings.zh["home.headline"]);
  assert.equal((await lin.textContent("#line")).trim(), "线路畅通");
  await enterRoom(lin, desk.url, { room, name: "小林" });
  const ada = await desk.window();
  await enterRoom(ada, desk.url, { room, name: "Ada" });
  await seesLine(lin, "Ada 进来了");
  await say(ada, "hi");
  await sees(lin, "hi");
  assert.equal((await lin.textContent("#line")).trim(), "线路畅通");
  await assertNoEnglish(lin);
});

pageTest("the switch changes everything at once and is remembered on both pages", async (desk) => {
  const room = newRoom();
  const ada = await desk.window();
  await enterRoom(ada, desk.url, { room, name: "Ada" });
  const bob = await desk.window();
  await enterRoom(bob, desk.url, { room, name: "Bob" });
  await seesLine(ada, "Bob joined");
  await ada.fill("#say-text", "unfinished");
  await ada.click("#side [data-language-switch]");
  await seesLine(ada, "Bob 进来了");
  assert.equal(await ada.inputValue("#say-text"), "unfinished");
  assert.equal(await ada.getAttribute("html", "lang"), "zh-CN");
  assert.equal(await ada.getAttribute("#say-text", "placeholder"), strings.zh["say.placeholder"]);
  await ada.click("#side [data-language-switch]");
  await seesLine(ada, "Bob joined");
  await ada.click("#side [data-language-switch]");
  await ada.fill("#say-text", "");
  await ada.goto(`${desk.url}/`);
  await ada.getByRole("heading", { level: 1, name: strings.zh["home.headline"] }).waitFor();
});

// Every text on the page that comes from the table is Chinese. The switch is in the other language by design, and
// the example of a name may well be somebody's name.
async function assertNoEnglish(page) {
  const exempt = new Set(["language.other", "lobby.namePlaceholder"]);
  const english = new Set(
    Object.entries(strings.en)
      .filter(([key, text]) => !exempt.has(key) && strings.zh[key] !== text)
      .map(([, text]) => text),
  );
  const shown = await page.evaluate(() =>
    [...document.querySelectorAll("body *")].filter((node) => node.children.length === 0).map((node) => node.textContent.trim()),
  );
  assert.deepEqual(shown.filter((text) => english.has(text)), []);
}

function placeholders(text) {
  return [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort();
}
