import assert from "node:assert/strict";
import { test } from "node:test";
import { LongwireError } from "../dist/longwire.js";
import { calls, connected, failure, settled, state, world } from "./support/world.mjs";

const published = ({ id, channel }, offset, more = {}) => ({ type: "published", id, channel, epoch: "e1", offset, ...more });

test("what is said in one go goes out in one message, in its order", async (t) => {
  const { line, first } = await connected(t);
  line.publish("a", 1);
  line.history("b");
  line.subscribe("c");
  await Promise.resolve();
  line.presence("d");
  assert.deepEqual((await first.receive()).map(({ type, channel }) => [type, channel]), [["publish", "a"], ["history", "b"], ["subscribe", "c"]]);
  assert.deepEqual((await first.receive()).map(({ type }) => type), ["presence"]);
});

test("a message is no longer than the server takes", async (t) => {
  const { line, first } = await connected(t, {}, { max: 1000 });
  for (let count = 0; count < 12; count++) line.publish("a", "é".repeat(50), { once: "x" });
  const sizes = [];
  for (let count = 0; count < 12; ) {
    const commands = await first.receive();
    sizes.push(Buffer.byteLength(commands.map((command) => JSON.stringify(command)).join("\n")));
    count += commands.length;
  }
  assert.ok(sizes.length > 1 && sizes.every((size) => size <= 1000), String(sizes));
  assert.ok(sizes[0] > 800, "and not much shorter than need be");
  await assert.rejects(line.publish("a", "x".repeat(1000)), { code: 108, name: "too_large", channel: "a" });
});

test("each reply finds its command, and gives what the types say", async (t) => {
  const { line, first } = await connected(t);
  const answers = Promise.all([
    line.publish("a", { n: 1 }, { event: "e", key: "k", tags: { x: "y" }, once: "o", echo: false }),
    line.publish("a", new Uint8Array([0, 255]), { ephemeral: true }),
    line.history("a", { after: 1, epoch: "e1", before: 9, limit: 2 }),
    line.presence("a", { limit: 1, after: "s" }),
    line.state("a", { limit: 1, after: "k" }),
    line.cancel("a", 3),
  ]);
  const said = await first.receive();
  const ids = said.map(({ id }) => id);
  assert.deepEqual(said.map(({ id, ...command }) => command), [
    { type: "publish", channel: "a", data: { n: 1 }, event: "e", key: "k", tags: { x: "y" }, once: "o", echo: false },
    { type: "publish", channel: "a", bytes: "AP8=", ephemeral: true },
    { type: "history", channel: "a", after: 1, epoch: "e1", before: 9, limit: 2 },
    { type: "presence", channel: "a", limit: 1, after: "s" },
    { type: "state", channel: "a", limit: 1, after: "k" },
    { type: "cancel", channel: "a", stream: 3 },
  ]);
  const ann = { session: "s2", user: "ann" };
  const entry = { key: "k", offset: 2, time: 5, data: "v" };
  first.send(
    { type: "published", id: ids[0], channel: "a", epoch: "e1", offset: 4, repeated: true },
    { type: "published", id: ids[1], channel: "a" },
    { type: "history", id: ids[2], channel: "a", epoch: "e1", head: 4, more: true, publications: [{ offset: 2, bytes: "AQI=", time: 6, from: ann }] },
    { type: "presence", id: ids[3], channel: "a", members: [ann], sessions: 2, users: 1, more: true },
    { type: "state", id: ids[4], channel: "a", epoch: "e1", head: 4, entries: [entry], more: false },
    { type: "cancelled", id: ids[5], channel: "a", stream: 3 },
  );
  assert.deepEqual(await answers, [
    { channel: "a", epoch: "e1", offset: 4, repeated: true },
    { channel: "a", repeated: false },
    { channel: "a", epoch: "e1", head: 4, more: true, publications: [{ channel: "a", offset: 2, bytes: new Uint8Array([1, 2]), time: 6, from: ann }] },
    { channel: "a", members: [ann], sessions: 2, users: 1, more: true },
    { channel: "a", epoch: "e1", head: 4, more: false, entries: [{ channel: "a", ...entry }] },
    undefined,
  ]);
});

