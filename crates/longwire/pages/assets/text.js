// Small questions about text that people typed.

/** How many characters a message may have. */
export const TEXT_MAX = 4000;

/** The length as people count it: Unicode characters, not UTF-16 units. */
export function characters(text) {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

/** Whether there is a control character (Unicode category Cc) in `text`. */
export function hasControl(text) {
  return /\p{Cc}/u.test(text);
}

/** `text` with half surrogate pairs replaced, so that it survives the way through UTF-8. */
export function wellFormed(text) {
  return text.replace(/\p{Cs}/gu, "\uFFFD");
}

/** A message as it is sent: no blank lines around it, indentation kept. */
export function tidy(text) {
  return wellFormed(text).replace(/\r\n?/g, "\n").replace(/^(?:[^\S\n]*\n)+/, "").trimEnd();
}

/** The first letter of a name as a reader would see it. */
export function initial(name) {
  const trimmed = name.trim() || "?";
  const first = Intl.Segmenter
    ? new Intl.Segmenter().segment(trimmed)[Symbol.iterator]().next().value.segment
    : [...trimmed][0];
  return first.toLocaleUpperCase();
}

/** One of `count` numbers, always the same for the same name. */
export function hueOf(name, count) {
  let hash = 0x811c9dc5;
  for (const char of name) hash = Math.imul(hash ^ char.codePointAt(0), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return ((hash ^ (hash >>> 13)) >>> 0) % count;
}

/** `text` cut into plain parts and http(s) addresses: [{ text, href? }]. */
export function withLinks(text) {
  const parts = [];
  let done = 0;
  for (const match of text.matchAll(/https?:\/\/[^\s<>"'“”‘’，。；！？、（）《》]+/gi)) {
    const address = match[0].replace(/[.,;:!?)\]}]+$/, "");
    if (!URL.canParse?.(address)) continue;
    if (match.index > done) parts.push({ text: text.slice(done, match.index) });
    parts.push({ text: address, href: address });
    done = match.index + address.length;
  }
  if (done < text.length) parts.push({ text: text.slice(done) });
  return parts;
}

/** An id that nobody else chooses. crypto.randomUUID would need a secure context. */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
