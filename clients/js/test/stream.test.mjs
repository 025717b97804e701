import assert from "node:assert/strict";
import { test } from "node:test";
import { calls, connected, settled, state } from "./support/world.mjs";

// Reading.

const begun = (offset, data, length, more = {}) => ({
  type: "publication", channel: "a", offset, data, time: 1, ...more, stream: { began: offset, length, ...more.stream },
});
const piece = (offset, at, data, more = {}) => ({ type: "append", channel: "a", offset, stream: 1, at, data, ...more });

/** A client that reads the streams of `a`; what it was told as `[text, added, end]`. */
async function reading(t, reply) {
  const all = await connected(t);
  const told = calls();
  const streams = new Set();
  const subscription = all.line.subscribe("a", {
    onStream(stream, added) {
      streams.add(stream);
      told(stream.text, added, stream.end);
    },
    onPublication: ({ data }) => told("publication", data),
  });
  await all.first.subscribed(reply);
  return { ...all, told, streams, subscription };
}

test("a stream is told as it grows, with all its text and what is new", async (t) => {
  const { line, first, told, streams, subscription } = await reading(t);
  first.send(
    begun(1, "Hel", 3, { event: "answer", from: { session: "s2" } }),
    piece(2, 3, "lo"),
    { type: "publication", channel: "a", offset: 3, data: "x", time: 2 },
    piece(4, 5, undefined, { end: "finished" }),
  );
  await settled(line, first);
  assert.deepEqual(told.all, [["Hel", "Hel", undefined], ["Hello", "lo", undefined], ["publication", "x"], ["Hello", "", "finished"]]);
  const [stream] = streams;
  assert.equal(streams.size, 1);
  assert.deepEqual([stream.id, stream.length, stream.partial, stream.publication.event, stream.publication.from.session], [1, 5, false, "answer", "s2"]);
  assert.equal(subscription.position.offset, 4);
});

test("a stream without text, that fails, says why", async (t) => {
  const { line, first, told, streams } = await reading(t);
  first.send({ ...begun(1, undefined, 0), data: undefined }, piece(2, 0, undefined, { end: "failed", reason: "no model" }));
  await settled(line, first);
  assert.deepEqual(told.all, [["", "", undefined], ["", "", "failed"]]);
  assert.equal([...streams][0].reason, "no model");
});

test("places are counted in bytes: overlaps of any width are left out", async (t) => {
  const { line, first, told } = await reading(t);
  const text = "a\u00e9\u4f60\u{1f980}\ufeffz";
  first.send(begun(1, "a\u00e9\u4f60", 6));
  first.send(piece(2, 3, "\u4f60\u{1f980}"));
  first.send(piece(3, 1, "\u00e9\u4f60"));
  first.send(piece(4, 6, "\u{1f980}\ufeffz"));
  first.send(piece(5, 10, "\ufeffz", { end: "finished" }));
  await settled(line, first);
  assert.deepEqual(told.all.map(([all, added]) => [all, added]), [
    ["a\u00e9\u4f60", "a\u00e9\u4f60"],
    ["a\u00e9\u4f60\u{1f980}", "\u{1f980}"],
    [text, "\ufeffz"],
    [text, ""],
  ]);
});

test("after a lost line the whole takes the place of what was missed", async (t) => {
  const { line, first, told, clock, peer, streams } = await reading(t);
  first.send(begun(1, "one ", 4), piece(2, 4, "two "));
  await settled(line, first);
  const lost = state(line, "lost");
  first.cut();
  await lost;
  clock.advance(250);
  const second = await peer();
  await second.greet();
  const { offset } = await second.subscribed({ offset: 2, head: 5, recovered: true });
  assert.equal(offset, 2);
  second.send({ ...begun(4, "one two three", 13), stream: { began: 1, length: 13 } }, piece(4, 8, "three"), piece(5, 13, "!", { end: "finished" }));
  await settled(line, second);
  assert.deepEqual(told.all.slice(2), [["one two three", "three", undefined], ["one two three!", "!", "finished"]]);
  assert.equal(streams.size, 1, "the same object");
});

test("a whole that is another text than before has no addition, one that is shorter is old", async (t) => {
  const { line, first, told } = await reading(t);
  first.send(begun(1, "abc", 3), { ...begun(3, "xyz!", 4), stream: { began: 1, length: 4 } }, { ...begun(4, "abc", 3), stream: { began: 1, length: 3 } });
  await settled(line, first);
  assert.equal(told.all.length, 2);
  assert.deepEqual(told.all[1], ["xyz!", undefined, undefined]);
});