test("replies in another order find their commands all the same", async (t) => {
  const { line, first } = await connected(t);
  const both = Promise.all([line.publish("a", 1), line.publish("a", 2)]);
  const [one, two] = await first.receive();
  first.send(published(two, 2), published(one, 1));
  assert.deepEqual((await both).map(({ offset }) => offset), [1, 2]);
});

test("an error rejects with its number, name, text and whether to try again, and is reported", async (t) => {
  const { line, first } = await connected(t);
  const reported = failure(line);
  const refused = line.publish("a", 1);
  const { id } = await first.command("publish");
  first.send({ type: "error", id, code: 130, name: "overloaded", message: "a moment", retry: true });
  const error = await refused.catch((thrown) => thrown);
  assert.ok(error instanceof LongwireError && error instanceof Error);
  const { code, name, message, retry, channel } = error;
  assert.deepEqual({ code, name, message, retry, channel }, { code: 130, name: "overloaded", message: "a moment", retry: true, channel: "a" });
  assert.equal(await reported, error);
});

test("an error that belongs to no command is reported", async (t) => {
  const { line, first } = await connected(t);
  const reported = failure(line);
  first.send({ type: "error", code: 100, name: "bad_message", message: "what?", retry: false });
  assert.equal((await reported).name, "bad_message");
  await settled(line, first);
});

test("what is no JSON is refused before it is sent", async (t) => {
  const { line, first } = await connected(t);
  const round = {};
  round.round = round;
  await assert.rejects(line.publish("a", round), { code: 111, name: "bad_value", channel: "a" });
  await assert.rejects(line.publish("a", 1n), { code: 111 });
  await settled(line, first);
});

test("publications wait for the line, each with a key of its own, and keep their order", async (t) => {
  const { client, peer } = await world(t);
  const line = client();
  const answers = Promise.all([line.publish("a", 1), line.publish("b", 2), line.publish("a", 3)]);
  const first = await peer();
  await first.greet();
  const said = await first.receive();
  assert.deepEqual(said.map(({ data }) => data), [1, 2, 3]);
  assert.equal(new Set(said.map(({ once }) => once)).size, 3);
  assert.ok(said.every(({ once }) => Buffer.byteLength(once) <= 64));
  first.send(...said.map((command, index) => published(command, index + 1)));
  assert.deepEqual((await answers).map(({ offset }) => offset), [1, 2, 3]);
});

test("what was not answered is said again on the next line, in order, with the same keys; what was answered is not", async (t) => {
  const { line, first, peer, clock } = await connected(t);
  const answers = Promise.all([line.publish("a", 1), line.publish("a", 2), line.history("a"), line.publish("a", 3)]);
  const before = await first.receive();
  first.send(published(before[0], 1));
  await settled(line, first);
  const lost = state(line, "lost");
  first.cut();
  await lost;
  const later = line.publish("a", 4);
  clock.advance(250);
  const second = await peer();
  await second.greet();
  const after = await second.receive();
  // With how long ago it was said for the first time.
  assert.deepEqual(after.slice(0, 3), before.slice(1).map((command) => (command.type === "publish" ? { ...command, age: 250 } : command)));
  assert.equal(after[3].age, undefined);
  assert.deepEqual(after.map(({ data }) => data), [2, undefined, 3, 4]);
  second.send(
    published(after[0], 2, { repeated: true }),
    { type: "history", id: after[1].id, channel: "a", epoch: "e1", head: 2, publications: [], more: false },
    published(after[2], 3),
    published(after[3], 4),
  );
  const [, repeated] = await answers;
  assert.deepEqual(repeated, { channel: "a", epoch: "e1", offset: 2, repeated: true });
  assert.equal((await later).offset, 4);
});

