// Compiles what a user of the package would write, with the declarations as they are published.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

for (const [where, lib, types] of [["a page", "dom", []], ["a worker", "webworker", []], ["Node", undefined, ["node"]]]) {
  test(`the published types compile in ${where}, where libraries are checked too`, (t) => {
    const folder = mkdtempSync(join(tmpdir(), "longwire-"));
    t.after(() => rmSync(folder, { recursive: true }));
    mkdirSync(join(folder, "node_modules"));
    symlinkSync(root, join(folder, "node_modules/longwire"));
    copyFileSync(join(root, "test/types/published/use.ts"), join(folder, "use.ts"));
    const compilerOptions = {
      ...{ strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, skipLibCheck: false, noEmit: true },
      ...{ target: "es2022", module: "nodenext", lib: lib ? ["es2022", lib] : ["es2022"] },
      ...{ types, typeRoots: [fileURLToPath(new URL("../../@types", import.meta.resolve("typescript")))] },
    };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["use.ts"] }));
    const compiler = join(fileURLToPath(import.meta.resolve("typescript")), "../tsc.js");
    execFileSync(process.execPath, [compiler, "-p", folder], { stdio: "pipe" });
  });
}
