import { asError } from "./errors.js";

/** Who one is: a token, or what gets one whenever a new one is needed. */
export type TokenSource = string | (() => string | Promise<string>);

/** The token that is good at the moment. */
export class Token {
  readonly #source: TokenSource | undefined;
  #value: string | undefined;
  /** When it is no longer good, by the steady clock. */
  #until = Infinity;
  /** How often it was asked for, and which of those it is from. */
  #asked = 0;
  #got = 0;

  constructor(source: TokenSource | undefined) {
    this.#source = source;
    if (typeof source === "string") this.#value = source;
  }

  get value(): string | undefined {
    return this.#value;
  }

  /** Whether a new one can be got. */
  get renewable(): boolean {
    return typeof this.#source === "function";
  }

  /** Sees to it that there is one. Nothing to wait for if there is, or none is wanted. */
  async prepare(now: number): Promise<void> {
    if (this.renewable && (this.#value === undefined || now >= this.#until)) await this.renew();
  }

  /**
   * Asks for a new one.
   *
   * @throws LongwireError `token_failed`
   */
  async renew(): Promise<string> {
    const asked = ++this.#asked;
    try {
      const value = await (this.#source as () => string | Promise<string>)();
      // What was asked for later is newer, even if it came sooner.
      if (asked < this.#got) return this.#value as string;
      this.#got = asked;
      this.#value = value;
      this.#until = Infinity;
      return value;
    } catch (thrown) {
      throw asError("token_failed", thrown);
    }
  }

  /** The server says for how many seconds it is still good. */
  expires(now: number, seconds: number | undefined): void {
    this.#until = seconds === undefined ? Infinity : now + seconds * 1000;
  }

  /** It is not good any more: whether another can be had. */
  reject(): boolean {
    if (this.renewable) this.#value = undefined;
    return this.renewable;
  }
}
