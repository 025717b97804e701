import type { Transport } from "./transport.js";

/** After how much of the silence that the server allows the client asks: over a WebSocket a bit before the server would. */
const SOONER = 0.9;
/** Over HTTP the silence ends by itself: the server gives a sign of life, or a poll its answer. */
const LATER = 1.5;

/** How often one has to be heard on each transport, for the line to survive what stands between. */
export class Pulse {
  readonly #least: number;
  /** How long the last line that was cut in silence had been silent, and what was learned from two of them. In milliseconds. */
  readonly #cut = new Map<Transport, number>();
  readonly #learned = new Map<Transport, number>();

  /** `least`: not more often than once in so many milliseconds. */
  constructor(least: number) {
    this.#least = least;
  }

  /** After how many milliseconds of silence to ask, if the server does after so many seconds. */
  every(transport: Transport, ping: number): number {
    const usual = ping ? ping * 1000 * (transport === "websocket" ? SOONER : LATER) : Infinity;
    return Math.min(usual, this.#learned.get(transport) ?? Infinity);
  }

  /** A line was cut after so many milliseconds of silence. If that becomes a habit, there shall be less silence. */
  cut(transport: Transport, silence: number): void {
    // More often than `least` would not be asked anyway.
    if (silence < this.#least) return;
    const before = this.#cut.get(transport) ?? Infinity;
    this.#cut.set(transport, silence);
    if (Math.abs(before - silence) < before / 4) this.#learned.set(transport, Math.max(this.#least, silence / 2));
  }
}
