/** What the client needs of the world around it. A test gives its own to be master of time and chance. */
export interface Environment {
  /** Milliseconds since 1970. */
  now(): number;
  /** From 0 up to, but not, 1. */
  random(): number;
  /** Calls once after so many milliseconds; what it returns stops that. */
  after(ms: number, call: () => void): () => void;
  /** Where `online` is heard: a window or a worker. */
  window?: Pick<EventTarget, "addEventListener" | "removeEventListener"> | undefined;
  /** Where `visibilitychange` is heard: only pages have it. */
  document?: (Pick<EventTarget, "addEventListener" | "removeEventListener"> & { readonly visibilityState: string }) | undefined;
  /** Where pages remember which transport worked. */
  storage?: Pick<Storage, "getItem" | "setItem" | "removeItem"> | undefined;
}

/** Longer times would be taken for none at all by `setTimeout`. */
const LONGEST_MS = 2 ** 31 - 1;

/** The world as it is, but for what `other` has instead. */
export function environment(other: Partial<Environment> = {}): Environment {
  const scope = globalThis as Partial<Pick<Window, "addEventListener" | "removeEventListener" | "document" | "localStorage">>;
  return {
    now: () => Date.now(),
    random: () => Math.random(),
    after: (ms, call) => {
      const timer = setTimeout(call, Math.min(ms, LONGEST_MS));
      return () => clearTimeout(timer);
    },
    // Node has the functions in no version that it need be asked for, workers and pages have both.
    window: "addEventListener" in scope ? (scope as Environment["window"]) : undefined,
    document: scope.document,
    storage: storageOf(scope),
    ...other,
  };
}

/** That of the page. Node is not even asked for its own: it would warn. */
function storageOf(scope: Partial<Pick<Window, "document" | "localStorage">>): Environment["storage"] {
  try {
    return scope.document && scope.localStorage;
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
