import type { Environment } from "./environment.js";
import { byteLength } from "./text.js";
import type { Wire, WireEvents } from "./transport.js";

/** The close code of a line that was cut. */
const CUT = 1006;
/** A request that only sends is given up after so many milliseconds: what it carries would wait without end. */
const POST_MS = 30_000;
/** No poll waits for longer, in seconds: many a proxy cuts what is silent for 30. */
const LONGEST_POLL = 25;

/**
 * A line over HTTP: commands go as POSTs, one after the other; messages come as one answer that does not end (`streaming`), or as
 * answers to polls, one after the other. Whatever fails ends it.
 */
export function overHttp(
  streaming: boolean,
  base: string,
  fetch: typeof globalThis.fetch,
  environment: Environment,
  events: WireEvents,
): Wire {
  const abort = new AbortController();
  /** Commands that wait for the POST before theirs. */
  const queue: string[] = [];
  let line: string | undefined;
  let posting = false;
  /** How many there were: a browser may repeat a request by itself. */
  let [posts, polls] = [0, 0];
  let over = false;
  let limit = Infinity;
  let wait = LONGEST_POLL;
  let stopPost = (): void => {};

  const stop = (): void => {
    over = true;
    stopPost();
    abort.abort();
  };

  const failed = (thrown: unknown): void => {
    if (over) return;
    stop();
    events.ended(CUT, thrown instanceof Error ? thrown.message : String(thrown));
  };

  /** About the line, or a new one. */
  const send = async (init: RequestInit, query?: Record<string, string | number>): Promise<Response> => {
    const url = new URL(base);
    if (line) url.pathname += `/${encodeURIComponent(line)}`;
    for (const name in query) url.searchParams.set(name, String(query[name]));
    return fetch(url.href, { cache: "no-store", ...init });
  };

  /** The answer, if it is a good one. */
  const ask = async (init: RequestInit, query?: Record<string, string | number>): Promise<Response> => {
    const answer = await send({ ...init, signal: abort.signal }, query);
    if (answer.ok) return answer;
    const { error } = (await answer.json().catch(() => ({}))) as { error?: { message?: string } };
    throw new Error(`HTTP ${answer.status}${error?.message ? `: ${error.message}` : ""}`);
  };

  /** The server has said which line it is. */
  const begin = (text: string): void => {
    try {
      line = (JSON.parse(text) as { line: string }).line;
    } catch {
      // Some page of a proxy, say.
    }
    if (typeof line !== "string") throw new Error("not a Longwire server");
  };

  /** As many of the commands that wait as may go together. */
  const take = (): string => {
    let [count, size] = [0, 0];
    do size += byteLength(queue[count++] as string) + 1;
    while (count < queue.length && size + byteLength(queue[count] as string) <= limit);
    return queue.splice(0, count).join("\n");
  };

  const post = async (): Promise<void> => {
    if (posting || over || !queue.length) return;
    posting = true;
    stopPost = environment.after(POST_MS, () => failed("a request was not answered"));
    try {
      const answer = await ask({ method: "POST", body: take() }, line ? { n: posts++ } : undefined);
      if (!line) {
        begin(await answer.text());
        void poll();
      }
    } catch (thrown) {
      return failed(thrown);
    }
    stopPost();
    posting = false;
    void post();
  };

  const poll = async (): Promise<void> => {
    try {
      while (!over) {
        const text = await (await ask({}, { wait, n: polls++ })).text();
        if (!over) events.heard(text || undefined);
      }
    } catch (thrown) {
      failed(thrown);
    }
  };

  const stream = async (): Promise<void> => {
    try {
      const { body } = await ask({}, { stream: "ndjson" });
      if (!body) throw new Error("no streams here");
      const reader = body.getReader();
      const decoder = new TextDecoder();
      let held = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (over) return;
        if (done) throw new Error("the stream ended");
        const text = decoder.decode(value, { stream: true });
        const cut = text.lastIndexOf("\n") + 1;
        const whole = cut ? held + text.slice(0, cut) : "";
        held = cut ? text.slice(cut) : held + text;
        if (whole) streamed(whole);
      }
    } catch (thrown) {
      failed(thrown);
    }
  };

  /** Whole lines of the stream, of which the first of all says which line it is. An empty one is a sign of life. */
  const streamed = (text: string): void => {
    let rest = text;
    if (!line) {
      const end = text.indexOf("\n") + 1;
      begin(text.slice(0, end));
      rest = text.slice(end);
      events.opened();
    }
    events.heard(rest.trim() ? rest : undefined);
  };

  if (streaming) void stream();
  // A poll's line is made by its first commands.
  else queueMicrotask(() => over || events.opened());

  return {
    send: (text) => {
      queue.push(text);
      void post();
    },
    ready: (max, quiet) => {
      limit = max;
      wait = Math.max(1, Math.min(LONGEST_POLL, Math.floor(quiet / 1000)));
    },
    close: (tell) => {
      const known = !over && line;
      stop();
      if (tell && known) void send({ method: "DELETE", keepalive: true }).catch(() => {});
    },
  };
}
