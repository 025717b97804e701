// Lines over HTTP as a server sees them: each is a peer, as those over WebSockets are.
import assert from "node:assert/strict";
import { Mailbox, Talker } from "./talk.mjs";

/** One line over HTTP, seen from the server. `transport` is `stream` or `poll`. */
export class HttpPeer extends Talker {
  /** What was asked of it, in order: `GET`, `POST`, `DELETE`, each with its query. */
  requests = [];
  /** Resolves with the query of each poll when it comes. */
  polls = new Mailbox();
  /** The answers to POSTs wait here while `holding`. */
  held = new Mailbox();
  holding = false;
  #sent = [];
  #get;
  #polls = 0;
  #posts = 0;
  #over;
  #ended;

  constructor(id, transport, url) {
    super();
    Object.assign(this, { id, transport, url });
    this.closed = new Promise((resolve) => (this.#ended = resolve));
  }

  /** Commands have come. */
  async post(request, response, created = false) {
    this.requests.push(`POST${query(request)}`);
    if (!created) assert.equal(number(request), String(this.#posts++), "each POST has its number");
    if (this.#over && !created) return unknown(response);
    let body = "";
    for await (const piece of request.setEncoding("utf8")) body += piece;
    if (body) this.messages.put(body);
    const answer = () => (created ? json(response, 201, { line: this.id }) : response.writeHead(204).end());
    if (this.holding && !created) this.held.put(answer);
    else answer();
  }

  /** Where messages are to go: a stream, or a poll. */
  get(request, response) {
    this.requests.push(`GET${query(request)}`);
    // What was said last waits for a poll.
    if (this.#over && !this.#sent.length) return unknown(response);
    if (this.#get) throw new Error("two answers are wanted at a time");
    this.#get = response;
    response.on("close", () => {
      if (this.#get !== response) return;
      this.#get = undefined;
      this.#ended("aborted");
    });
    if (this.transport === "stream") response.writeHead(200, NDJSON).write(`${JSON.stringify({ type: "line", line: this.id })}\n`);
    else {
      assert.equal(number(request), String(this.#polls++), "each poll has its number");
      this.polls.put(query(request));
    }
    this.#flush();
  }

  delete(request, response) {
    this.requests.push("DELETE");
    response.writeHead(this.#over ? 404 : 204).end();
    this.#over = true;
    this.#ended("deleted");
  }

  raw(text) {
    this.#sent.push(`${text}\n`);
    this.#flush();
  }

  /** Answers the poll without anything. */
  nothing() {
    this.#take().writeHead(204).end();
  }

  /** These bytes on the stream, as they are. */
  bytes(bytes) {
    this.#get.write(bytes);
  }

  /** The server ends it. */
  close(code, reason) {
    this.send({ type: "close", code, reason });
    this.#over = true;
    if (this.transport === "stream") this.#take()?.end();
  }

  /** The answer breaks off in its middle; or the line is not known any more. */
  cut() {
    this.#over = true;
    const response = this.#take();
    if (!response) return;
    if (!response.headersSent) response.writeHead(200, { ...NDJSON, "Content-Length": 1000 });
    response.write('{"type":"publica', () => response.destroy());
  }

  #flush() {
    if (!this.#get || !this.#sent.length) return;
    const text = this.#sent.splice(0).join("");
    if (this.transport === "stream") this.#get.write(text);
    else this.#take().writeHead(200, NDJSON).end(text);
  }

  #take() {
    const response = this.#get;
    this.#get = undefined;
    return response;
  }
}

const NDJSON = { "Content-Type": "application/x-ndjson" };

/** The query without the number of the request. */
function query(request) {
  const { searchParams } = new URL(request.url, "http://x");
  searchParams.delete("n");
  return searchParams.size ? `?${searchParams}` : "";
}

/** The number that a request says it has. */
function number(request) {
  return new URL(request.url, "http://x").searchParams.get("n");
}

function json(response, status, body) {
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
}

function unknown(response) {
  json(response, 404, { error: { code: "unknown_line", message: "no such line" } });
}

/**
 * Answers the requests of lines over HTTP. `how(transport)` says what becomes of a new line: `open`, `refuse`, `page` (a page of some
 * proxy) or `hang`; `peers` gets the lines.
 */
export class HttpLines {
  #peers;
  #how;
  #lines = new Map();

  constructor(peers, how) {
    this.#peers = peers;
    this.#how = how;
  }

  async handle(request, response) {
    const { pathname, searchParams } = new URL(request.url, "http://x");
    const [, id] = /^\/v1\/http\/(.+)$/.exec(pathname) ?? [];
    const peer = this.#lines.get(id);
    if (id) return peer ? peer[request.method.toLowerCase()](request, response) : unknown(response);
    const transport = request.method === "POST" ? "poll" : searchParams.has("stream") ? "stream" : undefined;
    if (pathname !== "/v1/http" || !transport) return json(response, 404, {});
    const become = this.#how(transport);
    if (become === "hang") return;
    if (become === "refuse") return json(response, 503, { error: { code: "overloaded", message: "no place" } });
    if (become === "page") return response.writeHead(200, { "Content-Type": "text/html" }).end("<h1>Please log in</h1>\n");
    const made = new HttpPeer(`line${this.#lines.size + 1}`, transport, request.url);
    this.#lines.set(made.id, made);
    this.#peers.put(made);
    if (transport === "poll") await made.post(request, response, true);
    else made.get(request, response);
  }
}
