// Who is writing at the moment: told now and then by those who write, and forgotten soon when they stop telling.

/** While somebody writes, the others are told so often. */
const TELL_MS = 2_000;
/** Who has not been heard of for so long has stopped. */
const FORGET_MS = 5_000;

/** Tells the others that this reader writes. `tell(isWriting)` says it to them. */
export class TypingTold {
  #tell;
  #toldAt = -Infinity;

  constructor(tell) {
    this.#tell = tell;
  }

  /** The text has changed. */
  changed(text) {
    if (text === "") this.stopped();
    else if (Date.now() - this.#toldAt >= TELL_MS) {
      this.#toldAt = Date.now();
      this.#tell(true);
    }
  }

  /** What was written was sent, or taken back. `quietly`: the others can see that by themselves. */
  stopped({ quietly = false } = {}) {
    const told = this.#toldAt > -Infinity;
    this.#toldAt = -Infinity;
    if (told && !quietly) this.#tell(false);
  }
}

/** Who writes. `show(names)` is called whenever it changes. */
export class TypingSeen {
  #show;
  #writers = new Map(); // key → { name, timer }

  constructor(show) {
    this.#show = show;
  }

  /** Somebody has told that they write. */
  writes(key, name) {
    clearTimeout(this.#writers.get(key)?.timer);
    this.#writers.set(key, { name, timer: setTimeout(() => this.stops(key), FORGET_MS) });
    this.#changed();
  }

  /** Somebody writes no longer: they said so, or what they wrote, or left. */
  stops(key) {
    clearTimeout(this.#writers.get(key)?.timer);
    if (this.#writers.delete(key)) this.#changed();
  }

  /** Nobody writes, as far as is known. */
  clear() {
    for (const key of [...this.#writers.keys()]) this.stops(key);
  }

  #changed() {
    this.#show([...this.#writers.values()].map(({ name }) => name));
  }
}