test("a whole that adds nothing is not told", async (t) => {
  const { line, first, told } = await reading(t);
  const again = (offset) => ({ ...begun(offset, "abcd", 4), stream: { began: 1, length: 4 } });
  first.send(begun(1, "abc", 3), again(2), again(3));
  await settled(line, first);
  assert.equal(told.all.length, 2);
});

/** Answers the question for what came after an offset. */
async function past(peer, offset, publications, { meanwhile = [], more = false } = {}) {
  const { id, after } = await peer.command("history");
  assert.equal(after, offset);
  peer.send(...meanwhile, { type: "history", id, channel: "a", epoch: "e1", head: 9, publications, more });
}

test("a piece of a stream that is not known, or behind a hole, has the whole fetched; pieces that come meanwhile are kept", async (t) => {
  const { line, first, told } = await reading(t, { offset: 4 });
  first.send(piece(5, 4, "two "));
  await past(first, 4, [{ offset: 6, data: "other", time: 1 }], { meanwhile: [piece(7, 8, "three ")], more: true });
  const now = { offset: 7, data: "one two three ", time: 1, stream: { began: 1, length: 14 } };
  await past(first, 6, [now], { meanwhile: [piece(8, 14, "four ")] });
  await settled(line, first);
  assert.deepEqual(told.all.map(([text]) => text), ["one two three ", "one two three four "]);
  first.send({ type: "gap", channel: "a", offset: 9 });
  const ended = { offset: 9, data: "one two three four five", time: 1, stream: { began: 1, length: 23, end: "finished" } };
  await past(first, 8, [{ ...ended, stream: { began: 2, length: 23 } }, ended]);
  await settled(line, first);
  assert.deepEqual(told.all.at(-1), ["one two three four five", "five", "finished"]);
});

test("a stream whose beginning cannot be had is told from where it is, as partial", async (t) => {
  const { line, first, told, streams } = await reading(t, { offset: 4 });
  first.send(piece(5, 4, "two "));
  const { id } = await first.command("history");
  first.send({ type: "error", id, code: 110, name: "not_enabled", retry: false });
  await told.next();
  first.send(piece(6, 8, "three"));
  await settled(line, first);
  assert.deepEqual(told.all, [["two ", "two ", undefined], ["two three", "three", undefined]]);
  const [stream] = streams;
  assert.deepEqual([stream.partial, stream.length, stream.publication], [true, 13, undefined]);
});

test("a stream that is in the history no more is partial", async (t) => {
  const { line, first, told, streams } = await reading(t, { offset: 4 });
  first.send(piece(5, 4, "two "));
  await past(first, 4, [{ offset: 9, data: "another", time: 1 }]);
  await settled(line, first);
  assert.deepEqual(told.all, [["two ", "two ", undefined]]);
  assert.equal([...streams][0].partial, true);
});

test("a channel that has lost its past has lost its streams", async (t) => {
  const { line, first, told, clock, peer, streams } = await reading(t);
  first.send(begun(1, "old", 3));
  await settled(line, first);
  const lost = state(line, "lost");
  first.cut();
  await lost;
  clock.advance(250);
  const second = await peer();
  await second.greet();
  await second.subscribed({ epoch: "e2", offset: 0, head: 0, recovered: false, reason: "epoch" });
  second.send(begun(1, "new", 3));
  await settled(line, second);
  assert.deepEqual(told.all.at(-1), ["new", "new", undefined]);
  assert.deepEqual([...streams].map(({ text, partial }) => [text, partial]), [["old", true], ["new", false]]);
});

test("who does not care for pieces gets the publication, once, when it has ended", async (t) => {
  const { line, first } = await connected(t);
  const told = calls();
  line.subscribe("a", { onPublication: told });
  await first.subscribed();
  first.send(
    begun(1, "Hel", 3, { event: "answer" }),
    piece(2, 3, "lo", { end: "finished" }),
    { ...begun(3, "done", 4), stream: { began: 3, length: 4, end: "failed", reason: "why" } },
  );
  await settled(line, first);
  assert.deepEqual(told.all.map(([publication]) => publication), [
    { channel: "a", offset: 1, data: "Hello", time: 1, event: "answer", stream: { began: 1, length: 5, end: "finished" } },
    { channel: "a", offset: 3, data: "done", time: 1, stream: { began: 3, length: 4, end: "failed", reason: "why" } },
  ]);
});

test("a reader can ask to stop", async (t) => {
  const { first, streams, line } = await reading(t);
  first.send(begun(1, "x", 1));
  await settled(line, first);
  [...streams][0].cancel();
  const { id, ...command } = await first.command("cancel");
  assert.deepEqual(command, { type: "cancel", channel: "a", stream: 1 });
});

