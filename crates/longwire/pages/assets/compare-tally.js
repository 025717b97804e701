// What came over one line: how late, and what came twice or not at all.

/** Of how many of the newest messages the usual latency is told. */
const RECENT = 40;
/** Holes are kept one by one, so that what fills them is known; more of them are only counted. */
const HOLES = 1000;

export class Tally {
  received = 0;
  /** Published while the line was away, and here since it is back. */
  late = 0;
  twice = 0;
  /** For how many milliseconds the line was away after the last cut; null while it still is, and before any. */
  away = null;
  #newest = null; // { n, time }
  #holes = new Set();
  #uncounted = 0;
  #latencies = [];
  #cutAt = null;
  #backAt = -Infinity;

  /** What has not come though something newer has. */
  get never() {
    return this.#holes.size + this.#uncounted;
  }

  /** The numbers of that. */
  get holes() {
    return this.#holes;
  }

  /** The median latency of the newest messages, without those that a cut has held up; NaN if there are none. */
  get latency() {
    const sorted = this.#latencies.toSorted((a, b) => a - b);
    const half = sorted.length >> 1;
    return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  }

  /** Whether the line was cut and nothing has come since. */
  get isAway() {
    return this.#cutAt !== null;
  }

  /**
   * Message number `n`, published at `time`, is here `now`; both in milliseconds of the server's clock. Returns what it is: "live",
   * "late" or "twice".
   */
  take(n, time, now) {
    // Lower numbers with later times: the server has begun anew.
    if (this.#newest && n <= this.#newest.n && time > this.#newest.time) this.fresh();
    if (this.#cutAt !== null) {
      this.away = now - this.#cutAt;
      this.#backAt = now;
      this.#cutAt = null;
    }
    if (this.#newest && n <= this.#newest.n && !this.#holes.delete(n)) {
      this.twice += 1;
      return "twice";
    }
    if (!this.#newest || n > this.#newest.n) {
      if (this.#newest) this.#miss(this.#newest.n + 1, n);
      this.#newest = { n, time };
    }
    this.received += 1;
    if (time < this.#backAt) {
      this.late += 1;
      return "late";
    }
    this.#latencies.push(now - time);
    if (this.#latencies.length > RECENT) this.#latencies.shift();
    return "live";
  }

  /** The line is cut `now`. */
  cut(now) {
    this.#cutAt ??= now;
    this.away = null;
  }

  /** What comes next is a beginning: what is before it was not asked for. */
  fresh() {
    this.#newest = null;
    this.#holes.clear();
    this.#cutAt = null;
    this.#backAt = -Infinity;
  }

  #miss(from, to) {
    for (let n = from; n < to; n += 1) {
      if (this.#holes.size < HOLES) this.#holes.add(n);
      else this.#uncounted += 1;
    }
  }
}
