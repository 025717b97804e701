// Starts the servers that these tests are about: the examples of the crate `longwire`, or the reference in their place.
//
//   LONGWIRE_EXAMPLES  the folder of the built examples, target/release/examples
//   LONGWIRE_SOCKETIO  "reference" runs the tests against npm's socket.io instead

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const READY_MS = 15_000;
const RETRY_MS = 20;

// A runner that ends this process early must not leave servers behind: leaving by `exit` ends them.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

/** Whether the reference is under test: then what it is known to do worse is told and not asserted. */
export const REFERENCE = process.env.LONGWIRE_SOCKETIO === "reference";

/** The command that serves `kind`, "contract" or "room"; the address and the options follow it. */
export function commandOf(kind) {
  if (REFERENCE) return [process.execPath, fileURLToPath(new URL(`reference/${kind}.mjs`, import.meta.url))];
  const folder = process.env.LONGWIRE_EXAMPLES;
  assert.ok(folder, "set LONGWIRE_EXAMPLES to the folder of the built examples, or LONGWIRE_SOCKETIO=reference");
  return [join(folder, `socketio_${kind}`)];
}

/** A running server on a port of its own. */
export class Server {
  #command;
  #options;
  #child;

  /** Starts `kind` with `options` and waits until it accepts connections. */
  static start(kind, ...options) {
    return Server.run(commandOf(kind), ...options);
  }

  /** Starts any command that takes HOST:PORT as its next argument. */
  static async run(command, ...options) {
    const server = new Server();
    server.#command = command;
    server.#options = options;
    server.host = "127.0.0.1";
    server.port = await freePort();
    await server.#spawn();
    return server;
  }

  get address() {
    return `${this.host}:${this.port}`;
  }

  get http() {
    return `http://${this.address}`;
  }

  get ws() {
    return `ws://${this.address}`;
  }

  get pid() {
    return this.#child.pid;
  }

  /** Ends the process as a crash would; by itself it must not have ended. */
  async kill() {
    const { exitCode, signalCode } = this.#child;
    assert.ok(exitCode === null && signalCode === null, `the server ended by itself: ${exitCode ?? signalCode}`);
    this.#child.kill("SIGKILL");
    await once(this.#child, "exit");
  }

  /** Kills it and starts it again on the same port. */
  async restart() {
    await this.kill();
    await this.#spawn();
  }

  async #spawn() {
    const [program, ...words] = [...this.#command, this.address, ...this.#options];
    const child = spawn(program, words, { stdio: ["ignore", "ignore", "inherit"] });
    this.#child = child;
    const end = () => child.kill("SIGKILL");
    process.once("exit", end);
    child.once("exit", () => process.removeListener("exit", end));
    let failure;
    child.once("error", (error) => (failure = error));
    const deadline = performance.now() + READY_MS;
    while (!(await accepts(this.host, this.port))) {
      if (failure) throw failure;
      assert.equal(child.exitCode, null, `${program} ended at once`);
      assert.ok(performance.now() < deadline, `${program} does not accept connections at ${this.address}`);
      await sleep(RETRY_MS);
    }
  }
}

/** A port that nobody listens on. */
export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

function accepts(host, port) {
  return new Promise((resolve) => {
    const socket = connect(port, host);
    socket.once("connect", () => resolve(true));
    socket.once("error", () => resolve(false));
    socket.on("connect", () => socket.destroy());
  });
}
