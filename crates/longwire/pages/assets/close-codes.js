// What the end of a line means: the words for it, and whether to come back.
//
// RFC 6455, section 7.4 defines the codes up to 2999. From 3000 to 3499 a Longwire server asks the client to come
// back; from 3500 to 3999 it asks it to stay away until a person decides otherwise.

const EXPLAINED = new Set([1000, 1001, 1006, 1008, 1009, 1011, 1013, 3000, 3001, 3002, 3003]);
const PROTOCOL = new Set([1002, 1003, 1007, 1010]);

/**
 * Explains a close: `{ key, code, retry }`, where `key` names the text and `retry` is
 * "soon", "later" (start with a longer pause) or "never" (only when the reader asks for it).
 * `cause` is set when this side gave up: "openTimeout" or "answerTimeout".
 */
export function explainClose({ code, cause }) {
  return { key: cause ? `close.${cause}` : keyOf(code), code, retry: cause ? "soon" : retryOf(code) };
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