// Writing.

/** A client that has begun a stream in `a`. */
async function writing(t, options, greeting) {
  const all = await connected(t, {}, greeting);
  const writer = all.line.stream("a", options);
  const command = await all.first.command("publish");
  all.first.send({ type: "published", id: command.id, channel: "a", epoch: "e1", offset: 7, lease: 6 });
  assert.equal(await writer.began, 7);
  return { ...all, writer, command };
}

/** The next piece that is sent, and an answer to it. */
async function taken(peer, more = {}) {
  const { id, ...append } = await peer.command("append");
  peer.send({ type: "appended", id, channel: "a", stream: 7, length: 0, ...more });
  return append;
}

test("a stream is begun, grows and ends; places are bytes", async (t) => {
  const { writer, first, command, clock } = await writing(t, { event: "answer", tags: { model: "m" }, echo: false, keepAlive: 5 });
  const { id, once, ...publish } = command;
  assert.deepEqual(publish, { type: "publish", channel: "a", event: "answer", tags: { model: "m" }, echo: false, stream: true });
  assert.ok(once);
  writer.append("\u4f60");
  const two = writer.append("\u{1f980}");
  assert.deepEqual(await taken(first), { type: "append", channel: "a", stream: 7, data: "\u4f60\u{1f980}", at: 0 });
  await two;
  writer.append("\ufeff!");
  assert.deepEqual(await taken(first), { type: "append", channel: "a", stream: 7, data: "\ufeff!", at: 7 });
  const end = writer.finish();
  assert.deepEqual(await taken(first), { type: "append", channel: "a", stream: 7, at: 11, end: "finished" });
  await end;
  await assert.rejects(writer.append("more"), { code: 113, name: "stream_ended" });
  await assert.rejects(writer.finish(), { name: "stream_ended" });
  assert.equal(clock.waiting, 1, "only the ping");
});

test("what is written before the stream has begun is kept, in one piece, its end with it", async (t) => {
  const { line, first } = await connected(t);
  const writer = line.stream("a");
  writer.append("one ");
  await Promise.resolve();
  writer.append("two");
  const end = writer.fail("r".repeat(2000));
  const { id } = await first.command("publish");
  first.send({ type: "published", id, channel: "a", epoch: "e1", offset: 7 });
  const { reason, ...append } = await taken(first);
  assert.deepEqual(append, { type: "append", channel: "a", stream: 7, data: "one two", at: 0, end: "failed" });
  assert.ok(Buffer.byteLength(reason) <= 1024);
  await end;
});

test("halves of a character wait for each other, and one that stays alone is replaced", async (t) => {
  const { writer, first, line } = await writing(t);
  const half = writer.append("\ud83e");
  await half;
  await settled(line, first);
  writer.append("\udd80 \ud83e");
  assert.deepEqual(await taken(first), { type: "append", channel: "a", stream: 7, data: "\u{1f980} ", at: 0 });
  writer.append("x");
  assert.deepEqual(await taken(first), { type: "append", channel: "a", stream: 7, data: "\ufffdx", at: 5 });
  writer.append("\ud83e");
  writer.stop();
  assert.deepEqual(await taken(first), { type: "append", channel: "a", stream: 7, data: "\ufffd", at: 9, end: "cancelled" });
});

test("without a line pieces wait; those unanswered are said again, and none is missing", async (t) => {
  const { writer, first, line, clock, peer } = await writing(t);
  writer.append("one ");
  await first.command("append");
  const lost = state(line, "lost");
  first.cut();
  await lost;
  writer.append("two ");
  await Promise.resolve();
  const all = writer.append("three");
  clock.advance(250);
  const second = await peer();
  await second.greet();
  assert.deepEqual([await taken(second), await taken(second)].map(({ at, data }) => [at, data]), [[0, "one "], [4, "two three"]]);
  await all;
});

test("a text that is longer than a message may be is said in several", async (t) => {
  const { writer, first } = await writing(t, {}, { max: 8_192 });
  const text = "\u{1f980}\u0000".repeat(2_000);
  const said = writer.append(text);
  let all = "";
  while (all.length < text.length) {
    const { at, data } = await taken(first);
    assert.equal(at, Buffer.byteLength(all));
    all += data;
  }
  assert.equal(all, text);
  await said;
});

