/** What the client needs of the world around it. A test gives its own to be master of time and chance. */
export interface Environment {
  /** Milliseconds since 1970, as the machine's clock has them: it may be set, and jump. */
  now(): number;
  /** Milliseconds since some moment. They only grow, and do so while the machine sleeps. Unless given, made of `now` if that is. */
  steady(): number;
  /** From 0 up to, but not, 1. */
  random(): number;
  /** Calls once after so many milliseconds; what it returns stops that. */
  after(ms: number, call: () => void): () => void;
  /** Where `online` and `offline` are heard: a window or a worker. */
  window?: Listened | undefined;
  /** Where `visibilitychange` is heard: only pages have it. */
  document?: (Listened & { readonly visibilityState: string }) | undefined;
  /** Where pages remember which transport worked. */
  storage?: Stored | undefined;
}

/** As much of an `EventTarget` as the client uses. */
export interface Listened {
  addEventListener(type: string, listener: (event: { type: string }) => void): void;
  removeEventListener(type: string, listener: (event: { type: string }) => void): void;
}

/** As much of a `Storage` as the client uses. */
export interface Stored {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

/** Longer times would be taken for none at all by `setTimeout`. */
const LONGEST_MS = 2 ** 31 - 1;
/** If the machine's clock gains so much on `performance.now()` at a time, the latter stood still: the machine has slept. */
const SLEPT_MS = 1_000;

/** The world as it is, but for what `other` has instead. */
export function environment(other: Partial<Environment> = {}): Environment {
  const scope = globalThis as Partial<Listened & { document: Environment["document"]; localStorage: Stored }>;
  return {
    now: () => Date.now(),
    steady: other.now ? forwards(other.now) : awake(),
    random: () => Math.random(),
    after: (ms, call) => {
      const timer = setTimeout(call, Math.min(ms, LONGEST_MS));
      return () => clearTimeout(timer);
    },
    // Node has the functions in no version that it need be asked for, workers and pages have both.
    window: "addEventListener" in scope ? (scope as Listened) : undefined,
    document: scope.document,
    storage: storageOf(scope),
    ...other,
  };
}

/** `performance.now()`, and what the machine has slept, which many browsers leave out. */
function awake(): () => number {
  let [ahead, slept] = [Date.now() - performance.now(), 0];
  return () => {
    const before = ahead;
    ahead = Date.now() - performance.now();
    // A clock that was set ahead looks the same. Whoever then believes that much time has passed only asks once too often.
    if (ahead - before > SLEPT_MS) slept += ahead - before;
    return performance.now() + slept;
  };
}

/** A clock that may be set, without its steps back. */
function forwards(clock: () => number): () => number {
  let [last, passed] = [clock(), 0];
  return () => {
    const now = clock();
    passed += Math.max(0, now - last);
    last = now;
    return passed;
  };
}

/** That of the page. Node is not even asked for its own: it would warn. */
function storageOf(scope: { document?: unknown; localStorage?: Stored }): Environment["storage"] {
  try {
    return scope.document ? scope.localStorage : undefined;
  } catch {
    // Pages in a sandbox, or of somebody who keeps no such things, may not look at it.
    return undefined;
  }
}

/** How long waits may be before something is attempted again, in milliseconds. */
export interface Backoff {
  /** The longest wait after the first failure; it doubles with every further one. */
  first: number;
  /** The longest of all. */
  max: number;
}

/** How long to wait after so many failures before this one: full jitter, so that many clients do not come back together. */
export function jitter({ random }: Environment, { first, max }: Backoff, failures: number): number {
  return random() * Math.min(max, first * 2 ** failures);
}

/** Calls what a user gave. What it throws is the user's to see, as with any event handler, and must not stop the line. */
export function call<A extends unknown[]>(handler: ((...values: A) => void) | undefined, ...values: A): void {
  try {
    handler?.(...values);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** A promise that nobody need look at: if it is rejected and nobody does, nothing happens. */
export function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}
