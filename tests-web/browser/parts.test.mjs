// The parts of the pages that need no browser: back-off, the line's decisions, undelivered messages, text, files.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, mock, test } from "node:test";
import { closeOf, explainClose } from "../../crates/longwire/pages/assets/close-codes.js";
import { strings } from "../../crates/longwire/pages/assets/i18n.js";
import { backoff, Line, lineAddress } from "../../crates/longwire/pages/assets/line.js";
import { Roster } from "../../crates/longwire/pages/assets/roster.js";
import { characters, hueOf, tidy, wellFormed, withLinks } from "../../crates/longwire/pages/assets/text.js";
import { TypingSeen, TypingTold } from "../../crates/longwire/pages/assets/typing.js";
import { PAGE_FILES, PAGES } from "./harness.mjs";

class FakeSocket {
  static made = [];
  readyState = 0;
  sent = [];
  closed = false;
  constructor(address) {
    this.address = address;
    FakeSocket.made.push(this);
  }
  send(text) {
    this.sent.push(text);
  }
  close() {
    this.closed = true;
  }
  opens() {
    this.readyState = 1;
    this.onopen();
  }
  ends(code, reason = "") {
    this.readyState = 3;
    this.onclose({ code, reason });
  }
}

let page;
const latest = () => FakeSocket.made.at(-1);

beforeEach(() => {
  FakeSocket.made = [];
  page = new EventTarget();
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  mock.method(Math, "random", () => 0.5);
  globalThis.WebSocket = FakeSocket;
  globalThis.document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  globalThis.addEventListener = page.addEventListener.bind(page);
  globalThis.removeEventListener = page.removeEventListener.bind(page);
});

afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

