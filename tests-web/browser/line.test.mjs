// The line breaks, and comes back: nothing lost, nothing twice, and what is gone is owned up to.

import assert from "node:assert/strict";
import { enterRoom, lineIs, newRoom, pageTest, say, sees, seesLine, setUp, timesSeen } from "./harness.mjs";

// What Chromium reports while there is no server.
const NO_SERVER = /^(WebSocket connection to .* failed|Failed to load resource: net::ERR_)/;

setUp();

pageTest("kill -9 and a restart in the middle of a conversation: all of it is there, once, in every window", async (desk) => {
  desk.expectedComplaints = [NO_SERVER];
  const [room, data] = [newRoom(), desk.directory()];
  const server = await desk.server({ data });
  const [ada, bob] = [await desk.window(), await desk.window()];
  await enterRoom(ada, server.url, { room, name: "Ada" });
  await enterRoom(bob, server.url, { room, name: "Bob" });
  const said = [];
  const both = async (round) => {
    for (const [page, name] of [[ada, "Ada"], [bob, "Bob"]]) {
      for (let n = 1; n <= 3; n += 1) {
        said.push(`${name} ${round}.${n}`);
        await say(page, said.at(-1));
      }
    }
  };
  await both("before");
  await server.kill();
  await lineIs(ada, "lost");
  await lineIs(bob, "lost");
  await both("in the dark");
  assert.equal(await ada.locator("#pending [data-state=waiting]").count(), 3);
  let running = await desk.server({ port: server.port, data });
  for (const page of [ada, bob]) await sees(page, "Bob in the dark.3");
  await both("after");
  await running.kill(); // what was said last is perhaps on its way
  running = await desk.server({ port: server.port, data });
  for (const page of [ada, bob]) {
    await lineIs(page, "open");
    for (const text of said) await sees(page, text);
    assert.deepEqual((await page.locator("#log .bubble").allTextContents()).sort(), said.toSorted());
    assert.equal(await page.locator("#pending").textContent(), "");
    // Each comes back in its own time.
    await page.locator("#people li").nth(1).waitFor();
    assert.equal(await page.locator("#people li").count(), 2);
    assert.equal(await page.locator("#log .gap").count(), 0);
    assert.equal(await page.locator("#log .quiet-line").getByText("left").count(), 0);
  }
  const order = (page) => page.locator("#log .bubble").allTextContents();
  assert.deepEqual(await order(ada), await order(bob), "in one order");
  const cleo = await desk.window();
  await enterRoom(cleo, running.url, { room, name: "Cleo" });
  await sees(cleo, "Bob after.3");
  assert.deepEqual(await order(cleo), await order(ada), "and so for whoever comes later");
});

pageTest("what was said while the line was lost stands behind a mark", async (desk) => {
  const room = newRoom();
  const [ada, bob] = [await desk.window(), await desk.window()];
  const wire = await tapWire(ada);
  await ada.clock.install();
  await enterRoom(ada, desk.url, { room, name: "Ada" });
  await enterRoom(bob, desk.url, { room, name: "Bob" });
  await say(bob, "before");
  await sees(ada, "before");
  await ada.clock.pauseAt(Date.now() + 60_000); // from here on no attempt is made by the clock
  await wire.cut();
  await lineIs(ada, "lost");
  await say(bob, "Where are you?");
  await say(bob, "Hello?");
  await sees(bob, "Hello?");
  await ada.clock.resume();
  await sees(ada, "Hello?");
  await lineIs(ada, "open");
  const rows = await ada.locator("#log > *").evaluateAll((all) =>
    all.slice(-2).map((row) => [row.classList.contains("away"), row.textContent]),
  );
  assert.match(rows[0][1], /^While you were away \(\d+ (s|min)\)$/);
  assert.equal(rows[0][0], true);
  assert.match(rows[1][1], /Where are you\?Hello\?$/);
  assert.equal(await bob.locator("#log .away").count(), 0);
  assert.deepEqual(await bob.locator("#log .quiet-line").getByText("Ada left").count(), 0, "a session outlives its line");
  // The next time there is nothing to mark.
  await wire.cut();
  await lineIs(ada, "back");
  await say(bob, "There you are.");
  await sees(ada, "There you are.");
  assert.equal(await ada.locator("#log .away").count(), 1);
  for (const text of ["before", "Where are you?", "Hello?"]) assert.equal(await timesSeen(ada, text), 1);
});

