import { closes, errors } from "./codes.js";

/** The names of what a server can answer, and of how it ends a line. */
export type ServerErrorName = keyof typeof errors | keyof typeof closes;

/**
 * What the client itself says:
 * - `closed`: the line is closed and stays so;
 * - `offline`: there is no line at the moment, and this is not kept for later;
 * - `queue_full`: too much is waiting to be sent or answered;
 * - `timeout`: nothing was heard from the server for too long;
 * - `connection_lost`: the WebSocket ended, or what was there instead;
 * - `no_websocket`: there is no WebSocket here, none was given, and nothing else that may take its place is there;
 * - `bad_address`: the address is not one of a server;
 * - `bad_server_message`: the server said what is not of this protocol;
 * - `token_failed`: the callback for the token failed.
 */
export type ClientErrorName =
  | "closed"
  | "offline"
  | "queue_full"
  | "timeout"
  | "connection_lost"
  | "no_websocket"
  | "bad_address"
  | "bad_server_message"
  | "token_failed";

/** Every rejected promise and every reported failure of this client is one of these. */
export class LongwireError extends Error {
  /** Its number in the protocol's table of errors, a WebSocket close code, or 0 if the client itself says so. */
  readonly code: number;
  /** What it is called: stable, to be compared with. */
  override readonly name: ServerErrorName | ClientErrorName | (string & {});
  /** Whether the same may work later. */
  readonly retry: boolean;
  /** The channel it is about. */
  readonly channel: string | undefined;

  constructor(init: {
    code?: number;
    name: ServerErrorName | ClientErrorName | (string & {});
    message: string;
    retry?: boolean;
    channel?: string | undefined;
    cause?: unknown;
  }) {
    super(init.message, init.cause === undefined ? undefined : { cause: init.cause });
    this.code = init.code ?? 0;
    this.name = init.name;
    this.retry = init.retry ?? false;
    this.channel = init.channel;
  }
}

/** What only this client says. */
export function clientError(name: ClientErrorName, message: string, cause?: unknown): LongwireError {
  return new LongwireError({ name, message, retry: !["closed", "no_websocket", "bad_address"].includes(name), cause });
}

/** One of the protocol's table, said by the client before the server has to, or told by number and name only. */
export function tableError(name: string, channel?: string, message?: string, cause?: unknown, code = 0): LongwireError {
  const known = (errors as Record<string, { number: number; retry: boolean; text: string } | undefined>)[name];
  return new LongwireError({
    code: known?.number ?? code,
    name,
    message: message ?? known?.text ?? name,
    retry: known?.retry ?? false,
    channel,
    cause,
  });
}

/** From this close code on one should not come back by oneself. */
const STAY_AWAY = 3500;

/** How a WebSocket ended. */
export function closeError(code: number, reason: string): LongwireError {
  const known = Object.values(closes).find((close) => close.number === code);
  const text = reason || known?.text;
  return new LongwireError({
    code,
    name: known?.name ?? "connection_lost",
    message: `the connection ended with ${code}${text ? `: ${text}` : ""}`,
    retry: !(code >= STAY_AWAY),
  });
}

/** Whatever was thrown, as one of ours. */
export function asError(name: ClientErrorName, thrown: unknown): LongwireError {
  if (thrown instanceof LongwireError) return thrown;
  return clientError(name, thrown instanceof Error ? thrown.message : String(thrown), thrown);
}
