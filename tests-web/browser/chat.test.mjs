// The chat as people use it: two windows, hostile text, a keyboard, a phone.

import assert from "node:assert/strict";
import { enterRoom, newRoom, pageTest, say, scrollsSideways, sees, seesLine, setUp, timesSeen } from "./harness.mjs";

const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };

setUp();

pageTest("two windows chat both ways and see each other come and go", async (desk) => {
  const room = newRoom();
  const ada = await desk.window();
  const bob = await desk.window();
  await enterRoom(ada, desk.url, { room, name: "Ada" });
  await ada.waitForSelector("#alone:not([hidden])");
  await enterRoom(bob, desk.url, { room, name: "Bob" });
  await seesLine(ada, "Bob joined");
  assert.deepEqual(await ada.locator("#people .name").allTextContents(), ["Ada", "Bob"]);
  assert.deepEqual(await bob.locator("#people .name").allTextContents(), ["Bob", "Ada"]);

  await say(ada, "Is the kettle on?");
  await sees(bob, "Is the kettle on?");
  await say(bob, "It is.");
  await say(bob, "水开了 🫖");
  await sees(ada, "水开了 🫖");
  assert.equal(await ada.locator("#log .group").count(), 2, "messages in a row share one group");
  assert.equal(await ada.locator("#log .group.mine").count(), 1);
  assert.equal(await ada.locator("#log .group.mine .bubble").textContent(), "Is the kettle on?");
  assert.equal(await ada.locator("#pending").textContent(), "");
  assert.match(await bob.locator("#log .group time").first().textContent(), /^\d\d:\d\d$/);

  await bob.click("#leave");
  await seesLine(ada, "Bob left");
  await bob.waitForSelector("#lobby:not([hidden])");
  assert.equal(await bob.inputValue("#name"), "Bob");
  await bob.click("#join button[type=submit]");
  await seesLine(ada, "Bob joined");
  await bob.close();
  await ada.locator("#people li").nth(1).waitFor({ state: "detached" });
});

pageTest("who comes later gets what was said, and nobody is told to have just come", async (desk) => {
  const room = newRoom();
  const [ada, bob, cleo] = [await desk.window(), await desk.window(), await desk.window()];
  await enterRoom(ada, desk.url, { room, name: "Ada" });
  await enterRoom(bob, desk.url, { room, name: "Bob" });
  for (let n = 1; n <= 3; n += 1) {
    await say(ada, `tea ${n}`);
    await say(bob, `coffee ${n}`);
    await sees(ada, `coffee ${n}`);
  }
  await enterRoom(cleo, desk.url, { room, name: "Cleo" });
  await sees(cleo, "coffee 3");
  assert.equal(await cleo.locator("#log .bubble").count(), 6);
  assert.deepEqual(
    (await cleo.locator("#log .bubble").allTextContents()).sort(),
    ["coffee 1", "coffee 2", "coffee 3", "tea 1", "tea 2", "tea 3"],
  );
  assert.deepEqual(await cleo.locator("#people .name").allTextContents(), ["Cleo", "Ada", "Bob"]);
  assert.equal(await cleo.locator("#log .quiet-line").count(), 0);
  // After a reload what one has said oneself is still one's own.
  await ada.reload();
  await sees(ada, "coffee 3");
  assert.equal(await ada.locator("#log .mine .bubble").count(), 3);
});

pageTest("two windows of one person are one person", async (desk) => {
  const room = newRoom();
  const [ada, bob] = [await desk.window(), await desk.window()];
  await enterRoom(bob, desk.url, { room, name: "Bob" });
  await enterRoom(ada, desk.url, { room, name: "Ada" });
  await seesLine(bob, "Ada joined");
  const second = await desk.secondWindow(ada.context());
  await enterRoom(second, desk.url, { room, name: "Ada" });
  await bob.locator("#people .tag").getByText("2 windows", { exact: true }).waitFor();
  await ada.locator("#people .tag").getByText("you · 2 windows").waitFor();
  await say(ada, "from one to the other");
  await sees(second, "from one to the other");
  assert.equal(await second.locator("#log .mine .bubble").count(), 1);
  await second.click("#leave");
  await bob.locator("#people .tag").getByText("2 windows", { exact: true }).waitFor({ state: "detached" });
  assert.deepEqual(await bob.locator("#log .quiet-line").allTextContents(), ["Ada joined"]);
});

