/** Texts and bytes: the protocol counts in bytes of UTF-8, JavaScript in units of UTF-16. */

const encoder = new TextEncoder();
// `ignoreBOM` keeps a byte order mark, which would otherwise vanish and make the text shorter than the stream.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** How many bytes of UTF-8 a text has. */
export function byteLength(text: string): number {
  return encoder.encode(text).length;
}

/** A text without its first so many bytes of UTF-8. */
export function withoutBytes(text: string, count: number): string {
  return count > 0 ? decoder.decode(encoder.encode(text).subarray(count)) : text;
}

/** A text in which every half of a character stands as U+FFFD, as it would arrive. */
export function wellFormed(text: string): string {
  return decoder.decode(encoder.encode(text));
}

/** Bytes as base64. */
export function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

/** Bytes from base64. */
export function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}
