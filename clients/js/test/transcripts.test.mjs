// Plays the server's part of every golden transcript: what the client says is what the transcript says, as far as its functions can
// say it, and what the server answers and pushes reaches the user as the transcript has it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fromBase64 } from "./support/bytes.mjs";
import { transcripts } from "./support/transcript.mjs";
import { calls, settled, state, world } from "./support/world.mjs";

/** What no function of the client can bring about: what is not of the protocol, and what the client keeps from happening. */
const NOT_OURS = new Set(["bad_message", "not_connected", "already_connected", "bad_value", "already_subscribed", "not_subscribed"]);
/** What a function says. The rest, and streams, the client says when it sees fit: its own tests have them. */
const OURS = new Set(["subscribe", "unsubscribe", "publish", "history", "presence", "state", "cancel"]);

for (const transport of ["websocket", "stream", "poll"]) {
  for (const { name, shows, steps } of transcripts()) {
    test(`${name} (${transport}): ${shows}`, async (t) => {
      const play = new Play(await world(t), steps, transport);
      for (let at = 0; at < steps.length; at++) await play.step(steps[at], at);
      for (const actor of play.actors.values()) await actor.finish();
      assert.ok(play.compared > 0, "something was compared");
    });
  }
}

class Play {
  actors = new Map();
  compared = 0;

  constructor(world, steps, transport) {
    this.world = world;
    this.steps = steps;
    this.transports = [transport];
  }

  async step({ client, mark, text }, at) {
    if (mark === "!") return this.actors.get(client)?.end(text);
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    if (mark === "<") return this.actors.get(client)?.hear(message);
    const reply = message?.id === undefined ? undefined : this.reply(client, message.id, at);
    if (message?.type === "connect") return this.connect(client, message, reply);
    if (!OURS.has(message?.type) || message.stream === true || NOT_OURS.has(reply?.name)) return;
    const actor = this.actors.get(client);
    if (message.type === "unsubscribe" && !actor?.subscriptions.has(message.channel)) return;
    await actor?.say(message, reply);
  }

  /** What the client is answered to its command with this id. */
  reply(client, id, at) {
    const answer = this.steps.slice(at).find((step) => step.client === client && step.mark === "<" && JSON.parse(step.text).id === id);
    return answer && JSON.parse(answer.text);
  }

  async connect(client, { token, info, session, key, type, id, ...unknown }, reply) {
    if (!reply || NOT_OURS.has(reply.name) || Object.keys(unknown).length) return;
    const line = this.world.client({ transports: this.transports, token, info });
    const peer = await this.world.peer();
    const { session: _, key: __, ...said } = await peer.command("connect");
    assert.deepEqual(said, clean({ type, token, info }));
    this.compared += 1;
    const next = state(line, reply.type === "connected" ? "open" : "closed");
    const { id: ___, ...answer } = reply;
    peer.send(answer);
    const now = await next;
    if (reply.type === "error") {
      assert.deepEqual([now.error.code, now.error.name], [reply.code, reply.name]);
      return;
    }
    assert.deepEqual([now.session, now.resumed, now.user], [reply.session, reply.resumed, reply.user]);
    this.actors.set(client, new Actor(line, peer, this));
  }
}

/** A client of the transcript. */
class Actor {
  subscriptions = new Map();
  told = calls();
  /** Replies are the server's to give when the transcript says so. */
  replies = new Map();
  expected = [];

  constructor(line, peer, play) {
    Object.assign(this, { line, peer, play });
  }

  async say({ id, ...command }, reply) {
    const promise = this.#call(command);
    const { id: own, once, ...said } = await this.peer.command(command.type);
    // Whoever goes on without keys wants all of them.
    const expected = command.state && command.epoch ? { after: "", ...command } : command;
    assert.deepEqual(said.once === undefined && command.once !== undefined ? { ...said, once } : said, expected);
    this.play.compared += 1;
    if (reply) this.replies.set(id, { own, promise });
  }

