import assert from "node:assert/strict";
import { test } from "node:test";
import { calls, connected, settled, state, world } from "./support/world.mjs";

const pub = (offset, data = offset, more = {}) => ({ type: "publication", channel: "a", offset, data, time: 1, ...more });

/** A client that follows `a`, with everything it is told in `told`. */
async function following(t, options = {}, reply = {}) {
  const all = await connected(t);
  const told = calls();
  const handlers = Object.fromEntries(
    ["onPublication", "onJoin", "onLeave", "onState", "onMembers", "onSubscribed", "onRecovered", "onMissed", "onError"]
      .filter((name) => (name !== "onState" || options.state) && (name !== "onMembers" || options.members))
      .map((name) => [name, (...values) => told(name, ...values)]),
  );
  const subscription = all.line.subscribe("a", { ...handlers, ...options });
  const asked = await all.first.subscribed(reply);
  await subscription.ready;
  return { ...all, told, subscription, asked };
}

/** Cuts the line and accepts the next: its peer. */
async function again({ line, first, peer, clock }, cut = () => first.cut()) {
  const lost = state(line, "lost");
  cut();
  await lost;
  clock.advance(250);
  const second = await peer();
  await second.greet({ resumed: true });
  return second;
}

const names = (told) => told.all.map(([name]) => name);

test("a subscription before there is a line just works", async (t) => {
  const { client, peer } = await world(t);
  const line = client();
  const got = calls();
  const subscription = line.subscribe("a", { last: 5, onPublication: got });
  assert.equal(subscription.active, false);
  const first = await peer();
  await first.greet();
  assert.deepEqual(await first.subscribed({ offset: 2, head: 3 }), { type: "subscribe", channel: "a", last: 5 });
  first.send(pub(3));
  assert.deepEqual(await got.next(), [{ channel: "a", offset: 3, data: 3, time: 1 }]);
  assert.equal(subscription.active, true);
  assert.deepEqual(subscription.position, { epoch: "e1", offset: 3 });
});

test("the first reply is told", async (t) => {
  const { told, subscription } = await following(t, {}, { offset: 4, head: 6 });
  const subscribed = { channel: "a", position: { epoch: "e1", offset: 4 }, head: 6, options: ["history", "publish"], first: true };
  assert.deepEqual(told.all, [["onSubscribed", subscribed]]);
  assert.deepEqual(await subscription.ready, subscribed);
});

test("all channels continue where they were, in one message, before what waits to be published", async (t) => {
  const { line, first, peer, clock } = await connected(t);
  for (const channel of ["a", "b", "c"]) line.subscribe(channel);
  for (const epoch of ["ea", "eb", "ec"]) await first.subscribed({ epoch, offset: 5 });
  first.send(pub(6), pub(7), { ...pub(9), channel: "b" });
  await settled(line, first);
  line.publish("a", "late");
  await first.command("publish");
  const second = await again({ line, first, peer, clock });
  const said = await second.receive();
  assert.deepEqual(
    said.map(({ type, channel, epoch, offset }) => [type, channel, epoch, offset]),
    [["subscribe", "a", "ea", 7], ["subscribe", "b", "eb", 9], ["subscribe", "c", "ec", 5], ["publish", "a", undefined, undefined]],
  );
});

test("what has come already is not told again", async (t) => {
  const all = await following(t);
  const { first, told, line } = all;
  first.send(pub(1), pub(2), pub(2), pub(1), pub(3));
  await settled(line, first);
  const second = await again(all);
  assert.equal((await second.subscribed({ offset: 3, head: 5, recovered: true })).offset, 3);
  second.send(pub(3), pub(4), pub(4), pub(5));
  await settled(line, second);
  assert.deepEqual(told.all.filter(([name]) => name === "onPublication").map(([, { data }]) => data), [1, 2, 3, 4, 5]);
  assert.deepEqual(names(told).filter((name) => name !== "onPublication"), ["onSubscribed", "onSubscribed", "onRecovered"]);
});

