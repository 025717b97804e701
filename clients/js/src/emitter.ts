import { call } from "./environment.js";

/** Who listens to what. `E` names the events and what each tells. @internal */
export class Emitter<E extends object> {
  readonly #listeners = new Map<keyof E, Set<(value: never) => void>>();

  /** Listens until the returned function is called. */
  on<K extends keyof E>(event: K, listener: (value: E[K]) => void): () => void {
    let listeners = this.#listeners.get(event);
    if (!listeners) this.#listeners.set(event, (listeners = new Set()));
    // The same function may listen twice; each is a listener of its own.
    const own = (value: E[K]): void => listener(value);
    listeners.add(own);
    return () => void listeners.delete(own);
  }

  emit<K extends keyof E>(event: K, value: E[K]): void {
    const listeners = this.#listeners.get(event);
    // One may stop another while all are told.
    for (const listener of [...(listeners ?? [])]) if (listeners?.has(listener)) call(listener as (value: E[K]) => void, value);
  }
}
