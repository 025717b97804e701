// Runs one of the examples: `npm run example -- chat http://localhost:8000 Ann`.
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const [name = "chat", ...args] = process.argv.slice(2);
const root = fileURLToPath(new URL("..", import.meta.url));
const outfile = `${root}/dist/example-${name}.mjs`;
await build({ absWorkingDir: root, entryPoints: [`examples/${name}.ts`], bundle: true, platform: "node", format: "esm", target: "node20", external: ["ws"], outfile });
const { status } = spawnSync(process.execPath, [outfile, ...args], { stdio: "inherit" });
rmSync(outfile);
process.exitCode = status ?? 1;
