// How many bytes go over the wire, as far as a page can know. Without TCP, IP and TLS, and without compression.

const encoder = new TextEncoder();
/** What a browser adds to a request to make it a WebSocket's: Upgrade, Connection and the Sec-WebSocket headers. */
export const UPGRADE_BYTES = 150;
/** The server's 101, and the head of an event stream, which no page can read. */
export const SWITCHING_BYTES = 129;
export const STREAM_HEAD_BYTES = 260;
/** HTTP/1.1 puts a length and two line ends around each piece of an answer that does not end. */
const CHUNK_BYTES = 6;

/** Bytes of `text` in UTF-8. */
export function bytesOf(text) {
  return encoder.encode(text).length;
}

/** A WebSocket frame (RFC 6455, section 5.2) around `text`; clients mask theirs. */
export function frameBytes(text, masked = false) {
  const payload = bytesOf(text);
  const length = payload < 126 ? 0 : payload < 65_536 ? 2 : 8;
  return 2 + length + (masked ? 4 : 0) + payload;
}

/** An answer of HTTP/1.1: its status line, its headers as the page sees them, and its body. */
export function answerBytes({ status, statusText, headers }, body) {
  let bytes = `HTTP/1.1 ${status} ${statusText}\r\n\r\n`.length + bytesOf(body);
  for (const [name, value] of headers) bytes += name.length + value.length + ": \r\n".length;
  return bytes;
}

/** An event of an event stream as the server writes it. */
export function eventBytes({ type, data, lastEventId }) {
  const name = type === "message" ? 0 : `event: ${type}\n`.length;
  const id = lastEventId === "" ? 0 : `id: ${lastEventId}\n`.length;
  return name + id + bytesOf(`data: ${data}\n\n`) + CHUNK_BYTES;
}
