// Lines are cut, and networks change, as chance will have it: nothing is lost, nothing doubled, and all stays in its order.
//
//   SEED=7 node --test test/changes.test.mjs        one of them again
//   SEEDS=1000 node --test test/changes.test.mjs    more of them
import assert from "node:assert/strict";
import { test } from "node:test";
import { Channel } from "./support/channel.mjs";
import { world } from "./support/world.mjs";

const { SEED, SEEDS = 30 } = process.env;
const seeds = SEED ? [Number(SEED)] : Array.from({ length: Number(SEEDS) }, (_, index) => index + 1);
const carried = new Set();
let resumed = 0;

for (const seed of seeds) {
  test(`whatever becomes of the network, with seed ${seed}`, async (t) => {
    const chance = random(seed);
    const one = (list) => list[Math.floor(chance() * list.length)];
    const { client, network, peer, clock } = await world(t);
    const channel = new Channel();
    let last;
    const serving = (async () => {
      for (;;) {
        last = await peer();
        channel.serve(last).catch(assert.fail);
      }
    })();
    serving.catch(assert.fail);
    const line = client({ transports: ["websocket", "stream", "poll"], climb: 2_000, backoff: 100, environment: { random: chance } });
    const [got, said] = [[], []];
    line.subscribe("a", { onPublication: ({ data }) => got.push(data), onMissed: assert.fail });
    line.on("state", ({ state, transport, error }) => {
      if (state === "open") carried.add(transport);
      if (state === "closed" && error) assert.fail(error);
    });
    for (let step = 0; step < 150; step++) {
      const what = chance();
      if (what < 0.3) said.push(line.publish("a", `mine ${said.length}`));
      else if (what < 0.5) channel.add(`other ${step}`);
      else if (what < 0.55) last?.cut();
      else if (what < 0.6) network[one(["websocket", "stream", "poll"])] = one(["open", "open", "refuse", "hang"]);
      else if (what < 0.62) clock.window.dispatchEvent(new Event("online"));
      else if (what < 0.85) clock.advance(chance() * 2_000);
      else await turns(one([1, 5, 50]));
    }
    for (const transport of ["websocket", "stream", "poll"]) network[transport] = "open";
    channel.add("the last");
    for (let turn = 0; turn < 2_000 && got.at(-1) !== "the last"; turn++) {
      clock.advance(100);
      await turns(5);
    }
    let answered = false;
    const all = Promise.all(said).then(() => (answered = true));
    for (let turn = 0; turn < 2_000 && !answered; turn++) {
      clock.advance(100);
      await turns(5);
    }
    assert.ok(answered, "everything that was said is answered");
    await all;
    while (got.length < channel.log.length) {
      clock.advance(100);
      await turns(5);
    }
    assert.deepEqual(got, channel.log);
    const mine = channel.log.filter((data) => data.startsWith("mine"));
    assert.deepEqual(mine, said.map((_, index) => `mine ${index}`));
    resumed += channel.taken;
  });
}

if (!SEED) {
  test("all transports had their turn, and lines were lost and taken up again", () => {
    assert.ok(resumed > 2 * seeds.length, `${resumed} times`);
    assert.deepEqual([...carried].sort(), ["poll", "stream", "websocket"]);
  });
}

/** Lets the network do what it does. */
async function turns(count) {
  for (let turn = 0; turn < count; turn++) await new Promise(setImmediate);
}

/** Chance that can be had again: mulberry32. */
function random(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
