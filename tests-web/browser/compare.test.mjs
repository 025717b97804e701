// The comparison of transports: each receives the same messages, a cut is seen and repaired, and the prices can be told apart.

import assert from "node:assert/strict";
import { test } from "node:test";
import { answerBytes, eventBytes, frameBytes } from "../../crates/longwire/pages/assets/compare-size.js";
import { Tally } from "../../crates/longwire/pages/assets/compare-tally.js";
import { pageTest, scrollsSideways, setUp } from "./harness.mjs";

const ALL = ["poll", "long", "sse", "ws", "sio"];
const PUSHED = ["long", "sse", "ws", "sio"];
const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };

setUp();

test("what comes is counted as live, late, twice or never", () => {
  const tally = new Tally();
  assert.equal(tally.take(7, 1000, 1002), "live");
  assert.equal(tally.take(8, 1200, 1206), "live");
  assert.equal(tally.latency, 4);
  assert.equal(tally.take(8, 1200, 1300), "twice");
  assert.equal(tally.take(11, 1800, 1801), "live");
  assert.deepEqual([tally.never, [...tally.holes]], [2, [9, 10]]);
  assert.equal(tally.take(10, 1600, 1802), "live", "it was only out of order");
  assert.equal(tally.never, 1);

  tally.cut(2000);
  assert.equal(tally.isAway, true);
  assert.equal(tally.take(12, 2000, 5000), "late");
  assert.equal(tally.take(13, 4999, 5001), "late");
  assert.equal(tally.take(14, 5200, 5201), "live");
  assert.deepEqual([tally.late, tally.away, tally.isAway], [2, 3000, false]);
  assert.deepEqual([tally.received, tally.twice, tally.never], [7, 1, 1]);
  assert.equal(tally.take(1, 9000, 9001), "live", "the server has begun anew");
  assert.deepEqual([tally.twice, tally.never], [1, 0]);
  tally.fresh();
  assert.equal(tally.take(50, 9900, 9901), "live");
  assert.equal(tally.never, 0, "what was before the beginning is not missed");
});

test("sizes are those on the wire", () => {
  assert.deepEqual([frameBytes("a".repeat(125)), frameBytes("a".repeat(126)), frameBytes("a".repeat(65_536))], [127, 130, 65_546]);
  assert.equal(frameBytes("你", true), 2 + 4 + 3);
  const event = "event: gap\nid: a:1\ndata: {}\n\n";
  assert.equal(eventBytes({ type: "gap", data: "{}", lastEventId: "a:1" }), `${event.length.toString(16)}\r\n${event}\r\n`.length);
  const headers = new Headers({ etag: '"a:1"', "content-length": "2" });
  const answer = 'HTTP/1.1 200 OK\r\netag: "a:1"\r\ncontent-length: 2\r\n\r\n{}';
  assert.equal(answerBytes({ status: 200, statusText: "OK", headers }, "{}"), answer.length);
});

pageTest("all five receive, and a cut is shown and repaired: nothing twice, nothing never", async (desk) => {
  const page = await desk.window();
  await page.goto(`${desk.url}/compare`);
  await allAre(page, (lane) => lane.state === "open" && lane.received >= 10);
  const before = await lanes(page);
  for (const name of ALL) assert.deepEqual(counts(before[name]), { late: 0, twice: 0, never: 0 }, name);

  await page.click("#cut");
  await allAre(page, (lane) => lane.state === "lost");
  assert.equal(await page.isDisabled("#cut"), true);
  await page.waitForSelector("#cut:enabled", { timeout: 20_000 });
  await allAre(page, (lane) => lane.state === "open" && lane.away > 0);
  const cut = await lanes(page);
  for (const name of ALL) {
    const { late, twice, never, away } = cut[name];
    assert.deepEqual({ twice, never }, { twice: 0, never: 0 }, name);
    assert.ok(away >= 3000 && away < 15_000, `${name} was away for ${away} ms`);
    // Five a second, of which one or two may have come in the moment of the cut or of the return.
    assert.ok(Math.abs(late - away / 200) <= 7, `${name}: ${late} late in ${away} ms`);
  }
  assert.equal(await page.textContent("#status"), "All are back.");

  // And it goes on: as many for each, but for what a poll has not asked for yet.
  await allAre(page, (lane) => lane.received >= 60);
  const after = await lanes(page);
  for (const name of ALL) {
    assert.deepEqual([after[name].late, after[name].twice, after[name].never], [cut[name].late, 0, 0], name);
    assert.ok(Math.abs(after[name].received - after.ws.received) <= 15, `${name}: ${after[name].received}, not ${after.ws.received}`);
  }
  // The prices: only a poll waits, and only polls ask again.
  for (const name of PUSHED) assert.ok(after[name].latency < after.poll.latency / 2, `${name}: ${after[name].latency} ms`);
  for (const name of ["sse", "ws", "sio"]) assert.equal(after[name].requests, 2, `${name}: once, and once after the cut`);
  assert.ok(after.long.requests > after.poll.requests && after.poll.requests > 5);
  for (const name of ["sse", "ws", "sio"]) assert.ok(after[name].bytes < after.long.bytes, name);
  assert.ok(await draws(page), "there are pictures");
});

