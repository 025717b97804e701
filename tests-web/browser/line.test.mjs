// The line breaks, and comes back: nothing lost in silence, nothing twice.

import assert from "node:assert/strict";
import { enterRoom, lineIs, newRoom, pageTest, say, sees, setUp, timesSeen } from "./harness.mjs";

// What Chromium reports while there is no server.
const NO_SERVER = /^WebSocket connection to .* failed/;

setUp();

pageTest("after kill -9 and a restart the chat is back by itself, with what was written meanwhile", async (desk) => {
  desk.expectedComplaints = [NO_SERVER];
  const room = newRoom();
  const server = await desk.server();
  const [ada, bob] = [await desk.window(), await desk.window()];
  await ada.clock.install();
  await enterRoom(ada, server.url, { room, name: "Ada" });
  await enterRoom(bob, server.url, { room, name: "Bob" });
  await say(ada, "before");
  await sees(bob, "before");

  await server.kill();
  await lineIs(ada, "lost");
  await lineIs(bob, "lost");
  assert.equal(await ada.locator("#notice .why").textContent(), "The connection broke off.");
  await say(ada, "written in the dark");
  await ada.waitForSelector("#pending [data-state=waiting]");
  // Ada's clock stands still until Bob is back, or he could miss what she says.
  await ada.clock.pauseAt(Date.now() + 60_000);
  await ada.locator("#notice .next").getByText(/^Next attempt in \d+ s$/).waitFor();

  await desk.server(server.port);
  await lineIs(bob, "open");
  await ada.clock.resume();
  await lineIs(ada, "open");
  await sees(bob, "written in the dark");
  await say(bob, "welcome back");
  await sees(ada, "welcome back");
  await say(ada, "thanks");
  await sees(bob, "thanks");
  for (const page of [ada, bob]) {
    assert.equal(await timesSeen(page, "written in the dark"), 1);
    assert.equal(await timesSeen(page, "before"), 1);
  }
  assert.equal(await ada.locator("#pending").textContent(), "");
  assert.equal(await ada.locator("#log .gap").count(), 1, "the log owns up to the gap");
  assert.equal(await ada.locator("#people li").count(), 2);
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
    running = await desk.server(server.port);
    await act();
    await lineIs(ada, "back");
    await ada.clock.resume();
    await lineIs(ada, "open");
  }
});

pageTest("a message without its echo is marked, and sending it again does not show it twice", async (desk) => {
  const room = newRoom();
  const [ada, bob] = [await desk.window(), await desk.window()];
  const wire = await tapWire(ada);
  await enterRoom(ada, desk.url, { room, name: "Ada" });
  await enterRoom(bob, desk.url, { room, name: "Bob" });

  wire.lose = "echoes"; // the others get it, only the answer is lost
  await say(ada, "did you get this?");
  await sees(bob, "did you get this?");
  await wire.cut();
  const row = ada.locator("#pending [data-state=unconfirmed]");
  await row.getByText("did you get this?").waitFor();
  await lineIs(ada, "open");
  await row.getByRole("button", { name: "Send again" }).click();
  await sees(ada, "did you get this?");

  wire.lose = "messages"; // nobody gets it
  await say(ada, "and this?");
  await ada.waitForSelector("#pending [data-state=sent]");
  await wire.cut();
  await row.getByText("and this?").waitFor();
  await lineIs(ada, "open");
  await row.getByRole("button", { name: "Send again" }).click();
  await sees(bob, "and this?");
  await sees(ada, "and this?");
  for (const text of ["did you get this?", "and this?"]) {
    assert.equal(await timesSeen(bob, text), 1);
    assert.equal(await timesSeen(ada, text), 1);
  }
  assert.equal(await ada.locator("#pending").textContent(), "");
});

pageTest("an unconfirmed message can be removed, and leaving asks first", async (desk) => {
  const ada = await desk.window();
  const wire = await tapWire(ada);
  await enterRoom(ada, desk.url, { room: newRoom(), name: "Ada" });
  wire.lose = "messages";
  await say(ada, "never mind");
  await ada.waitForSelector("#pending [data-state=sent]");
  await wire.cut();
  await lineIs(ada, "open");
  await ada.click("#leave");
  await ada.getByRole("heading", { name: "1 message is not delivered" }).waitFor();
  await ada.keyboard.press("Escape");
  await ada.waitForSelector("#leave-dialog", { state: "hidden" });
  await ada.waitForSelector("#say-text:focus");
  await ada.locator("#pending").getByRole("button", { name: "Remove" }).click();
  assert.equal(await ada.locator("#pending").textContent(), "");
  await ada.click("#leave");
  await ada.waitForSelector("#lobby:not([hidden])");
});

pageTest("a server that falls silent is noticed by the missing echo", async (desk) => {
  const ada = await desk.window();
  const wire = await tapWire(ada);
  await ada.clock.install();
  await enterRoom(ada, desk.url, { room: newRoom(), name: "Ada" });
  wire.lose = "messages";
  await say(ada, "anybody?");
  await ada.waitForSelector("#pending [data-state=sent]");
  await ada.clock.fastForward(9_000);
  await lineIs(ada, "open");
  await ada.clock.fastForward(1_100);
  await lineIs(ada, "back");
  await ada.locator("#pending [data-state=unconfirmed]").getByText("anybody?").waitFor();
});

pageTest("the reason of a close is explained, and some closes are for good", async (desk) => {
  const ada = await desk.window();
  const wire = await tapWire(ada);
  await enterRoom(ada, desk.url, { room: newRoom(), name: "Ada" });

  await wire.cut(3501, "closed for tea");
  await lineIs(ada, "stopped");
  const notice = ada.locator("#notice");
  assert.equal(
    await notice.locator(".why").textContent(),
    "The server ended this line for good (code 3501). “closed for tea”",
  );
  assert.equal(await notice.locator(".next").textContent(), "It will not come back by itself.");
  await say(ada, "kept meanwhile");
  await ada.waitForSelector("#pending [data-state=waiting]");
  await notice.getByRole("button", { name: "Try again" }).click();
  await lineIs(ada, "open");
  await sees(ada, "kept meanwhile");

  await wire.cut(3002);
  await ada.waitForSelector("#log .gap >> nth=1"); // lost and back: the second gap
  await lineIs(ada, "open");
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
  await desk.server(server.port);
  await lineIs(page, "open");
  await page.fill("#send-text", "again");
  await page.press("#send-text", "Enter");
  await page.locator("#traffic").getByText("你发送了：again").waitFor();
});

// Sits between the page and the server: loses what it is told to lose, and cuts the line.
async function tapWire(page) {
  const wire = { lose: null, links: [] };
  await page.routeWebSocket(/\/chat\/ws$/, (toPage) => {
    const toServer = toPage.connectToServer();
    toPage.onMessage((text) => {
      if (wire.lose !== "messages" || !isSay(text)) toServer.send(text);
    });
    toServer.onMessage((text) => {
      if (wire.lose !== "echoes" || !isSay(text)) toPage.send(text);
    });
    wire.links.push({ toPage, toServer });
  });
  wire.cut = async (code = 3000, reason = "") => {
    wire.lose = null;
    const { toPage, toServer } = wire.links.at(-1);
    await toServer.close();
    await toPage.close({ code, reason });
  };
  return wire;
}

function isSay(text) {
  return JSON.parse(text).type === "say";
}