test("the back-off doubles from 0.5 s to 30 s, with full jitter", () => {
  const ceilings = [0, 1, 2, 3, 4, 5, 6, 7, 1000].map((attempt) => backoff(attempt, () => 1));
  assert.deepEqual(ceilings, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  assert.equal(backoff(6, () => 0), 0);
  assert.equal(backoff(6, () => 0.5), 15_000);
});

test("the line's address follows the page's", () => {
  assert.equal(lineAddress("/ws", { protocol: "http:", host: "a:8000" }), "ws://a:8000/ws");
  assert.equal(lineAddress("/ws", { protocol: "https:", host: "a" }), "wss://a/ws");
});

test("a line that does not open within 10 s is given up and tried again", () => {
  const line = started();
  const first = latest();
  mock.timers.tick(9_999);
  assert.equal(line.state, "connecting");
  mock.timers.tick(1);
  assert.equal(line.state, "lost");
  assert.equal(first.closed, true);
  assert.equal(explainClose(line.lastClose).key, "close.openTimeout");
  mock.timers.tick(250);
  assert.equal(FakeSocket.made.length, 2);
  first.onopen?.();
  assert.equal(line.state, "connecting", "the old socket reaches nobody");
});

test("the pauses grow until a line has lived for 5 s", () => {
  const line = started();
  const pauses = [];
  for (let drop = 0; drop < 4; drop += 1) {
    latest().opens();
    latest().ends(1006);
    pauses.push(line.nextAttemptAt - Date.now());
    mock.timers.tick(pauses.at(-1));
  }
  assert.deepEqual(pauses, [250, 500, 1000, 2000]);
  latest().opens();
  mock.timers.tick(5_000);
  latest().ends(1006);
  assert.equal(line.nextAttemptAt - Date.now(), 250);
});

test("a busy server gets a longer pause, and one that says never is left alone", () => {
  const line = started();
  latest().ends(1013);
  assert.equal(line.nextAttemptAt - Date.now(), 4000);
  mock.timers.tick(4000);
  for (const code of [1008, 3500, 3999]) {
    latest().ends(code);
    assert.equal(line.state, "stopped", String(code));
    mock.timers.tick(600_000);
    line.retryNow();
    assert.equal(line.state, "connecting");
  }
  for (const code of [1000, 1001, 1006, 1009, 1011, 1012, 3000, 3499, 4000]) {
    latest().ends(code);
    assert.equal(line.state, "lost", String(code));
    line.retryNow();
  }
});

test("coming online, or into view, tries at once", () => {
  const line = started();
  latest().ends(1006);
  page.dispatchEvent(new Event("online"));
  assert.equal(line.state, "connecting");
  latest().ends(1006);
  document.visibilityState = "hidden";
  document.dispatchEvent(new Event("visibilitychange"));
  assert.equal(line.state, "lost");
  document.visibilityState = "visible";
  document.dispatchEvent(new Event("visibilitychange"));
  assert.equal(line.state, "connecting");
  line.close();
  page.dispatchEvent(new Event("online"));
  assert.equal(line.state, "stopped", "a closed line stays closed");
  mock.timers.tick(60_000);
  assert.equal(FakeSocket.made.length, 3);
});

test("text is only handed to an open socket", () => {
  const line = started();
  assert.equal(line.send("early"), false);
  latest().opens();
  assert.equal(line.send("now"), true);
  latest().readyState = 2;
  assert.equal(line.send("late"), false);
  assert.deepEqual(latest().sent, ["now"]);
});

test("every close code has words in the table", () => {
  for (let code = 1000; code < 5000; code += 1) assert.ok(explainClose({ code }).key in strings.en, String(code));
  assert.ok(explainClose({ code: 1006, cause: "openTimeout" }).key in strings.en);
  for (const [name, code, key] of [
    ["ping_timeout", 3000, "close.3000"],
    ["connection_lost", 1006, "close.1006"],
    ["timeout", 0, "close.timeout"],
    ["bad_server_message", 0, "close.notUnderstood"],
    ["unauthorized", 120, "close.refused"],
    ["token_failed", 0, "close.other"],
  ]) {
    assert.equal(explainClose(closeOf({ name, code })).key, key, name);
    assert.ok(key in strings.en);
  }
});

test("people are counted once, and told to have left only if they stay away", () => {
  const roster = new Roster(JSON.stringify(["a", "Ada"]));
  const told = [];
  for (const type of ["joined", "left"]) roster.addEventListener(type, ({ detail }) => told.push(`${detail.name} ${type}`));
  const members = (...list) => new Map(list.map(([session, person, name]) => [session, { session, info: { person, name } }]));
  const ada = ["1", "a", "Ada"];
  const bob = ["2", "b", "Bob"];
  roster.replace(members(ada, bob));
  assert.deepEqual(told, [], "who was there has not just come");
  roster.update(members(ada, bob, ["3", "b", "Bob"], ["4", "c", "Cleo"]));
  assert.deepEqual(told.splice(0), ["Cleo joined"]);
  assert.deepEqual([...roster.people.values()].map(({ name, sessions }) => [name, sessions]), [["Ada", 1], ["Bob", 2], ["Cleo", 1]]);
  roster.update(members(ada, ["5", "b", "Bob"]));
  mock.timers.tick(2_499);
  assert.deepEqual(told, []);
  mock.timers.tick(1);
  assert.deepEqual(told.splice(0), ["Cleo left"]);
  roster.update(members(ada)); // a reload
  mock.timers.tick(1_000);
  roster.update(members(ada, ["6", "b", "Bob"]));
  roster.replace(members(["7", "a", "Ada"])); // a restart of the server
  mock.timers.tick(29_000);
  roster.update(members(["7", "a", "Ada"], ["8", "b", "Bob"]));
  mock.timers.tick(60_000);
  assert.deepEqual(told, []);
  roster.update(members(["7", "a", "Ada"]));
  roster.close();
  mock.timers.tick(60_000);
  assert.deepEqual(told, []);
});

test("a member that says nothing, or nonsense, of itself is shown nevertheless", () => {
  const roster = new Roster("");
  roster.replace(new Map([["abcdefgh", { session: "abcdefgh" }], ["x", { session: "x", info: { name: 7, person: {} } }], ["y", { session: "y", info: { name: "n".repeat(99) } }]]));
  assert.deepEqual([...roster.people.values()].map(({ name }) => name), ["abcdef", "x", "n".repeat(64)]);
});

test("that somebody writes is told now and then, and forgotten soon", () => {
  mock.timers.setTime(2_000_000);
  const told = [];
  const mine = new TypingTold((typing) => told.push(typing));
  for (let n = 1; n <= 5; n += 1) {
    mine.changed("x".repeat(n));
    mock.timers.tick(1_000);
  }
  assert.deepEqual(told.splice(0), [true, true, true]);
  mine.changed("");
  mine.changed("");
  assert.deepEqual(told.splice(0), [false]);
  mine.changed("again");
  mine.stopped({ quietly: true });
  assert.deepEqual(told, [true]);

  let names;
  const theirs = new TypingSeen((now) => (names = now));
  theirs.writes("a", "Ada");
  theirs.writes("b", "Bob");
  mock.timers.tick(3_000);
  theirs.writes("a", "Ada");
  mock.timers.tick(2_000);
  assert.deepEqual(names, ["Ada"]);
  mock.timers.tick(3_000);
  assert.deepEqual(names, []);
});

test("text is counted, cleaned and linked as people expect", () => {
  assert.equal(characters("a𝄞茶"), 3);
  assert.equal(wellFormed("a\uD83Db"), "a\uFFFDb");
  assert.equal(wellFormed("🫖"), "🫖");
  assert.equal(tidy("\n\n  if x:\r\n    y\n\n"), "  if x:\n    y");
  assert.equal(tidy(" \n\t "), "");
  assert.deepEqual(withLinks("见https://a.example/b。再见"), [
    { text: "见" },
    { text: "https://a.example/b", href: "https://a.example/b" },
    { text: "。再见" },
  ]);
  assert.deepEqual(withLinks("javascript:alert(1)"), [{ text: "javascript:alert(1)" }]);
  assert.equal(hueOf("Ada", 8), hueOf("Ada", 8));
});

test("the pages have nothing inline and ask nobody else", () => {
  for (const name of PAGE_FILES) {
    const html = readFileSync(join(PAGES, name), "utf8");
    assert.doesNotMatch(html, /<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=/i, name);
    // A person may follow a link elsewhere; a page loads nothing from there.
    assert.doesNotMatch(html.replace(/<a href="https:[^>]*>/g, ""), /(?:src|href)="(?!\/)/, name);
  }
});

function started() {
  const line = new Line("ws://server/ws");
  line.start();
  return line;
}