test("what has no offset is told each time", async (t) => {
  const { line, first, told, subscription } = await following(t);
  first.send(pub(undefined, "x"), pub(undefined, "x"));
  await settled(line, first);
  assert.equal(names(told).filter((name) => name === "onPublication").length, 2);
  assert.equal(subscription.position.offset, 0);
});

test("it can begin where an earlier life of the program ended", async (t) => {
  const { asked, told } = await following(t, { since: { epoch: "e0", offset: 7 } }, { offset: 7, head: 9, recovered: true });
  assert.deepEqual([asked.epoch, asked.offset], ["e0", 7]);
  assert.deepEqual(names(told), ["onSubscribed", "onRecovered"]);
});

for (const reason of ["expired", "epoch", "off", "ahead"]) {
  test(`that something is gone is told, with the reason: ${reason}`, async (t) => {
    const all = await following(t, {}, { offset: 3 });
    const second = await again(all);
    const epoch = reason === "epoch" ? "e2" : "e1";
    await second.subscribed({ epoch, offset: 1, head: 1, recovered: false, reason });
    second.send({ ...pub(2) });
    await settled(all.line, second);
    assert.deepEqual(names(all.told), ["onSubscribed", "onSubscribed", "onMissed", "onPublication"]);
    assert.deepEqual(all.told.all[2][1], { channel: "a", reason, since: { epoch: "e1", offset: 3 }, position: { epoch, offset: 1 } });
  });
}

test("a gap is told, and what it covers is not told later", async (t) => {
  const { line, first, told, subscription } = await following(t);
  first.send(pub(1), { type: "gap", channel: "a", offset: 5 }, pub(4), pub(6));
  await settled(line, first);
  assert.deepEqual(told.all.slice(1).map(([name, value]) => [name, value.offset ?? value.reason]), [["onPublication", 1], ["onMissed", "gap"], ["onPublication", 6]]);
  assert.deepEqual(told.all[2][1], { channel: "a", reason: "gap", since: { epoch: "e1", offset: 1 }, position: { epoch: "e1", offset: 5 } });
  assert.equal(subscription.position.offset, 6);
  first.send({ type: "gap", channel: "a", offset: 5 }, pub(6), pub(7));
  await settled(line, first);
  assert.deepEqual(told.all.at(-1)[1].offset, 7);
  assert.equal(names(told).filter((name) => name === "onPublication").length, 3, "one that is old takes nothing back");
});

test("who is there is kept, and loaded anew with each line", async (t) => {
  const [ann, bob, cat] = ["ann", "bob", "cat"].map((session) => ({ session }));
  const all = await following(t, { members: true }, { members: [ann, bob] });
  const { line, first, told, subscription, asked } = all;
  assert.equal(asked.members, true);
  assert.deepEqual([...subscription.members.values()], [ann, bob]);
  first.send({ type: "join", channel: "a", member: cat }, { type: "leave", channel: "a", member: ann });
  await settled(line, first);
  assert.deepEqual([...subscription.members.keys()], ["bob", "cat"]);
  assert.deepEqual(names(told), ["onSubscribed", "onMembers", "onJoin", "onMembers", "onLeave", "onMembers"]);
  const second = await again(all);
  assert.equal((await second.subscribed({ recovered: true, members: [ann] })).members, true);
  await settled(line, second);
  assert.deepEqual([...subscription.members.keys()], ["ann"]);
});