test("what is for the moment only is not kept", async (t) => {
  const { line, first, clock, peer } = await connected(t);
  const typing = line.publish("a", "typing", { ephemeral: true });
  await first.command("publish");
  const lost = state(line, "lost");
  first.cut();
  await lost;
  await assert.rejects(typing, { name: "offline", retry: true });
  await assert.rejects(line.publish("a", "typing", { ephemeral: true }), { name: "offline" });
  clock.advance(250);
  const second = await peer();
  await second.greet();
  await settled(line, second);
});

test("so many commands may wait, and so many bytes", async (t) => {
  const { client, peer } = await world(t);
  const line = client({ queue: { commands: 2, bytes: 200 } });
  const kept = line.publish("a", 1);
  await assert.rejects(line.publish("a", "x".repeat(400)), { name: "queue_full", retry: true });
  const second = line.publish("a", 2);
  await assert.rejects(line.publish("a", 3), { name: "queue_full" });
  const first = await peer();
  await first.greet();
  const said = await first.receive();
  assert.deepEqual(said.map(({ data }) => data), [1, 2]);
  first.send(...said.map((command, index) => published(command, index)));
  await Promise.all([kept, second]);
  line.publish("a", 4);
  await first.command("publish");
});

test("what waits and is longer than the server takes is refused when that is known", async (t) => {
  const { client, peer } = await world(t);
  const line = client();
  const large = line.publish("a", "x".repeat(500));
  line.publish("a", 2);
  const first = await peer();
  await first.greet({ max: 300 });
  await assert.rejects(large, { name: "too_large" });
  assert.equal((await first.command("publish")).data, 2);
});

test("nobody need look at a promise: nothing is an unhandled rejection", async (t) => {
  const unhandled = calls();
  process.on("unhandledRejection", unhandled);
  t.after(() => process.removeListener("unhandledRejection", unhandled));
  const { line, first } = await connected(t);
  line.publish("a", 1);
  line.subscribe("b");
  const writer = line.stream("c");
  writer.append("x");
  for (const type of ["publish", "subscribe"]) {
    const { id } = await first.command(type);
    const told = failure(line);
    first.send({ type: "error", id, code: 105, name: "permission_denied", retry: false });
    await told;
  }
  await first.command("publish");
  first.send({ type: "error", code: 130, name: "overloaded", retry: true });
  await failure(line);
  line.close();
  line.publish("a", 1);
  line.connect();
  line.close();
  writer.append("y");
  writer.finish();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(unhandled.all, []);
});

test("pushes and members that are not known are ignored", async (t) => {
  const { line, first } = await connected(t);
  const got = calls();
  line.subscribe("a", { onPublication: got });
  await first.subscribed({ colour: "red" });
  first.send(
    { type: "weather", channel: "a", rain: true },
    { type: "publication", channel: "elsewhere", offset: 1, data: 0, time: 1 },
    { type: "publication", channel: "a", offset: 1, data: 1, time: 1, colour: "red" },
    { type: "pong" },
    { type: "published", id: 99, channel: "a" },
  );
  first.raw("\n\n");
  await settled(line, first);
  assert.deepEqual(got.all.map(([{ data }]) => data), [1]);
});

for (const [what, text] of [
  ["no JSON", "{nonsense"],
  ["no object", "7"],
  ["nothing", "null"],
  ["no type", '{"id":1}'],
  ["bytes", Buffer.from([1, 2])],
  ["a member of the wrong type", '{"type":"publication","channel":"a","offset":"1"}'],
  ["a base64 that is none", '{"type":"publication","channel":"a","offset":1,"time":1,"bytes":"!"}'],
]) {
  test(`a server that says ${what} is given up, and told of`, async (t) => {
    const { line, first, peer, clock } = await connected(t);
    line.subscribe("a");
    await first.subscribed();
    const lost = state(line, "lost");
    first.raw(text);
    const { error } = await lost;
    assert.equal(error.name, "bad_server_message");
    assert.ok(error.message.length > 20);
    await first.closed;
    clock.advance(250);
    await (await peer()).greet();
  });
}