pageTest("the server's CPU is measured for each alone, and all go on afterwards", async (desk) => {
  const page = await desk.window();
  await page.goto(`${desk.url}/compare`);
  await page.click("#measure:enabled");
  await page.waitForFunction(() => document.querySelectorAll(".line[data-state=open]").length === 1);
  await page.waitForSelector("#measure:enabled", { timeout: 60_000 });
  assert.equal(await page.textContent("#status"), "Measured. All are on again.");
  await allAre(page, (lane) => lane.state === "open" && Number.isFinite(lane.cpu));
  const measured = await lanes(page);
  assert.ok(Math.max(...ALL.map((name) => measured[name].cpu)) > 0);
  for (const name of ALL) assert.deepEqual(counts(measured[name]), { late: 0, twice: 0, never: 0 }, `${name}: a pause is no cut`);
});

pageTest("on a phone and in Chinese it fits, and the switch changes what is there", async (desk) => {
  const phone = await desk.window({ ...PHONE, locale: "zh-CN", colorScheme: "dark" });
  await phone.goto(`${desk.url}/compare`);
  await allAre(phone, (lane) => lane.state === "open");
  assert.equal(await phone.textContent("h1"), "同一条流，五种收法");
  assert.equal(await phone.textContent(".lane[data-transport=long] h2"), "长轮询");
  assert.equal(await scrollsSideways(phone), false);
  await phone.click("[data-language-switch]");
  assert.equal(await phone.textContent(".lane[data-transport=long] h2"), "Long polling");
  assert.equal(await phone.textContent(".lane[data-transport=ws] .back"), "Not cut yet.");
  assert.equal(await scrollsSideways(phone), false);
});

function counts({ late, twice, never }) {
  return { late, twice, never };
}

// Figures as the page shows them, in English.
function lanes(page) {
  return page.evaluate(() => {
    const number = (text) => (text === "–" ? NaN : Number(text.replace(/,/g, "").split(" ")[0]));
    const read = (lane) => {
      const { transport, received, late, twice, never, away } = lane.dataset;
      const figure = (name) => number(lane.querySelector(`[data-figure=${name}] dd`).textContent);
      return [
        transport,
        {
          state: lane.querySelector(".line").dataset.state,
          received: Number(received),
          late: Number(late),
          twice: Number(twice),
          never: Number(never),
          away: Number(away),
          latency: figure("latency"),
          bytes: figure("bytes"),
          requests: figure("requests"),
          cpu: figure("cpu"),
        },
      ];
    };
    return Object.fromEntries([...document.querySelectorAll(".lane")].map(read));
  });
}

/** Waits until `holds(lane, name)` for all five. */
async function allAre(page, holds) {
  const end = Date.now() + 30_000;
  for (;;) {
    const now = await lanes(page);
    if (ALL.every((name) => now[name] && holds(now[name], name))) return;
    assert.ok(Date.now() < end, `still not: ${JSON.stringify(now)}`);
    await page.waitForTimeout(50);
  }
}

/** Whether each picture has something in it. */
function draws(page) {
  return page.evaluate(() =>
    [...document.querySelectorAll(".lane canvas")].every((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.some((byte) => byte > 0);
    }),
  );
}
