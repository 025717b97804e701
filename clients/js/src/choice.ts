import type { Environment } from "./environment.js";
import type { Transport } from "./transport.js";

/** So long, in milliseconds, what worked is remembered from one page to the next. */
const REMEMBERED_MS = 3_600_000;

/**
 * Which transport comes next.
 *
 * Attempts come in rounds, between which one waits. A round begins with the transport that worked last; a wide one goes on through
 * the others at once. The first is wide; after a line that stood, and after a wide one, one that is not comes first, so that a server
 * that is away for a moment is not taken for a network that lets nothing through.
 */
export class Choice {
  /** All that there are, from the best on. */
  readonly all: readonly Transport[];
  readonly #environment: Environment;
  readonly #key: string;
  /** The one to be attempted, or in use. */
  current: Transport | undefined;
  /** Which worked last. */
  #first: Transport | undefined;
  /** What comes after it in this round. */
  #left: Transport[] = [];
  #wide!: boolean;

  constructor(all: readonly Transport[], url: string, environment: Environment) {
    this.all = all;
    this.#environment = environment;
    this.#key = `longwire:${url}`;
    this.#first = this.#remembered() ?? all[0];
    this.#begin(true);
  }

  /** Those that are better than it. */
  get better(): Transport[] {
    return this.all.slice(0, this.all.indexOf(this.current as Transport));
  }

  /** Whether another is attempted at once if this one fails. */
  get more(): boolean {
    return this.#left.length > 0;
  }

  /** It failed. Whether there is another to be attempted at once. */
  failed(): boolean {
    const { more } = this;
    if (more) this.current = this.#left.shift();
    else this.#begin(!this.#wide);
    return more;
  }

  /** The server has answered over it. */
  worked(): void {
    this.#first = this.current;
    this.#remember();
  }

  /** The line stood for a while, and is lost now, or the failure was not the transport's. */
  dropped(): void {
    this.#begin(false);
  }

  /** A better one took over: if it falls at once, the one before it is there. */
  climbed(transport: Transport): void {
    this.#left = [this.current as Transport];
    this.current = transport;
  }

  #begin(wide: boolean): void {
    this.#wide = wide;
    this.current = this.#first;
    this.#left = wide ? this.all.filter((transport) => transport !== this.#first) : [];
  }

  #remembered(): Transport | undefined {
    try {
      const [transport, until] = (this.#environment.storage?.getItem(this.#key) ?? "").split(" ");
      const left = Number(until) - this.#environment.now();
      // A clock that was set back must not make it last.
      return this.all.find((one) => one === transport && left > 0 && left <= REMEMBERED_MS);
    } catch {
      return undefined;
    }
  }

  /** Nothing has to be remembered of the best. */
  #remember(): void {
    const { storage, now } = this.#environment;
    try {
      if (this.#first === this.all[0]) storage?.removeItem(this.#key);
      else storage?.setItem(this.#key, `${this.#first} ${now() + REMEMBERED_MS}`);
    } catch {
      // A storage that is full or forbidden only costs the next page a moment.
    }
  }
}