test("keys come as a snapshot, then change", async (t) => {
  const { line, first, told, subscription, asked } = await following(t, { state: true }, { offset: 3 });
  const entry = (key, offset, data) => ({ key, offset, time: 1, data });
  assert.equal(asked.state, true);
  first.send({ type: "state", channel: "a", entries: [entry("x", 1, 1)] });
  await settled(line, first);
  assert.equal(subscription.entries.size, 0, "not before all of it is there");
  first.send({ type: "state", channel: "a", entries: [entry("y", 2, 2)], done: true });
  first.send(pub(4, 3, { key: "x" }), { ...pub(5, undefined, { key: "y", removed: true }) }, pub(undefined, 9, { key: "z" }), pub(6));
  await settled(line, first);
  assert.deepEqual([...subscription.entries].map(([key, { data, offset }]) => [key, data, offset]), [["x", 3, 4]]);
  assert.deepEqual(told.all.filter(([name]) => name === "onState").map(([, , changed]) => changed), [["x", "y"], ["x"], ["y"]]);
  assert.equal(names(told).filter((name) => name === "onPublication").length, 4);
});

test("keys are kept when the channel is recovered, and replaced when it is not", async (t) => {
  const all = await following(t, { state: true });
  all.first.send({ type: "state", channel: "a", entries: [{ key: "x", offset: 1, time: 1, data: 1 }], done: true });
  await settled(all.line, all.first);
  const second = await again(all);
  await second.subscribed({ recovered: true });
  second.send({ type: "state", channel: "a", entries: [{ key: "half", offset: 1, time: 1, data: 1 }] });
  await settled(all.line, second);
  assert.deepEqual([...all.subscription.entries.keys()], ["x"]);
  const third = await again({ ...all, first: second }, () => {
    second.cut();
    all.clock.chance = 0;
  });
  await third.subscribed({ recovered: false, reason: "expired", offset: 9 });
  third.send({ type: "state", channel: "a", entries: [{ key: "y", offset: 8, time: 1, data: 2 }], done: true });
  await settled(all.line, third);
  assert.deepEqual([...all.subscription.entries.keys()], ["y"]);
  assert.deepEqual(all.told.all.at(-1)[2], ["x", "y"]);
});

test("keys that were cut off go on after the last that has come, and nothing that was published meanwhile is lost", async (t) => {
  const all = await following(t, { state: true }, { offset: 8 });
  const entry = (key, offset) => ({ key, offset, time: 1, data: offset });
  all.first.send({ type: "state", channel: "a", entries: [entry("w", 1), entry("x", 2)] });
  await settled(all.line, all.first);
  const second = await again(all);
  const { epoch, offset, after } = await second.subscribed({ offset: 8, recovered: true });
  assert.deepEqual([epoch, offset, after], ["e1", 8, "x"]);
  // By now it is newer than what is published next.
  second.send({ type: "state", channel: "a", entries: [entry("y", 11)], done: true }, pub(9), pub(10, 10, { key: "y" }), pub(11, 11, { key: "y" }), pub(12, 12, { key: "x" }));
  await settled(all.line, second);
  assert.deepEqual([...all.subscription.entries].map(([key, { data }]) => [key, data]), [["w", 1], ["x", 12], ["y", 11]]);
  assert.deepEqual(all.told.all.filter(([name]) => name === "onPublication").map(([, { offset }]) => offset), [9, 10, 11, 12]);
  assert.deepEqual(all.told.all.filter(([name]) => name === "onState").map(([, , changed]) => changed), [["w", "x", "y"], ["x"]]);
  const third = await again({ ...all, first: second }, () => {
    second.cut();
    all.clock.chance = 0;
  });
  assert.equal((await third.subscribed({ offset: 12, recovered: true })).after, undefined, "they are complete");
});

test("keys that were cut off before the first are wanted from the first", async (t) => {
  const all = await following(t, { state: true }, { offset: 8 });
  const second = await again(all);
  assert.equal((await second.subscribed({ offset: 8, recovered: true })).after, "");
});