test("a wish to stop comes as an event, once, by push or with an answer", async (t) => {
  const wished = calls();
  const { writer, first } = await writing(t, { onCancel: wished });
  first.send({ type: "cancel", channel: "b", stream: 7 }, { type: "cancel", channel: "a", stream: 8 });
  writer.append("x");
  await taken(first, { cancel: true });
  await wished.next();
  first.send({ type: "cancel", channel: "a", stream: 7 });
  const end = writer.stop();
  assert.equal((await taken(first, { cancel: true })).end, "cancelled");
  await end;
  assert.equal(wished.all.length, 1);
  assert.deepEqual([writer.signal.aborted, writer.signal.reason.name], [true, "cancelled"]);
});

test("a silent producer says that it lives", async (t) => {
  const { writer, first, clock } = await writing(t, { keepAlive: 1_000 });
  clock.advance(1_000);
  assert.deepEqual(await taken(first), { type: "append", channel: "a", stream: 7 });
  clock.advance(600);
  writer.append("x");
  await taken(first);
  clock.advance(600);
  writer.append("y");
  assert.equal((await taken(first)).data, "y");
  clock.advance(1_000);
  assert.deepEqual(await taken(first), { type: "append", channel: "a", stream: 7 });
});

test("a producer that was not told how often speaks thrice within its lease", async (t) => {
  const { writer, first, clock } = await writing(t);
  clock.advance(1_999);
  writer.append("x");
  assert.equal((await taken(first)).data, "x");
  clock.advance(2_000);
  assert.deepEqual(await taken(first), { type: "append", channel: "a", stream: 7 });
});

test("a stream that cannot go on says so to everyone", async (t) => {
  const { writer, first, clock } = await writing(t);
  const one = writer.append("x");
  const { id } = await first.command("append");
  first.send({ type: "error", id, code: 114, name: "not_the_producer", retry: false });
  await assert.rejects(one, { code: 114 });
  assert.equal(writer.signal.reason.name, "not_the_producer");
  await assert.rejects(writer.append("y"), { code: 114 });
  await assert.rejects(writer.finish(), { code: 114 });
  assert.equal(clock.waiting, 1, "only the ping");
});

test("a stream that is not begun: everyone who waits is told", async (t) => {
  const { line, first } = await connected(t);
  const writer = line.stream("a");
  const one = writer.append("x");
  const { id } = await first.command("publish");
  first.send({ type: "error", id, code: 110, name: "not_enabled", retry: false });
  await assert.rejects(one, { name: "not_enabled" });
  await assert.rejects(writer.began, { name: "not_enabled" });
});

test("too much cannot wait", async (t) => {
  const { line } = await connected(t, { queue: { bytes: 1_000 } });
  const writer = line.stream("a");
  writer.append("x".repeat(900));
  await assert.rejects(writer.append("x".repeat(101)), { name: "queue_full" });
});

test("pipe: all that there is, then finished", async (t) => {
  const { writer, first } = await writing(t);
  const piped = writer.pipe(["a", "b", "c"]);
  let [text, end] = ["", undefined];
  while (!end) {
    const append = await taken(first);
    text += append.data ?? "";
    end = append.end;
  }
  await piped;
  assert.deepEqual([text, end], ["abc", "finished"]);
});

test("pipe: a source that fails makes the stream fail, and is told", async (t) => {
  const { writer, first } = await writing(t);
  const piped = writer.pipe(
    (async function* () {
      throw new Error("no model");
    })(),
  );
  const { end, reason } = await taken(first);
  assert.deepEqual([end, reason], ["failed", "no model"]);
  await assert.rejects(piped, { message: "no model" });
});

test("pipe: stops when someone asks, and lets the source go", async (t) => {
  const { writer, first } = await writing(t);
  const released = calls();
  const piped = writer.pipe(
    (async function* () {
      try {
        yield "a";
        await new Promise((resolve) => writer.signal.addEventListener("abort", resolve));
        yield "b";
      } finally {
        released();
      }
    })(),
  );
  await taken(first, { cancel: true });
  assert.equal((await taken(first)).end, "cancelled");
  await piped;
  assert.equal(released.all.length, 1);
});

test("pipe: the source is not asked for more than can be sent", async (t) => {
  const { writer, first, line } = await writing(t);
  let given = 0;
  const piped = writer.pipe(
    (async function* () {
      for (; given < 200; given++) {
        yield "x";
        await null;
      }
    })(),
  );
  await settled(line, { command: async (type) => {
    for (;;) {
      const command = await first.command();
      if (command.type === type) return command;
    }
  }, send: (reply) => first.send(reply) });
  assert.ok(given < 80, `${given} were asked for`);
  line.close();
  await assert.rejects(piped, { name: "closed" });
});