pageTest("who was away for longer than the history reaches is told so, and gets what there is", async (desk) => {
  const config = "[namespaces.chat]\nhistory_size = 3\npresence = true\njoins = true\n";
  const { url } = await desk.server({ config });
  const room = newRoom();
  const [ada, bob] = [await desk.window(), await desk.window()];
  const wire = await tapWire(ada);
  await ada.clock.install();
  await enterRoom(ada, url, { room, name: "Ada" });
  await enterRoom(bob, url, { room, name: "Bob" });
  await say(bob, "before");
  await sees(ada, "before");
  await ada.clock.pauseAt(Date.now() + 60_000); // from here on no attempt is made by the clock
  await wire.cut();
  await lineIs(ada, "lost");
  for (let n = 1; n <= 6; n += 1) await say(bob, `word ${n}`);
  await sees(bob, "word 6");
  await ada.clock.resume();
  await seesLine(ada, "You were away for so long that older messages are gone. Here are the latest.");
  await sees(ada, "word 6");
  await say(bob, "and on");
  await sees(ada, "and on");
  const shown = await ada.locator("#log .bubble").allTextContents();
  assert.deepEqual(shown, ["before", "word 4", "word 5", "word 6", "and on"]);
});

pageTest("a server that keeps nothing says so after a restart, and the chat goes on", async (desk) => {
  desk.expectedComplaints = [NO_SERVER];
  const room = newRoom();
  const server = await desk.server();
  const [ada, bob] = [await desk.window(), await desk.window()];
  await enterRoom(ada, server.url, { room, name: "Ada" });
  await enterRoom(bob, server.url, { room, name: "Bob" });
  await say(ada, "before");
  await sees(bob, "before");
  await server.kill();
  await lineIs(ada, "lost");
  await lineIs(bob, "lost");
  assert.equal(await ada.locator("#notice .why").textContent(), "The connection broke off.");
  await say(ada, "written in the dark");
  await desk.server({ port: server.port });
  for (const page of [ada, bob]) {
    await lineIs(page, "open");
    await seesLine(page, "The server has lost what was said before. What it still has follows.");
    await sees(page, "written in the dark");
  }
  await say(bob, "welcome back");
  await sees(ada, "welcome back");
  for (const page of [ada, bob]) {
    for (const text of ["before", "written in the dark", "welcome back"]) assert.equal(await timesSeen(page, text), 1, text);
    assert.equal(await page.locator("#people li").count(), 2);
  }
});

pageTest("Try now and coming online do not wait for the next attempt", async (desk) => {
  desk.expectedComplaints = [NO_SERVER];
  const server = await desk.server();
  const ada = await desk.window();
  await ada.clock.install();
  await enterRoom(ada, server.url, { room: newRoom(), name: "Ada" });
  const comeBack = [() => ada.click("#notice button"), () => ada.evaluate(() => dispatchEvent(new Event("online")))];
  let running = server;
  for (const [index, act] of comeBack.entries()) {
    await running.kill();
    await lineIs(ada, "lost");
    await ada.clock.pauseAt(Date.now() + (index + 1) * 120_000); // from here on no attempt is made by the clock
    await ada.locator("#notice .next").getByText(/^Next attempt in \d+ s$/).waitFor();
    running = await desk.server({ port: server.port });
    await act();
    await lineIs(ada, "back");
    await ada.clock.resume();
    await lineIs(ada, "open");
  }
});

pageTest("a message whose answer is lost with the line is sent again, and not said twice", async (desk) => {
  const room = newRoom();
  const [ada, bob] = [await desk.window(), await desk.window()];
  const wire = await tapWire(ada);
  await enterRoom(ada, desk.url, { room, name: "Ada" });
  await enterRoom(bob, desk.url, { room, name: "Bob" });
  wire.lose = "answers"; // the others get it, only the answer is lost
  await say(ada, "did you get this?");
  await sees(bob, "did you get this?");
  assert.equal(await timesSeen(ada, "did you get this?"), 0);
  await wire.cut();
  await sees(ada, "did you get this?");
  wire.lose = "messages"; // nobody gets it
  await say(ada, "and this?");
  await ada.waitForSelector("#pending [data-state=sent]");
  await wire.cut();
  await sees(bob, "and this?");
  await sees(ada, "and this?");
  await say(ada, "good");
  await sees(bob, "good");
  for (const page of [ada, bob]) {
    for (const text of ["did you get this?", "and this?", "good"]) assert.equal(await timesSeen(page, text), 1, text);
  }
  assert.equal(await ada.locator("#pending").textContent(), "");
});