test("after a gap the keys are asked for anew, page by page, and what changes meanwhile is not undone", async (t) => {
  const { line, first, subscription } = await following(t, { state: true });
  const entry = (key, offset, data) => ({ key, offset, time: 1, data });
  first.send({ type: "state", channel: "a", entries: [entry("gone", 1, 0)], done: true }, { type: "gap", channel: "a", offset: 10 });
  const one = await first.command("state");
  assert.equal(one.after, undefined);
  first.send(pub(11, "new", { key: "b" }), pub(12, undefined, { key: "c", removed: true }), pub(13, "old", { key: "d" }));
  first.send({ type: "state", id: one.id, channel: "a", epoch: "e1", head: 10, entries: [entry("a", 2, "a"), entry("b", 3, "old")], more: true });
  const two = await first.command("state");
  assert.equal(two.after, "b");
  first.send({ type: "state", id: two.id, channel: "a", epoch: "e1", head: 14, entries: [entry("c", 4, "old"), entry("d", 14, "d")], more: false });
  await settled(line, first);
  assert.deepEqual([...subscription.entries].map(([key, { data }]) => [key, data]), [["a", "a"], ["b", "new"], ["d", "d"]]);
});

test("keys that come as a whole make an older asking old", async (t) => {
  const all = await following(t, { state: true });
  const entry = (key, offset) => ({ key, offset, time: 1, data: key });
  all.first.send({ type: "state", channel: "a", entries: [], done: true }, { type: "gap", channel: "a", offset: 10 });
  const { id } = await all.first.command("state");
  const second = await again(all);
  assert.equal((await second.subscribed({ offset: 10, recovered: true })).after, "");
  const late = await second.command("state");
  assert.equal(late.id, id);
  second.send({ type: "state", channel: "a", entries: [entry("x", 8)] });
  second.send({ type: "state", id: late.id, channel: "a", epoch: "e1", head: 9, entries: [entry("x", 8)], more: false });
  second.send({ type: "state", channel: "a", entries: [entry("y", 9)], done: true });
  await settled(all.line, second);
  assert.deepEqual([...all.subscription.entries.keys()], ["x", "y"]);
});

test("keys that cannot be had for a moment are asked for again", async (t) => {
  const { line, first, clock, subscription } = await following(t, { state: true });
  first.send({ type: "state", channel: "a", entries: [], done: true }, { type: "gap", channel: "a", offset: 10 });
  const one = await first.command("state");
  first.send({ type: "error", id: one.id, code: 130, name: "overloaded", retry: true });
  await settled(line, first);
  clock.advance(250);
  const two = await first.command("state");
  first.send({ type: "state", id: two.id, channel: "a", epoch: "e1", head: 10, entries: [{ key: "k", offset: 9, time: 1 }], more: false });
  await settled(line, first);
  assert.deepEqual([...subscription.entries.keys()], ["k"]);
});

test("who begins where an earlier life of the program ended has the keys all the same", async (t) => {
  const { asked } = await following(t, { state: true, since: { epoch: "e1", offset: 7 } }, { offset: 7, recovered: true });
  assert.equal(asked.after, "");
});

test("a channel without keys is not asked for them", async (t) => {
  const all = await following(t, { state: true }, { options: ["history"] });
  const second = await again(all);
  assert.equal((await second.subscribed({ options: ["history"], recovered: true })).after, undefined);
});

test("a channel cannot be followed twice at a time", async (t) => {
  const { line } = await following(t);
  assert.throws(() => line.subscribe("a"), { code: 107, name: "already_subscribed", channel: "a" });
});

test("after unsubscribe nothing is told, and one may come again at once", async (t) => {
  const { line, first, told, subscription } = await following(t);
  const ended = subscription.unsubscribe();
  const fresh = calls();
  line.subscribe("a", { onPublication: fresh });
  const [unsubscribe, subscribe] = await first.receive();
  assert.deepEqual([unsubscribe.type, unsubscribe.channel, subscribe.type, subscribe.epoch], ["unsubscribe", "a", "subscribe", undefined]);
  first.send(pub(1), { type: "unsubscribed", id: unsubscribe.id, channel: "a" });
  await ended;
  first.send({ type: "subscribed", id: subscribe.id, channel: "a", epoch: "e1", offset: 1 }, pub(2));
  await settled(line, first);
  assert.deepEqual(names(told), ["onSubscribed"]);
  assert.deepEqual(fresh.all.map(([{ offset }]) => offset), [2]);
  assert.equal(subscription.active, false);
  await subscription.unsubscribe();
});

