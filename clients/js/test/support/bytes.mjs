/** Bytes from base64, by Node's own hand. */
export function fromBase64(text) {
  return new Uint8Array(Buffer.from(text, "base64"));
}