pageTest("a message that is not delivered can be removed where it was refused, and leaving asks first", async (desk) => {
  const ada = await desk.window();
  const wire = await tapWire(ada);
  await enterRoom(ada, desk.url, { room: newRoom(), name: "Ada" });
  wire.refuse = true;
  await say(ada, "never mind");
  await ada.locator("#pending [data-state=refused]").getByText("The server refused this message.").waitFor();
  await ada.click("#leave");
  await ada.getByRole("heading", { name: "1 message is not delivered" }).waitFor();
  await ada.keyboard.press("Escape");
  await ada.waitForSelector("#leave-dialog", { state: "hidden" });
  await ada.waitForSelector("#say-text:focus");
  wire.refuse = false;
  await say(ada, "but this");
  await sees(ada, "but this");
  await ada.locator("#pending").getByRole("button", { name: "Remove" }).click();
  assert.equal(await ada.locator("#pending").textContent(), "");
  await ada.click("#leave");
  await ada.waitForSelector("#lobby:not([hidden])");
});

pageTest("the reason of a close is explained, and some closes are for good", async (desk) => {
  const ada = await desk.window();
  const wire = await tapWire(ada);
  await enterRoom(ada, desk.url, { room: newRoom(), name: "Ada" });
  await wire.cut(3501);
  await lineIs(ada, "stopped");
  const notice = ada.locator("#notice");
  assert.equal(await notice.locator(".why").textContent(), "The server ended this line for good (code 3501).");
  assert.equal(await notice.locator(".next").textContent(), "It will not come back by itself.");
  await say(ada, "kept meanwhile");
  await ada.waitForSelector("#pending [data-state=waiting]");
  await notice.getByRole("button", { name: "Try again" }).click();
  await lineIs(ada, "open");
  await sees(ada, "kept meanwhile");
  assert.equal(await timesSeen(ada, "kept meanwhile"), 1);
});

pageTest("the first page shows its line breaking and coming back", async (desk) => {
  desk.expectedComplaints = [NO_SERVER];
  const server = await desk.server();
  const page = await desk.window();
  await page.goto(`${server.url}/`);
  await lineIs(page, "open");
  await server.kill();
  await lineIs(page, "lost");
  await page.waitForSelector("#notice:not([hidden])");
  await desk.server({ port: server.port });
  await lineIs(page, "open");
  await page.fill("#send-text", "again");
  await page.press("#send-text", "Enter");
  await page.locator("#traffic").getByText("你发送了：again").waitFor();
});

// Sits between the page and the server: loses what it is told to lose, refuses, and cuts the line.
async function tapWire(page) {
  const wire = { lose: null, refuse: false, links: [] };
  await page.routeWebSocket(/\/v1\/ws$/, (toPage) => {
    const toServer = toPage.connectToServer();
    toPage.onMessage((text) => {
      const publish = publishOf(text);
      if (publish && wire.refuse) {
        toPage.send(JSON.stringify({ type: "error", id: publish.id, code: 108, name: "too_large", message: "no", retry: false }));
      } else if (wire.lose !== "messages" || !publish) {
        toServer.send(text);
      }
    });
    toServer.onMessage((text) => {
      if (wire.lose !== "answers") toPage.send(text);
    });
    wire.links.push({ toPage, toServer });
  });
  wire.cut = async (code = 3000) => {
    wire.lose = null;
    const { toPage, toServer } = wire.links.at(-1);
    await toServer.close();
    await toPage.close({ code, reason: "" });
  };
  return wire;
}

// The message that is said, if one is.
function publishOf(text) {
  const commands = text.split("\n").map((line) => JSON.parse(line));
  return commands.find(({ type, ephemeral }) => type === "publish" && !ephemeral);
}