pageTest("who writes is shown, until they send, delete or stop", async (desk) => {
  const room = newRoom();
  const [ada, bob] = [await desk.window(), await desk.window()];
  await enterRoom(ada, desk.url, { room, name: "Ada" });
  await enterRoom(bob, desk.url, { room, name: "Bob" });
  await seesLine(ada, "Bob joined");
  const typing = (text) => ada.waitForFunction((want) => document.querySelector("#typing").textContent === want, text);
  await bob.fill("#say-text", "hm");
  await typing("Bob is writing");
  assert.equal(await bob.textContent("#typing"), "", "not to oneself");
  await bob.press("#say-text", "Enter");
  await sees(ada, "hm");
  await typing("");
  await bob.fill("#say-text", "well");
  await typing("Bob is writing");
  await bob.fill("#say-text", "");
  await typing("");
  await bob.fill("#say-text", "then I");
  await typing("Bob is writing");
  await typing(""); // after five seconds without a word
});

pageTest("rooms do not hear each other", async (desk) => {
  const [here, there] = [newRoom(), newRoom()];
  const [ada, bob, eve] = [await desk.window(), await desk.window(), await desk.window()];
  await enterRoom(ada, desk.url, { room: here, name: "Ada" });
  await enterRoom(bob, desk.url, { room: here, name: "Bob" });
  await enterRoom(eve, desk.url, { room: there, name: "Eve" });
  await say(ada, "between us");
  await sees(bob, "between us");
  await say(eve, "hello?");
  await sees(eve, "hello?");
  assert.equal(await timesSeen(eve, "between us"), 0);
  assert.equal(await eve.locator("#people li").count(), 1);
});

pageTest("a link brings its reader into the room, and a reload stays there", async (desk) => {
  const room = `茶 & ${newRoom()} #1`;
  const ada = await desk.window({ permissions: ["clipboard-read", "clipboard-write"] });
  await enterRoom(ada, desk.url, { room, name: "Ada" });
  assert.equal(await ada.textContent("#room-title"), room);
  await ada.click("#side [data-copy-link]");
  await ada.waitForSelector("#side [data-copied=true]");
  const link = await ada.evaluate(() => navigator.clipboard.readText());

  const bob = await desk.window();
  await bob.goto(link);
  assert.equal(await bob.inputValue("#room-name"), room);
  await bob.fill("#name", "Bob");
  await bob.press("#name", "Enter");
  await seesLine(ada, "Bob joined");

  await ada.reload();
  await ada.waitForSelector("#line[data-state=open]");
  assert.equal(await ada.textContent("#room-title"), room);
  await ada.goto(`${desk.url}/chat`);
  assert.equal(await ada.inputValue("#name"), "Ada", "the name is remembered");
  assert.equal(await ada.inputValue("#room-name"), room, "the room is remembered");
});

pageTest("markup in names, rooms and messages is shown as text", async (desk) => {
  const attack = `<img src=x onerror="document.title='broken in'">`;
  const name = `<img src=x onerror=x()>`;
  const room = `${newRoom()}<b>`;
  const ada = await desk.window();
  const mallory = await desk.window();
  await enterRoom(ada, desk.url, { room, name: "Ada" });
  await enterRoom(mallory, desk.url, { room, name });
  await say(mallory, attack);
  await sees(ada, attack);
  await say(mallory, "javascript:alert(1) https://example.org/<i>?a=1&b=2");
  await sees(ada, "javascript:alert(1) https://example.org/<i>?a=1&b=2");
  await seesLine(ada, `${name} joined`);
  for (const page of [ada, mallory]) {
    assert.equal(await page.locator("#room img, #room b, #room i").count(), 0);
    assert.deepEqual(
      await page.locator("#log a").evaluateAll((links) => links.map((link) => link.href)),
      ["https://example.org/"],
    );
    assert.equal(await page.title(), `${room} · Longwire`);
  }
});

