// What the end of a line means: the words for it, and whether to come back.
//
// RFC 6455, section 7.4 defines the codes up to 2999. From 3000 to 3499 a Longwire server asks the client to come
// back; from 3500 to 3999 it asks it to stay away until a person decides otherwise.

const EXPLAINED = new Set([1000, 1001, 1006, 1008, 1009, 1011, 1013, 3000, 3001, 3002, 3003]);
const PROTOCOL = new Set([1002, 1003, 1007, 1010]);
/** What the client of /longwire.js says of itself, rather than of a close code. */
const CAUSES = { timeout: "timeout", bad_server_message: "notUnderstood" };

/**
 * Explains a close: `{ key, code, retry }`, where `key` names the text and `retry` is
 * "soon", "later" (start with a longer pause) or "never" (only when the reader asks for it).
 * `cause` is set when it was not a close of the other side: "openTimeout", "timeout", "notUnderstood" or "refused".
 */
export function explainClose({ code, cause }) {
  return { key: cause ? `close.${cause}` : keyOf(code), code, retry: cause ? "soon" : retryOf(code) };
}

/** An error of the client of /longwire.js as a close: { code, reason, cause }. */
export function closeOf({ name, code }) {
  if (code >= 1000) return { code, reason: "" };
  return { code, reason: "", cause: CAUSES[name] ?? (code > 0 ? "refused" : undefined) };
}

function keyOf(code) {
  if (code === 1012) return "close.1001";
  if (EXPLAINED.has(code)) return `close.${code}`;
  if (PROTOCOL.has(code)) return "close.protocol";
  if (code >= 3000 && code <= 3499) return "close.comeBack";
  if (code >= 3500 && code <= 3999) return "close.stayAway";
  return "close.other";
}

function retryOf(code) {
  if (code === 1008 || (code >= 3500 && code <= 3999)) return "never";
  return code === 1013 ? "later" : "soon";
}
