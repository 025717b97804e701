// Each option of the transport with each client over each way: what a server can be told must not break a client that does not know it.
// Half of the clients compress all that they send, as browsers do, where the server agrees.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:http2";
import { after, before, test } from "node:test";
import { io as io4 } from "socket.io-client";
import io2 from "socket.io-client-2";
import { io as io3 } from "socket.io-client-3";
import { REFERENCE, Server } from "./server.mjs";
import { Line, RS, within } from "./wire.mjs";

const LIMIT = { timeout: 30_000 };
const SOON = 5000;

/** The options of the server, and what a client that offers compression is told. */
const OPTIONS = [
  { name: "plain", options: [], extensions: /^$/ },
  { name: "compression", options: ["--compression"], extensions: /^permessage-deflate$/ },
  { name: "compression with takeover", options: ["--takeover"], extensions: /^permessage-deflate$/ },
].filter(({ options }) => !REFERENCE || options.length === 0);
const CLIENTS = [
  { name: "socket.io-client 4.8", io: io4 },
  { name: "socket.io-client 3.1", io: io3 },
  { name: "socket.io-client 2.5", io: io2, old: true },
];
const WAYS = [["polling"], ["websocket"], ["polling", "websocket"]];
/** From which length on a client compresses: by itself, and as browsers do. */
const THRESHOLDS = [1024, 0];

const servers = new Map();
before(async () => {
  for (const { name, options } of OPTIONS) {
    servers.set(name, await Server.start("contract", ...options));
    servers.set(`${name}, old`, await Server.start("contract", "--eio3", ...options));
  }
});
after(async () => {
  for (const server of servers.values()) await server.kill();
});

const heard = (emitter, event) => within(SOON, new Promise((resolve) => emitter.once(event, (...args) => resolve(args))), event);

/** Short and long, alike and not, text and binary: what is compressed, and what is not worth it. */
const MESSAGES = [
  ["short"],
  ["long and the same ".repeat(500)],
  ["long and the same ".repeat(500)],
  [Array.from({ length: 3000 }, (_, i) => ((i * 7919) % 9973).toString(36)).join("")],
  [Buffer.alloc(50_000, 7), "and a text", { with: Buffer.from("more".repeat(1000)) }],
  ["你好 🦀".repeat(1000)],
];

for (const { name, extensions } of OPTIONS) {
  for (const client of CLIENTS) {
    for (const transports of WAYS) {
      for (const threshold of THRESHOLDS) {
        test(`${name}: ${client.name} over ${transports.join(" and ")}, compressing from ${threshold} bytes on`, LIMIT, async () => {
          const server = servers.get(client.old ? `${name}, old` : name);
          const socket = client.io(server.http, { transports, forceNew: true, perMessageDeflate: { threshold } });
          const losses = [];
          socket.on("disconnect", (reason) => losses.push(reason));
          await heard(socket, "connect");
          const { engine } = socket.io;
          const say = async () => {
            for (const args of MESSAGES) {
              const back = heard(socket, "message-back");
              socket.emit("message", ...args);
              assert.deepEqual(await back, args);
            }
          };
          await say();
          if (engine.transport.name !== transports.at(-1)) await heard(engine, "upgrade");
          if (transports.includes("websocket")) assert.match(engine.transport.ws.extensions, extensions);
          await say();
          const acks = MESSAGES.map((args) => new Promise((resolve) => socket.emit("message-with-ack", ...args, (...answer) => resolve(answer))));
          assert.deepEqual(await within(SOON, Promise.all(acks)), MESSAGES);
          // Through some heartbeats, saying something all the time.
          for (const end = performance.now() + 1200; performance.now() < end; ) {
            const back = heard(socket, "message-back");
            socket.emit("message", "still");
            await back;
            await new Promise((resolve) => setTimeout(resolve, 40));
          }
          assert.deepEqual(losses, []);
          socket.close();
        });
      }
    }
  }

  test(`${name}: a WebSocket by hand, whose messages are all compressed`, LIMIT, async () => {
    const server = servers.get(name);
    const line = await Line.open(`${server.ws}/engine.io/?EIO=4&transport=websocket`, { perMessageDeflate: { threshold: 0 } });
    assert.match(line.socket.extensions, extensions);
    assert.match(await line.next(), /^0/);
    const frames = ["4", `4${"again and ".repeat(1000)}`, `4${"again and ".repeat(1000)}`, Buffer.alloc(100_000, 1), "4end"];
    line.send(...frames);
    for (const frame of frames) {
      let next = await line.next();
      while (next === "2") next = await line.next();
      assert.deepEqual(next, frame);
    }
    await line.close();
  });

  test(`${name}: polling over HTTP/2`, { ...LIMIT, skip: REFERENCE && "the reference speaks HTTP/1.1" }, async () => {
    const session = connect(servers.get(name).http);
    const ask = async (path, body) => {
      const request = session.request({ ":method": body === undefined ? "GET" : "POST", ":path": path, "content-type": "text/plain" });
      request.end(body);
      const [headers] = await once(request, "response");
      let text = "";
      for await (const chunk of request.setEncoding("utf8")) text += chunk;
      assert.equal(headers[":status"], 200, text);
      return text;
    };
    const path = "/socket.io/?EIO=4&transport=polling";
    const { sid } = JSON.parse((await ask(path)).slice(1));
    const target = `${path}&sid=${sid}`;
    const packets = [];
    const next = async () => {
      while (!packets.length) {
        for (const packet of (await ask(target)).split(RS)) {
          if (packet === "2") await ask(target, "3");
          else packets.push(packet);
        }
      }
      return packets.shift();
    };
    await ask(target, "40");
    assert.match(await next(), /^40{"sid":/);
    assert.equal(await next(), '42["auth",{}]');
    for (let round = 0; round < 30; round++) {
      await ask(target, `42["message",${round},"${"x".repeat(round * 1000)}"]`);
      assert.equal(await next(), `42["message-back",${round},"${"x".repeat(round * 1000)}"]`);
    }
    session.close();
  });
}