pageTest("everything works from the keyboard", async (desk) => {
  const room = newRoom();
  const ada = await desk.window();
  await ada.goto(`${desk.url}/chat`);
  await ada.waitForSelector("#name:focus");
  await ada.keyboard.type("Ada");
  await ada.keyboard.press("Tab");
  await ada.keyboard.type(room);
  await ada.keyboard.press("Enter");
  await ada.waitForSelector("#say-text:focus");
  await ada.keyboard.type("first line");
  await ada.keyboard.press("Shift+Enter");
  await ada.keyboard.type("second line");
  assert.equal(await ada.inputValue("#say-text"), "first line\nsecond line");
  await ada.keyboard.press("Enter");
  await ada.waitForFunction(() => document.querySelector("#log .bubble")?.textContent === "first line\nsecond line");
  assert.equal(await ada.inputValue("#say-text"), "");

  await tabTo(ada, "#leave");
  const outline = await ada.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.notEqual(outline, "none", "the focus is visible");
  await ada.keyboard.press("Enter");
  await ada.waitForSelector("#join button:focus");
  await ada.keyboard.press("Enter");
  await ada.waitForSelector("#say-text:focus");
  await ada.waitForSelector("#line[data-state=open]");
});

pageTest("Enter picks a word while an input method composes", async (desk) => {
  const ada = await desk.window();
  await enterRoom(ada, desk.url, { room: newRoom(), name: "Ada" });
  const cdp = await ada.context().newCDPSession(ada);
  await ada.focus("#say-text");
  await cdp.send("Input.imeSetComposition", { text: "nihao", selectionStart: 5, selectionEnd: 5 });
  const press = (extra) =>
    ada.evaluate((init) => {
      const event = new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true, ...init });
      return document.querySelector("#say-text").dispatchEvent(event); // false: the page took it
    }, extra);
  assert.equal(await press({ isComposing: true }), true);
  assert.equal(await press({ keyCode: 229 }), true);
  assert.equal(await ada.locator("#log .bubble, #pending .bubble").count(), 0);
  await cdp.send("Input.insertText", { text: "你好" });
  await ada.keyboard.press("Enter");
  await sees(ada, "你好");
});

pageTest("a message that is too long cannot be sent, and the room left is shown near the limit", async (desk) => {
  const ada = await desk.window();
  await enterRoom(ada, desk.url, { room: newRoom(), name: "Ada" });
  await ada.fill("#say-text", "x".repeat(3000));
  assert.equal(await ada.textContent("#say-note"), "");
  await ada.fill("#say-text", "𝄞".repeat(3999)); // one character each, though two UTF-16 units
  assert.equal(await ada.textContent("#say-note"), "1 character left");
  await ada.fill("#say-text", "x".repeat(4002));
  assert.equal(await ada.textContent("#say-note"), "2 characters too many");
  assert.equal(await ada.locator("#say button").isDisabled(), true);
  await ada.press("#say-text", "Enter");
  assert.equal((await ada.inputValue("#say-text")).length, 4002, "what was written is not lost");
  await ada.fill("#say-text", "𝄞".repeat(4000));
  await ada.press("#say-text", "Enter");
  await sees(ada, "𝄞".repeat(4000));
});

