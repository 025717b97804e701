// What the browser tests share: a server, a browser, and pages that tell on themselves.
//
//   LONGWIRE_URL  a running default server, http://127.0.0.1:PORT; without it each file starts one of its own
//   API_KEY       a key of its API
//   LONGWIRE_BIN  the longwire binary, for servers that a test kills
//   CHROMIUM      the browser; /usr/bin/chromium by default

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const SCREENSHOTS = join(ROOT, ".cache", "screenshots");
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const WAIT_MS = 15_000;
const TEST_MS = 90_000;

/** The folder of the pages that the server embeds. */
export const PAGES = join(ROOT, "crates", "longwire", "pages");

/** Their names there. */
export const PAGE_FILES = ["index.html", "chat.html", "compare.html", "nothing.html", "demo/stream.html"];

/** What opens the API of all servers. */
export const API_KEY = process.env.API_KEY ?? "a-key-for-the-browser-tests";

/** The environment for a server: what is meant for these tests is no option of it. */
const ENVIRONMENT = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("LONGWIRE_")));
ENVIRONMENT.LONGWIRE_API_KEYS = API_KEY;

let browser;
let sharedServer;
let sharedUrl = process.env.LONGWIRE_URL?.replace(/\/$/, "");

/** Starts the browser, and the server that most tests use, for the tests of this file. */
export function setUp() {
  before(async () => {
    browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
    if (!sharedUrl) {
      sharedServer = await startServer();
      sharedUrl = sharedServer.url;
    }
  });
  after(async () => {
    await browser?.close();
    await sharedServer?.kill();
  });
}

/** A test with pages. `body` gets a Desk; what it opened is closed afterwards, and photographed if it failed. */
export function pageTest(name, body) {
  test(name, { timeout: TEST_MS }, async () => {
    const desk = new Desk();
    try {
      await body(desk);
      desk.assertQuiet();
    } catch (error) {
      await desk.photograph(name);
      throw error;
    } finally {
      await desk.close();
    }
  });
}

/** The windows and servers of one test. */
class Desk {
  #contexts = [];
  #pages = [];
  #servers = [];
  #directories = [];
  #complaints = [];
  /** Console errors that the test itself provokes. */
  expectedComplaints = [];

  get url() {
    return sharedUrl;
  }

  /**
   * A server that this test may kill: on a free port unless said, with a directory for its channels if `data` is one, and with
   * what `config` says, if it is the text of a configuration file; `files` is a folder that it serves, `more` are further options.
   */
  async server({ port, data, config, files, more = [] } = {}) {
    const options = [...more, ...(data ? ["--data-dir", data] : []), ...(files ? ["--static", files] : [])];
    if (config) {
      const file = join(this.directory(), "longwire.toml");
      writeFileSync(file, config);
      options.push("--config", file);
    }
    const server = await startServer(port, options);
    this.#servers.push(server);
    return server;
  }

  /** A directory that is gone after the test. */
  directory() {
    const made = mkdtempSync(join(tmpdir(), "longwire-test-"));
    this.#directories.push(made);
    return made;
  }

  /** A window of its own, with its own storage: another person. `options` as for browser.newContext. */
  async window(options = {}) {
    const context = await browser.newContext({ locale: "en-GB", viewport: { width: 1280, height: 800 }, ...options });
    this.#contexts.push(context);
    return this.secondWindow(context);
  }

  /** Another window of the same person. */
  async secondWindow(context) {
    const page = await context.newPage();
    page.setDefaultTimeout(WAIT_MS);
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) this.#complaints.push(message.text());
    });
    page.on("pageerror", (error) => this.#complaints.push(String(error)));
    this.#pages.push(page);
    return page;
  }

  /** Nothing was reported to any console: no blocked resource, no exception, no missing file. */
  assertQuiet() {
    const unexpected = this.#complaints.filter((text) => !this.expectedComplaints.some((known) => known.test(text)));
    assert.deepEqual(unexpected, []);
  }

  async photograph(name) {
    mkdirSync(SCREENSHOTS, { recursive: true });
    for (const [index, page] of this.#pages.entries()) {
      const file = `${name.replace(/[^\p{L}\p{N}]+/gu, "-")}-${index + 1}.png`;
      await page.screenshot({ path: join(SCREENSHOTS, file) }).catch(() => {}); // The page itself may be what broke.
    }
  }

  async close() {
    for (const context of this.#contexts) await context.close();
    for (const server of this.#servers) await server.kill();
    for (const directory of this.#directories) rmSync(directory, { recursive: true, force: true });
  }
}

/** Starts a default server and waits until it answers. */
async function startServer(port, options = []) {
  const program = process.env.LONGWIRE_BIN;
  assert.ok(program, "set LONGWIRE_BIN to the longwire binary");
  port ??= await freePort();
  const url = `http://127.0.0.1:${port}`;
  const child = spawn(program, ["serve", "--listen", `127.0.0.1:${port}`, ...options], {
    stdio: ["ignore", "ignore", "pipe"],
    env: ENVIRONMENT,
  });
  let said = "";
  child.stderr.on("data", (data) => (said = (said + data).slice(-4000)));
  const ended = new Promise((resolve) => child.once("close", resolve));
  await until(async () => {
    assert.equal(child.exitCode, null, `the server ended: ${said}`);
    return (await fetch(`${url}/chat`).catch(() => null))?.ok;
  }, `no answer from ${url}: ${said}`);
  return {
    url,
    port,
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Waits until `condition()` is true; it is asked again every few milliseconds, for a bounded time. */
async function until(condition, complaint) {
  const end = Date.now() + WAIT_MS;
  while (!(await condition())) {
    assert.ok(Date.now() < end, complaint);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function freePort() {
  const probe = createServer();
  await new Promise((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

let rooms = 0;

/** A room that no other test is in. */
export function newRoom() {
  rooms += 1;
  return `room-${process.pid}-${rooms}`;
}

/** Goes through the lobby into `room`. */
export async function enterRoom(page, url, { room, name }) {
  await page.goto(`${url}/chat?room=${encodeURIComponent(room)}`);
  await page.fill("#name", name);
  await page.click("#join button[type=submit]");
  await lineIs(page, "open");
}

/** Waits until the page shows this state of its line. */
export async function lineIs(page, state) {
  await page.waitForSelector(`#line[data-state=${state}]`);
}

/** Says `text` and leaves the field empty. */
export async function say(page, text) {
  await page.fill("#say-text", text);
  await page.press("#say-text", "Enter");
}

/** Waits until the log shows a message with exactly this text. */
export async function sees(page, text) {
  await page.locator("#log .bubble").getByText(text, { exact: true }).first().waitFor();
}

/** How often the log shows a message with exactly this text. */
export async function timesSeen(page, text) {
  const texts = await page.locator("#log .bubble").allTextContents();
  return texts.filter((shown) => shown === text).length;
}

/** Waits until a quiet line of the log reads so. */
export async function seesLine(page, text) {
  await page.locator("#log .quiet-line").getByText(text, { exact: true }).first().waitFor();
}

/** Whether the page is wider than its window. */
export async function scrollsSideways(page) {
  return page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
}
