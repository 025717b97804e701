// What the types allow and what they do not: compiled by `npm run check`, never run.
import WebSocket from "ws";
import {
  closes,
  errors,
  Longwire,
  LongwireError,
  type ConnectionState,
  type HistoryPage,
  type Position,
  type Publication,
  type Published,
  type StreamWriter,
  type Subscription,
  type TextStream,
  type Transport,
} from "../../src/index.js";

interface Chat {
  text: string;
}

const line = new Longwire("wss://example.org", { WebSocket, token: async () => "t", info: { name: "Ann" }, queue: { commands: 5 } });
new Longwire();
new Longwire(new URL("https://example.org/rt"), { token: "t", connect: false });
new Longwire("/", { WebSocket: globalThis.WebSocket });
new Longwire("/", { transports: ["websocket", "poll"] as const, http: "/v1/http", fetch: globalThis.fetch, openTimeout: 3_000, climb: 0, pingMin: 2_000 });
// @ts-expect-error: there is no such transport
new Longwire("/", { transports: ["pigeon"] });
const carrying: Transport | undefined = line.transport;
void carrying;

const subscription: Subscription<Chat> = line.subscribe<Chat>("chat:lobby", {
  last: 20,
  onPublication: ({ data, from, offset, stream }) => {
    const text: string | undefined = data?.text;
    const user: string | undefined = from?.user;
    const place: number | undefined = offset;
    const end: "finished" | "failed" | "cancelled" | "lost" | undefined = stream?.end;
    void [text, user, place, end];
    // @ts-expect-error: it has no such member
    data?.words;
  },
  onStream(stream: TextStream, added) {
    const more: string | undefined = added;
    void [stream.text.length, more];
  },
  onState(entries, changed) {
    const entry: Publication<Chat> | undefined = entries.get(changed[0] ?? "");
    void entry;
    // @ts-expect-error: it is to be read only
    entries.set("k", entry!);
  },
  onMissed({ reason, since, position }) {
    const known: boolean = reason === "gap" || reason === "expired";
    const places: Position[] = [since, position];
    void [known, places];
  },
  onError: (error) => void (error.retry satisfies boolean),
});

// @ts-expect-error: it is not a number
line.subscribe("a", { last: "20" });
// @ts-expect-error: there is no such handler
line.subscribe("a", { onMessage() {} });
// @ts-expect-error: what a stream says cannot be for the moment only
line.stream("a", { ephemeral: true });
// @ts-expect-error: there is no such event
line.on("open", () => {});
// @ts-expect-error: who makes one is the client
new (line.stream("a").constructor as typeof StreamWriter)();

line.on("state", (now: ConnectionState) => {
  if (now.state === "lost") new Date(now.next).toISOString();
  if (now.state === "open") now.session.toUpperCase();
  if (now.state === "open") now.transport satisfies "websocket" | "stream" | "poll";
  if (now.state === "connecting") console.log(now.transport?.length, now.error?.name);
  // @ts-expect-error: only a lost line has a next attempt
  now.next;
});
const stop: () => void = line.on("error", (error: LongwireError) => console.error(error.code, error.name));
stop();

export async function use(): Promise<void> {
  const published: Published = await line.publish("a", { text: "x" }, { tags: { a: "b" } });
  const page: HistoryPage<Chat> = await subscription.history({ limit: 5 });
  const texts: string[] = page.publications.map(({ data }) => data?.text ?? "");
  const { offset, epoch }: Position = { epoch: "e", offset: published.offset ?? 0 };
  const writer: StreamWriter = line.stream("ai:a", { event: "answer", onCancel: () => {} });
  await writer.pipe(texts);
  await fetch("/model", { signal: writer.signal });
  try {
    await subscription.unsubscribe();
  } catch (error) {
    if (error instanceof LongwireError && error.name === "permission_denied") void [offset, epoch];
  }
  const code: 105 = errors.permission_denied.number;
  const close: 3500 = closes.replaced.number;
  void [code, close];
}