  #call({ type, channel, ...rest }) {
    if (type === "publish") {
      const { data, bytes, ...options } = rest;
      return this.line.publish(channel, bytes === undefined ? data : fromBase64(bytes), options);
    }
    if (type === "history" || type === "presence" || type === "state") return this.line[type](channel, rest);
    if (type === "cancel") return this.line.cancel(channel, rest.stream);
    if (type === "unsubscribe") return this.subscriptions.get(channel).unsubscribe();
    assert.equal(type, "subscribe");
    const { epoch, offset, after, ...options } = rest;
    const told = (name) => (...values) => this.told(name, channel, ...values);
    const subscription = this.line.subscribe(channel, {
      ...options,
      ...(epoch === undefined ? {} : { since: { epoch, offset } }),
      onPublication: told("publication"),
      onStream: (stream) => this.told("stream", channel, stream.text, stream.length, stream.end, stream.reason),
      onJoin: told("join"),
      onLeave: told("leave"),
      onMissed: ({ reason }) => this.told("missed", channel, reason),
      onRecovered: () => this.told("recovered", channel),
    });
    this.subscriptions.set(channel, subscription);
    return subscription.ready;
  }

  async hear(message) {
    if (message.id === undefined) return this.#push(message);
    const { own, promise } = this.replies.get(message.id) ?? {};
    if (own === undefined) return;
    this.replies.delete(message.id);
    const { id, ...reply } = message;
    this.peer.send({ ...reply, id: own });
    if (reply.type === "error") {
      await assert.rejects(promise, { code: reply.code, name: reply.name, message: reply.message, retry: reply.retry });
      return;
    }
    this.#compare(reply, await promise);
  }

  #compare({ type, ...reply }, result) {
    this.play.compared += 1;
    const { channel } = reply;
    const publications = (list) => list.map((one) => publication(one, channel));
    if (type === "published") assert.deepEqual(result, { repeated: false, ...reply });
    else if (type === "history") assert.deepEqual(result, { ...reply, publications: publications(reply.publications) });
    else if (type === "state") assert.deepEqual(result, { ...reply, entries: publications(reply.entries) });
    else if (type === "presence") assert.deepEqual(result, reply);
    else if (type === "subscribed") {
      const { epoch, offset, head, recovered, reason, members, options } = reply;
      assert.deepEqual(result, clean({ channel, position: { epoch, offset }, head, recovered, reason, options, first: true }));
      if (members) assert.deepEqual([...this.subscriptions.get(channel).members.values()], members);
      if (recovered === false) this.expected.push(["missed", channel, reason]);
      if (recovered) this.expected.push(["recovered", channel]);
    } else assert.equal(result, undefined);
  }

  async #push(message) {
    const { type, channel } = message;
    if (!this.subscriptions.has(channel)) return;
    this.peer.send(message);
    await settled(this.line, this.peer);
    const subscription = this.subscriptions.get(channel);
    this.play.compared += 1;
    if (type === "publication" && message.stream) {
      const { length, end, reason } = message.stream;
      this.expected.push(["stream", channel, message.data ?? "", length, end, reason]);
    } else if (type === "publication") this.expected.push(["publication", channel, publication(message, channel)]);
    else if (type === "append") {
      const [, , text = "", length = 0] = this.expected.findLast(([name, of]) => name === "stream" && of === channel);
      assert.equal(message.at, length);
      const whole = text + (message.data ?? "");
      this.expected.push(["stream", channel, whole, Buffer.byteLength(whole), message.end, message.reason]);
    } else if (type === "join" || type === "leave") this.expected.push([type, channel, message.member]);
    else if (type === "state") assert.deepEqual([...subscription.entries.values()], message.entries.map((one) => publication(one, channel)));
    else assert.fail(`${type} is not played yet`);
    if (message.offset) assert.equal(subscription.position.offset, message.offset);
  }

  async end(how) {
    const code = /^closed (\d+)$/.exec(how)?.[1];
    const next = state(this.line, code >= 3500 ? "closed" : "lost");
    if (code) this.peer.close(Number(code));
    else this.peer.cut();
    const { error } = await next;
    if (code) assert.equal(error.code, Number(code));
    await this.finish();
  }

  /** All that was told is what should have been. */
  finish() {
    assert.deepEqual(this.told.all, this.expected);
    this.line.close();
  }
}

function publication({ type, ...raw }, channel) {
  return clean({ ...raw, channel, bytes: raw.bytes === undefined ? undefined : fromBase64(raw.bytes) });
}

function clean(object) {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}