test("one that was ended while there was no line is not taken up again", async (t) => {
  const all = await following(t);
  const lost = state(all.line, "lost");
  all.first.cut();
  await lost;
  await all.subscription.unsubscribe();
  all.clock.advance(250);
  const second = await all.peer();
  await second.greet();
  await settled(all.line, second);
});

test("an unsubscribe that the line's end overtakes has happened all the same", async (t) => {
  const { first, subscription } = await following(t);
  const ended = subscription.unsubscribe();
  await first.command("unsubscribe");
  first.cut();
  await ended;
});

test("a refusal is told; one that may pass is attempted again, with back-off", async (t) => {
  const { line, first, clock } = await connected(t);
  const told = calls();
  const subscription = line.subscribe("a", { onError: told });
  for (const wait of [250, 500]) {
    const { id } = await first.command("subscribe");
    first.send({ type: "error", id, code: 130, name: "overloaded", retry: true });
    assert.equal((await told.next())[0].name, "overloaded");
    clock.advance(wait - 1);
    await settled(line, first);
    clock.advance(1);
  }
  const { id } = await first.command("subscribe");
  first.send({ type: "error", id, code: 105, name: "permission_denied", retry: false });
  assert.equal((await told.next())[0].name, "permission_denied");
  await assert.rejects(subscription.ready, { code: 105, channel: "a" });
  line.subscribe("a");
  await first.command("subscribe");
});

test("one that the server ends is told; if that may pass it comes again, from its place", async (t) => {
  const { line, first, told, clock, subscription } = await following(t);
  first.send(pub(1), { type: "unsubscribed", channel: "a", code: 131, reason: "storage_failed" }, pub(2));
  await settled(line, first);
  assert.deepEqual([told.all.at(-1)[0], told.all.at(-1)[1].code, told.all.at(-1)[1].retry], ["onError", 131, true]);
  assert.equal(subscription.active, false);
  clock.advance(250);
  assert.equal((await first.subscribed({ offset: 1, recovered: true })).offset, 1);
  first.send({ type: "unsubscribed", channel: "a", code: 131, reason: "storage_failed" });
  await settled(line, first);
  clock.advance(250);
  await first.subscribed({ offset: 1, recovered: true });
  first.send({ type: "unsubscribed", channel: "a", code: 105, reason: "permission_denied" }, pub(2));
  await settled(line, first);
  assert.deepEqual([told.all.at(-1)[0], told.all.at(-1)[1].code, told.all.at(-1)[1].retry], ["onError", 105, false]);
  assert.equal(clock.waiting, 1, "only the ping");
});

test("one that waits for its next attempt is ended without a word", async (t) => {
  const { line, first, subscription, clock } = await following(t);
  first.send({ type: "unsubscribed", channel: "a", code: 131, reason: "storage_failed" });
  await settled(line, first);
  await subscription.unsubscribe();
  clock.advance(1_000);
  await settled(line, first);
});

test("subscriptions outlive close() and connect()", async (t) => {
  const all = await following(t, {}, { offset: 2 });
  all.line.close();
  all.line.connect();
  const second = await all.peer();
  await second.greet();
  const { epoch, offset } = await second.subscribed();
  assert.deepEqual([epoch, offset], ["e1", 2]);
});

test("a line that ends before the reply: it is asked again, as at first", async (t) => {
  const { line, first, peer, clock } = await connected(t);
  line.subscribe("a", { last: 3 });
  await first.command("subscribe");
  const second = await again({ line, first, peer, clock });
  assert.equal((await second.subscribed()).last, 3);
});

