// Fails if the minified client is larger than it may be, compressed as a server would.
import { readFileSync } from "node:fs";
import { brotliCompressSync, gzipSync } from "node:zlib";

const MOST = 12_500;
const file = readFileSync(new URL("../dist/longwire.min.js", import.meta.url));
const [gzip, brotli] = [gzipSync(file, { level: 9 }).length, brotliCompressSync(file).length];
console.log(`longwire.min.js: ${file.length} bytes, ${gzip} with gzip, ${brotli} with brotli; ${MOST} allowed`);
if (gzip >= MOST) {
  console.error("too large");
  process.exitCode = 1;
}
