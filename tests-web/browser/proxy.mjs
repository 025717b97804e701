// Proxies as there are too many of, before a server that is fine.

import { once } from "node:events";
import { createServer, request as ask } from "node:http";
import { connect } from "node:net";

/** What a page needs that opens lines by itself. */
const PAGE = "<!doctype html><meta charset=utf-8><title>Behind a proxy</title><link rel=icon href='data:,'>";

/**
 * A proxy before `target`, http://HOST:PORT. All that it does wrong can be changed while it runs:
 *
 * - `webSockets`: `pass`, `refuse` (400), `strip` (the server never hears of the wish to upgrade), `swallow` (no answer, ever)
 * - `buffers`: answers are passed on when they are complete
 * - `idle`: connections on which nothing moves for so many milliseconds are cut; 0 for never
 *
 * At /bare it has a page of its own.
 */
export class BadProxy {
  webSockets = "pass";
  buffers = false;
  #target;
  #idle = 0;
  #server;
  #sockets = new Set();
  /** What was asked, as "GET /v1/http?stream=ndjson"; wishes to upgrade as "UPGRADE /v1/ws". */
  asked = [];

  constructor(target) {
    this.#target = new URL(target);
  }

  async start() {
    this.#server = createServer((request, response) => this.#pass(request, response));
    // Connections between two requests are the proxy's own affair.
    this.#server.keepAliveTimeout = 0;
    this.#server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => {}).on("close", () => this.#sockets.delete(socket));
      socket.on("timeout", () => socket.destroy());
      this.#watch(socket);
    });
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    this.url = `http://127.0.0.1:${this.#server.address().port}`;
    return this;
  }

  set idle(ms) {
    this.#idle = ms;
    for (const socket of this.#sockets) this.#watch(socket);
  }

  /** Cuts every connection, as when it is restarted. */
  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close() {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** How often something was asked that begins so. */
  times(beginning) {
    return this.asked.filter((what) => what.startsWith(beginning)).length;
  }

  #watch(socket) {
    socket.setTimeout(this.#idle);
  }

  #pass(request, response) {
    this.asked.push(`${request.method} ${request.url}`);
    if (request.url === "/bare") return response.writeHead(200, { "Content-Type": "text/html" }).end(PAGE);
    const { method, url: path, headers } = request;
    const onward = ask({ host: this.#target.hostname, port: this.#target.port, method, path, headers });
    request.pipe(onward);
    response.on("close", () => onward.destroy());
    onward.on("error", () => response.destroy());
    onward.on("response", (answer) => {
      answer.on("error", () => response.destroy());
      const head = () => response.writeHead(answer.statusCode, answer.headers);
      if (!this.buffers) {
        head().flushHeaders();
        return answer.pipe(response);
      }
      const pieces = [];
      answer.on("data", (piece) => pieces.push(piece)).on("end", () => head().end(Buffer.concat(pieces)));
    });
  }

  #upgrade(request, socket, head) {
    this.asked.push(`UPGRADE ${request.url}`);
    if (this.webSockets === "swallow") return;
    if (this.webSockets === "refuse") return socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    const strip = this.webSockets === "strip";
    const members = [];
    for (let at = 0; at < request.rawHeaders.length; at += 2) {
      const [name, value] = request.rawHeaders.slice(at, at + 2);
      if (!strip || !/^(upgrade|connection)$/i.test(name)) members.push(`${name}: ${value}`);
    }
    if (strip) members.push("Connection: close");
    const onward = connect(Number(this.#target.port), this.#target.hostname);
    for (const [one, other] of [[socket, onward], [onward, socket]]) one.on("error", () => {}).on("close", () => other.destroy());
    onward.write(`${request.method} ${request.url} HTTP/1.1\r\n${members.join("\r\n")}\r\n\r\n`);
    if (head.length) onward.write(head);
    onward.pipe(socket).pipe(onward);
  }
}