test("the channel's own publish, history, presence and state", async (t) => {
  const { first, subscription } = await following(t);
  subscription.publish(1, { event: "e" });
  subscription.history({ limit: 1 });
  subscription.presence();
  subscription.state();
  assert.deepEqual((await first.receive()).map(({ type, channel }) => [type, channel]), [["publish", "a"], ["history", "a"], ["presence", "a"], ["state", "a"]]);
});

for (const last of ["onSubscribed", "onMembers", "onMissed", "onRecovered", "onPublication", "onState", "onJoin", "onLeave", "onStream"]) {
  test(`unsubscribe() within ${last}: no handler is called any more`, async (t) => {
    const { line, first } = await connected(t);
    const told = calls();
    const names = ["onSubscribed", "onMembers", "onMissed", "onRecovered", "onPublication", "onState", "onJoin", "onLeave", "onStream", "onError"];
    const handler = (name) => (...values) => {
      told(name, ...values);
      if (name === last) subscription.unsubscribe();
    };
    const handlers = Object.fromEntries(names.map((name) => [name, handler(name)]));
    const subscription = line.subscribe("a", { since: { epoch: "e1", offset: 1 }, ...handlers });
    const ann = { session: "ann" };
    const missed = last === "onMissed" ? { recovered: false, reason: "expired", offset: 4 } : { recovered: true, offset: 1 };
    await first.subscribed({ ...missed, members: [ann] });
    const key = { key: "k", data: 1 };
    const stream = { began: 8, length: 1 };
    first.send({ type: "join", channel: "a", member: ann }, { type: "leave", channel: "a", member: ann }, pub(7, 1, key), pub(8, "x", { stream }));
    first.send({ type: "append", channel: "a", offset: 9, stream: 8, at: 1, data: "y" }, { type: "gap", channel: "a", offset: 10 });
    first.send({ type: "state", channel: "a", entries: [{ key: "k", offset: 7, time: 1 }], done: true });
    while ((await first.command()).type !== "unsubscribe");
    for (const more of [0, 1]) {
      first.send(pub(20 + more, 1, key));
      await settled(line, first);
    }
    const all = told.all.map(([name]) => name);
    assert.equal(all.indexOf(last), all.length - 1, String(all));
  });
}

test("a line that is closed for good is told to subscriptions, which go on if it is opened again", async (t) => {
  const { client, peer } = await world(t);
  const line = client({ token: "old" });
  const told = calls();
  const early = line.subscribe("a", { onError: told });
  const refuse = async () => {
    const refusing = await peer();
    const { id } = await refusing.command("connect");
    refusing.send({ type: "error", id, code: 120, name: "unauthorized", retry: false });
  };
  await refuse();
  await assert.rejects(early.ready, { name: "unauthorized" });
  assert.equal((await told.next())[0].name, "unauthorized");
  const late = line.subscribe("b", { onError: told });
  await assert.rejects(late.ready, { name: "unauthorized" });
  assert.equal((await told.next())[0].name, "unauthorized");
  line.connect();
  const second = await peer();
  await second.greet();
  assert.deepEqual([(await second.subscribed()).channel, (await second.subscribed()).channel], ["a", "b"]);
  await settled(line, second);
  assert.deepEqual([early.active, late.active, told.all.length], [true, true, 2]);
});

test("whoever hears that the line is closed for good may open it again at once", async (t) => {
  const { line, first, peer } = await connected(t);
  line.subscribe("a", { onError: () => line.connect() });
  await first.subscribed();
  first.close(3501);
  const second = await peer();
  await second.greet();
  await second.subscribed();
});

test("a subscription that waits for its first line is told when one closes it", async (t) => {
  const { client } = await world(t);
  for (const options of [{ connect: false }, {}]) {
    const line = client(options);
    const told = calls();
    const { ready } = line.subscribe("a", { onError: told });
    line.close();
    await assert.rejects(ready, { name: "closed" });
    assert.deepEqual(told.all, []);
  }
});
