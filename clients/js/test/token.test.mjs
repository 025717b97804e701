import assert from "node:assert/strict";
import { test } from "node:test";
import { calls, connected, failure, settled, state, world } from "./support/world.mjs";

const EXPIRED = { type: "error", code: 121, name: "token_expired", retry: true, message: "get another" };
const UNAUTHORIZED = { type: "error", code: 120, name: "unauthorized", retry: false, message: "no" };

/** Gives `t1`, `t2` and so on. */
function counter() {
  let count = 0;
  return () => Promise.resolve(`t${++count}`);
}

test("a token that is still good is used again, one that has run out is not", async (t) => {
  const { line, first, connect, peer, clock } = await connected(t, { token: counter() }, { expires: 3600 });
  assert.equal(connect.token, "t1");
  let lost = state(line, "lost");
  first.cut();
  await lost;
  clock.advance(250);
  const second = await peer();
  const open = state(line, "open");
  assert.equal((await second.greet({ expires: 100 })).token, "t1");
  await open;
  lost = state(line, "lost");
  second.cut();
  await lost;
  clock.document.visibilityState = "hidden";
  clock.time += 100_000;
  clock.window.dispatchEvent(new Event("online"));
  assert.equal((await (await peer()).greet()).token, "t2");
});

test("token_expired at connect: another token, at once", async (t) => {
  const { client, peer, clock } = await world(t);
  client({ token: counter() });
  const first = await peer();
  assert.equal((await first.command("connect")).token, "t1");
  first.send(EXPIRED);
  await first.closed;
  clock.advance(0);
  const second = await peer();
  assert.equal((await second.command("connect")).token, "t2");
  second.send(EXPIRED);
  await second.closed;
  assert.equal(clock.waiting, 1);
  clock.advance(499);
  assert.equal(clock.waiting, 1, "the second time it waits");
  clock.advance(1);
  assert.equal((await (await peer()).command("connect")).token, "t3");
});

test("a token that was good makes the next refusal a first one again", async (t) => {
  const { line, first, peer, clock } = await connected(t, { token: counter() });
  let last = first;
  for (const token of ["t2", "t3"]) {
    const lost = state(line, "lost");
    last.cut();
    const { next } = await lost;
    clock.advance(next - clock.time);
    const refused = await peer();
    await refused.command("connect");
    refused.send(EXPIRED);
    await refused.closed;
    clock.advance(0);
    last = await peer();
    const open = state(line, "open");
    assert.equal((await last.greet()).token, token);
    await open;
  }
});

test("unauthorized: one more token, then it is the end", async (t) => {
  const { client, peer, clock } = await world(t);
  const line = client({ token: counter() });
  const waiting = line.publish("a", 1);
  const first = await peer();
  await first.command("connect");
  first.send(UNAUTHORIZED);
  await first.closed;
  clock.advance(0);
  const second = await peer();
  assert.equal((await second.command("connect")).token, "t2");
  const closed = state(line, "closed");
  second.send(UNAUTHORIZED);
  assert.equal((await closed).error.code, 120);
  await assert.rejects(waiting, { code: 120, name: "unauthorized", retry: false });
});

test("a token that is only a text cannot be renewed", async (t) => {
  const { client, peer } = await world(t);
  const line = client({ token: "old" });
  const first = await peer();
  await first.command("connect");
  const closed = state(line, "closed");
  first.send(EXPIRED);
  assert.equal((await closed).error.name, "token_expired");
});

test("another error at connect: back after a while if that may help, else the end", async (t) => {
  const { client, peer, clock } = await world(t);
  const line = client();
  const connecting = line.connect();
  const first = await peer();
  await first.command("connect");
  const lost = state(line, "lost");
  first.send({ type: "error", code: 130, name: "overloaded", retry: true });
  assert.equal((await lost).error.name, "overloaded");
  clock.advance(250);
  const second = await peer();
  await second.command("connect");
  second.send({ type: "error", code: 111, name: "bad_value", retry: false, message: "info" });
  await assert.rejects(connecting, { code: 111, name: "bad_value", message: "info" });
  assert.equal(line.connection.state, "closed");
});

test("a token is refreshed before it expires, again and again", async (t) => {
  const { line, first, clock } = await connected(t, { token: counter() }, { expires: 600, ping: 0 });
  clock.advance(539_999);
  await settled(line, first);
  clock.advance(1);
  const { id, ...refresh } = await first.command("refresh");
  assert.deepEqual(refresh, { type: "refresh", token: "t2" });
  first.send({ type: "refreshed", id, expires: 100 });
  await settled(line, first);
  clock.advance(75_000);
  assert.equal((await first.command("refresh")).token, "t3");
});

test("a callback that fails is told, and asked again", async (t) => {
  const asked = calls();
  const { line, first, clock } = await connected(
    t,
    { token: () => new Promise((resolve, reject) => (asked.all.length ? asked(resolve, reject) : (asked(), resolve("t1")))) },
    { expires: 100, ping: 0 },
  );
  await asked.next();
  clock.advance(75_000);
  const [, reject] = await asked.next();
  const failed = failure(line);
  reject(new Error("no network"));
  const error = await failed;
  assert.deepEqual([error.name, error.message, error.cause.message], ["token_failed", "no network", "no network"]);
  // Between half of the longest wait and all of it: three quarters, as chance is here.
  clock.advance(15_000);
  const [resolve] = await asked.next();
  resolve("t2");
  assert.equal((await first.command("refresh")).token, "t2");
});

test("a callback that fails at connect is attempted again after a while", async (t) => {
  const { client, peer, clock } = await world(t);
  let fail = true;
  const line = client({
    token: () => {
      if (fail) throw new TypeError("broken");
      return "t";
    },
  });
  const { error } = await state(line, "lost");
  assert.equal(error.name, "token_failed");
  fail = false;
  clock.advance(250);
  assert.equal((await (await peer()).greet()).token, "t");
});

test("a command that is refused because the token has expired brings a refresh about", async (t) => {
  const { line, first } = await connected(t, { token: counter() });
  const published = line.publish("a", 1);
  const { id } = await first.command("publish");
  first.send({ ...EXPIRED, id });
  await assert.rejects(published, { name: "token_expired", retry: true, channel: "a" });
  assert.equal((await first.command("refresh")).token, "t2");
});

test("a line that is closed because the token has expired comes back with another", async (t) => {
  const { line, first, peer, clock } = await connected(t, { token: counter() });
  const lost = state(line, "lost");
  first.close(3005);
  assert.equal((await lost).error.name, "token_expired");
  clock.advance(250);
  assert.equal((await (await peer()).greet()).token, "t2");
});