test("a reply without what it should have rejects, and the line is given up", async (t) => {
  const { line, first } = await connected(t);
  const lost = state(line, "lost");
  const asked = line.history("a");
  const { id } = await first.command("history");
  first.send({ type: "history", id, channel: "a" });
  assert.equal((await lost).error.name, "bad_server_message");
  first.closed.then(() => {});
  line.close();
  await assert.rejects(asked, LongwireError);
});

test("what comes after the end of a line in the same message is not looked at", async (t) => {
  const { line, first, peer } = await connected(t);
  const got = calls();
  line.subscribe("a", {
    onPublication(publication) {
      got(publication);
      line.close();
      line.connect();
    },
  });
  await first.subscribed();
  first.send({ type: "publication", channel: "a", offset: 1, data: 1, time: 1 }, { type: "publication", channel: "a", offset: 2, data: 2, time: 1 });
  await first.closed;
  const open = state(line, "open");
  await (await peer()).greet();
  await open;
  assert.equal(got.all.length, 1);
});

test("what was published too long ago to be known is not said again", async (t) => {
  const { line, first, peer, clock } = await connected(t);
  const one = assert.rejects(line.publish("a", 1), { name: "maybe_published", code: 116, retry: false, channel: "a" });
  const two = line.history("a");
  await first.receive();
  const lost = state(line, "lost");
  first.cut();
  await lost;
  clock.time += 240_001;
  const three = line.publish("a", 3);
  clock.advance(250);
  const second = await peer();
  await second.greet();
  const after = await second.receive();
  assert.deepEqual(after.map(({ type, data }) => [type, data]), [["history", undefined], ["publish", 3]]);
  await one;
  second.send({ type: "history", id: after[0].id, channel: "a", epoch: "e1", head: 2, publications: [], more: false }, published(after[1], 3));
  await Promise.all([two, three]);
});

test("how long ago it was said for the first time counts on while the clock is set and the machine sleeps, and from where the user has it", async (t) => {
  const { line, first, peer, clock } = await connected(t);
  line.publish("a", 1, { once: "x", age: 5_000 });
  line.publish("a", 2, { ephemeral: true, age: 5_000 });
  const said = await first.receive();
  assert.deepEqual(said.map(({ age }) => age), [5_000, undefined]);
  let last = first;
  for (const age of [8_000, 11_000]) {
    const lost = state(line, "lost");
    clock.set -= 3_600_000;
    clock.time += 2_000;
    last.cut();
    await lost;
    clock.advance(1_000);
    last = await peer();
    await last.greet();
    assert.deepEqual(await last.receive(), [{ ...said[0], age }]);
  }
});

test("what the server cannot know any more is told as such, and as what it is", async (t) => {
  const { line, first, peer, clock } = await connected(t);
  const answer = line.publish("a", 1);
  await first.command("publish");
  const lost = state(line, "lost");
  first.cut();
  await lost;
  clock.advance(250);
  const second = await peer();
  await second.greet();
  const { id, age } = await second.command("publish");
  assert.equal(age, 250);
  second.send({ type: "error", id, code: 116, name: "maybe_published", message: "after 0.2 s", retry: false });
  await assert.rejects(answer, { code: 116, name: "maybe_published", message: "after 0.2 s", retry: false });
});

test("what would be too long with its age is not said again", async (t) => {
  const { line, first, peer, clock } = await connected(t, {}, { max: 200 });
  const answer = assert.rejects(line.publish("a", "x".repeat(110)), { name: "maybe_published" });
  const { id, ...said } = await first.command("publish");
  assert.ok(JSON.stringify({ id, ...said }).length > 180);
  const lost = state(line, "lost");
  first.cut();
  await lost;
  clock.advance(250);
  const second = await peer();
  await second.greet({ max: 200 });
  await answer;
  await settled(line, second);
});
