// What the browser remembers for the reader. Storage may be full or forbidden; then nothing is remembered,
// and nothing else breaks.

const PREFIX = "longwire.";

/** What was remembered under `key`, on any visit, or null. */
export function recall(key) {
  return read(() => localStorage, key);
}

/** Keeps `value` under `key` for later visits. */
export function remember(key, value) {
  write(() => localStorage, key, value);
}

/** What was remembered under `key` in this tab only, or null. */
export function recallHere(key) {
  return read(() => sessionStorage, key);
}

/** Keeps `value` under `key` for this tab only; null forgets it. */
export function rememberHere(key, value) {
  write(() => sessionStorage, key, value);
}

// The storage comes as a function because merely touching it may throw.
function read(storage, key) {
  try {
    return storage().getItem(PREFIX + key);
  } catch {
    return null;
  }
}

function write(storage, key, value) {
  try {
    if (value === null) storage().removeItem(PREFIX + key);
    else storage().setItem(PREFIX + key, value);
  } catch {
    // Not remembered: the next visit asks again.
  }
}
