// Networks in which WebSockets do not work, or not for long: the line takes another way, and a better one when there is one. All that is
// published meanwhile arrives, once, in its order.

import assert from "node:assert/strict";
import { API_KEY, newRoom, pageTest, setUp } from "./harness.mjs";
import { BadProxy } from "./proxy.mjs";

// What Chromium reports of attempts that fail, and of connections that are cut.
const FAILED = [
  /^WebSocket connection to .* failed/,
  /^Failed to load resource: net::ERR_/,
  // A line of which the server knows already that it was cut; and a poll that Chromium has repeated by itself before the server did.
  /^Failed to load resource: the server responded with a status of (404|409)/,
];

setUp();

/** A test with a window behind a proxy of its own, and a channel in which numbers can be published. */
function behindProxy(name, faults, body) {
  pageTest(name, async (desk) => {
    desk.expectedComplaints = FAILED;
    const proxy = Object.assign(await new BadProxy(desk.url).start(), faults);
    const channel = `chat:${newRoom()}`;
    const numbers = new Numbers(desk.url, channel);
    try {
      await body({ proxy, page: await desk.window(), channel, numbers });
    } finally {
      await numbers.stop();
      await proxy.close();
    }
  });
}

/** Publishes 1, 2, 3 and so on, one after the other. */
class Numbers {
  last = 0;
  #url;
  #channel;
  #going;
  #wanted = false;

  constructor(url, channel) {
    this.#url = url;
    this.#channel = channel;
  }

  async next() {
    const body = JSON.stringify({ channel: this.#channel, data: { number: (this.last += 1) } });
    const answer = await fetch(`${this.#url}/api/v1/publish`, { method: "POST", headers: { "Content-Type": "application/json", "X-API-Key": API_KEY }, body });
    assert.equal(answer.status, 200);
  }

  /** From now on one every so many milliseconds. */
  start(pause) {
    this.#wanted = true;
    this.#going = (async () => {
      while (this.#wanted) {
        await this.next();
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    })();
  }

  async stop() {
    this.#wanted = false;
    await this.#going;
  }
}

/** Opens a line in the page: what it gets and how it was carried is kept there. Each number is answered with its own. */
async function open(page, proxy, channel, options = {}) {
  await page.goto(`${proxy.url}/bare`);
  await page.evaluate(
    async ([channel, options]) => {
      const { Longwire } = await import("/longwire.js");
      const line = new Longwire("/", { backoff: 100, backoffMax: 500, ...options });
      const seen = { numbers: [], echoes: [], carried: [], states: [], missed: [], refused: 0 };
      line.on("state", ({ state, transport }) => {
        seen.states.push(state);
        if (state === "open") seen.carried.push(transport);
      });
      const subscription = line.subscribe(channel, {
        onPublication({ data: { number, echo } }) {
          if (echo) return seen.echoes.push(echo);
          seen.numbers.push(number);
          line.publish(channel, { echo: number }).catch(() => (seen.refused += 1));
        },
        onMissed: ({ reason }) => seen.missed.push(reason),
      });
      Object.assign(window, { line, subscription, seen });
    },
    [channel, options],
  );
}

/** Waits until the line is carried by this, and follows the channel. */
async function carriedBy(page, transport) {
  await page.waitForFunction((wanted) => window.line?.transport === wanted && window.subscription.active, transport);
}

/** Waits until this many numbers have come. */
async function hasNumbers(page, count) {
  await page.waitForFunction((least) => window.seen?.numbers.length >= least, count);
}

/** Waits until the line was lost so often. */
async function hasLost(page, count) {
  await page.waitForFunction((wanted) => window.seen.states.filter((state) => state === "lost").length === wanted, count);
}

/** All numbers are there, and all answers to them, once and in their order. */
async function assertWhole(page, numbers) {
  await numbers.stop();
  const all = Array.from({ length: numbers.last }, (_, index) => index + 1);
  await page.waitForFunction((last) => window.seen.echoes.at(-1) === last, numbers.last);
  const seen = await page.evaluate(() => window.seen);
  assert.deepEqual(seen.numbers, all);
  assert.deepEqual(seen.echoes, all);
  assert.deepEqual([seen.missed, seen.refused], [[], 0]);
  return seen;
}

for (const webSockets of ["refuse", "strip", "swallow"]) {
  const name = `WebSockets: ${webSockets}. A stream is used, the next page begins with it, and the WebSocket takes over when it can`;
  behindProxy(name, { webSockets }, async ({ proxy, page, channel, numbers }) => {
    const options = { timeout: 2_000, openTimeout: 1_000, climb: 1_000 };
    await open(page, proxy, channel, { ...options, climb: 0 });
    await carriedBy(page, "stream");
    assert.equal(proxy.times("UPGRADE"), 1);
    await open(page, proxy, channel, options);
    await carriedBy(page, "stream");
    assert.equal(proxy.times("UPGRADE"), 1, "no WebSocket is attempted at first");
    numbers.start(10);
    await hasNumbers(page, 50);
    proxy.webSockets = "pass";
    await carriedBy(page, "websocket");
    // And back, and up again.
    proxy.webSockets = webSockets;
    proxy.cut();
    await carriedBy(page, "stream");
    proxy.webSockets = "pass";
    await carriedBy(page, "websocket");
    await hasNumbers(page, numbers.last + 50);
    const { carried, states } = await assertWhole(page, numbers);
    assert.deepEqual(carried, ["stream", "websocket", "stream", "websocket"]);
    assert.deepEqual(states.slice(0, 3), ["connecting", "open", "open"], "the first change was no lost line");
  });
}

const COMPLETE = "answers are passed on when they are complete, and WebSockets not at all: polls are used, and what is better when it can be had";
behindProxy(COMPLETE, { webSockets: "refuse", buffers: true }, async ({ proxy, page, channel, numbers }) => {
  await open(page, proxy, channel, { openTimeout: 1_000, climb: 2_000 });
  await carriedBy(page, "poll");
  numbers.start(10);
  await hasNumbers(page, 100);
  proxy.cut();
  await hasNumbers(page, numbers.last + 50);
  assert.equal(await page.evaluate(() => window.line.transport), "poll");
  proxy.buffers = false;
  await carriedBy(page, "stream");
  proxy.cut();
  await hasNumbers(page, numbers.last + 50);
  proxy.webSockets = "pass";
  await carriedBy(page, "websocket");
  await hasNumbers(page, numbers.last + 50);
  const { carried } = await assertWhole(page, numbers);
  assert.deepEqual([...new Set(carried)], ["poll", "stream", "websocket"]);
});

for (const transport of ["websocket", "stream", "poll"]) {
  const name = `connections are cut after three silent seconds: after two of them the ${transport} is kept from silence`;
  behindProxy(name, { idle: 3_000 }, async ({ proxy, page, channel, numbers }) => {
    await open(page, proxy, channel, { transports: [transport], pingMin: 1_000 });
    await carriedBy(page, transport);
    for (let lost = 1; lost <= 2; lost += 1) {
      await numbers.next();
      await hasLost(page, lost);
      await numbers.next();
      await hasNumbers(page, numbers.last);
    }
    // Long enough for three more to be cut.
    await new Promise((resolve) => setTimeout(resolve, 10_000));
    await numbers.next();
    const { states } = await assertWhole(page, numbers);
    assert.equal(states.filter((state) => state === "lost").length, 2);
  });
}