pageTest("names and rooms that the server would refuse are explained in the lobby", async (desk) => {
  const ada = await desk.window();
  await ada.goto(`${desk.url}/chat`);
  await ada.click("#join button[type=submit]");
  assert.equal(await ada.textContent("#name-error"), "Please choose a name.");
  assert.equal(await ada.textContent("#room-error"), "Please choose a room.");
  await ada.waitForSelector("#name:focus");
  await ada.fill("#name", "🫖".repeat(33));
  await ada.fill("#room-name", "r".repeat(65));
  await ada.click("#join button[type=submit]");
  assert.equal(await ada.textContent("#name-error"), "A name has at most 32 characters.");
  assert.equal(await ada.textContent("#room-error"), "A room’s name has at most 64 characters.");
  await ada.fill("#name", "🫖".repeat(32));
  await ada.fill("#room-name", `${newRoom()}-${"r".repeat(64)}`.slice(0, 64));
  await ada.click("#join button[type=submit]");
  await ada.waitForSelector("#line[data-state=open]");
  await ada.goto(`${desk.url}/chat`);
  await ada.fill("#room-name", "🫖".repeat(63)); // 252 bytes, and its channel has a prefix
  await ada.click("#join button[type=submit]");
  assert.equal(await ada.textContent("#room-error"), "This room’s name is too long in bytes.");
});

pageTest("the log follows the newest message unless the reader scrolled up", async (desk) => {
  const room = newRoom();
  const ada = await desk.window({ viewport: { width: 900, height: 420 } });
  const bob = await desk.window();
  await enterRoom(ada, desk.url, { room, name: "Ada" });
  await enterRoom(bob, desk.url, { room, name: "Bob" });
  for (let line = 1; line <= 25; line += 1) await say(bob, `line ${line}`);
  await sees(ada, "line 25");
  await ada.waitForFunction(() => {
    const { scrollTop, scrollHeight, clientHeight } = document.querySelector("#scroller");
    return scrollHeight - scrollTop - clientHeight < 2;
  });
  await ada.evaluate(() => (document.querySelector("#scroller").scrollTop = 0));
  await ada.waitForSelector("#newest:not([hidden])");
  await say(bob, "news");
  await say(bob, "more news");
  await ada.locator("#newest").getByText("2 new messages").waitFor();
  assert.equal(await ada.evaluate(() => document.querySelector("#scroller").scrollTop), 0);
  await ada.click("#newest");
  await ada.waitForSelector("#newest", { state: "hidden" });
});

pageTest("on a phone nothing scrolls sideways and the people are in a sheet", async (desk) => {
  const room = newRoom();
  const phone = await desk.window(PHONE);
  const bob = await desk.window();
  await phone.goto(`${desk.url}/`);
  await phone.waitForSelector("#line[data-state=open]");
  assert.equal(await scrollsSideways(phone), false, "first page");
  await phone.goto(`${desk.url}/chat?room=${room}`);
  assert.equal(await scrollsSideways(phone), false, "lobby");
  await enterRoom(phone, desk.url, { room, name: "W".repeat(32) });
  await enterRoom(bob, desk.url, { room, name: "Bob" });
  await say(bob, `${"long".repeat(200)} https://example.org/${"path/".repeat(60)}`);
  await say(phone, "w".repeat(600));
  await sees(phone, "w".repeat(600));
  assert.equal(await scrollsSideways(phone), false, "room");

  await phone.waitForSelector("#side", { state: "hidden" });
  await phone.click("#people-open");
  await phone.locator("#people-dialog").getByText("Bob", { exact: true }).waitFor();
  assert.equal(await scrollsSideways(phone), false, "sheet");
  await phone.keyboard.press("Escape");
  await phone.waitForSelector("#people-dialog", { state: "hidden" });
  await phone.waitForSelector("#people-open:focus");
  for (const button of await phone.locator("button:visible").all()) {
    const { height } = await button.boundingBox();
    assert.ok(height >= 36, "big enough for a finger");
  }
});

async function tabTo(page, selector) {
  for (let presses = 0; presses < 30; presses += 1) {
    if (await page.locator(`${selector}:focus`).count()) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`${selector} cannot be reached with Tab`);
}
