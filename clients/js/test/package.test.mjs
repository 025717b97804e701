import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { bundle } from "../scripts/build.mjs";
import * as longwire from "../dist/longwire.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (file) => readFileSync(join(root, file));

test("the client is less than 12.5 kB, compressed", () => {
  assert.ok(gzipSync(read("dist/longwire.min.js"), { level: 9 }).length < 12_500);
});

test("what is in dist is what the sources make", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "longwire-"));
  t.after(() => rmSync(folder, { recursive: true }));
  await bundle(folder);
  for (const file of ["longwire.js", "longwire.min.js"]) {
    assert.ok(readFileSync(join(folder, file)).equals(read(`dist/${file}`)), `${file} is old: npm run build`);
  }
});

test("the minified file has the same exports, and is one file", async () => {
  const small = await import("../dist/longwire.min.js");
  assert.deepEqual(Object.keys(small).sort(), Object.keys(longwire).sort());
  assert.deepEqual(Object.keys(small).sort(), ["Longwire", "LongwireError", "closes", "errors"]);
  assert.doesNotMatch(String(read("dist/longwire.min.js")), /\bimport\b|\brequire\(/);
});

test("the package has what it needs at run time, and nothing else", () => {
  const manifest = JSON.parse(read("package.json"));
  assert.equal(manifest.dependencies, undefined);
  const [{ files }] = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { cwd: root, stdio: ["ignore", "pipe", "ignore"] }));
  const paths = files.map(({ path }) => path);
  for (const wanted of ["dist/longwire.js", "dist/longwire.min.js", "dist/types/index.d.ts", "README.md", "LICENSE-MIT", "package.json"]) {
    assert.ok(paths.includes(wanted), `${wanted} is missing`);
  }
  assert.deepEqual(paths.filter((path) => /^(src|test|scripts)\//.test(path)), []);
});

test("the lock file has no addresses", () => {
  assert.doesNotMatch(String(read("package-lock.json")), /"resolved"/);
});
