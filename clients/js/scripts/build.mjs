// Makes dist/longwire.js, to be read and bundled, and dist/longwire.min.js, to be served as it is.
import { build } from "esbuild";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Builds into `folder`. */
export async function bundle(folder) {
  const common = { absWorkingDir: root, entryPoints: ["src/index.ts"], bundle: true, format: "esm", target: "es2022", charset: "utf8", logLevel: "warning" };
  await build({ ...common, outfile: `${folder}/longwire.js` });
  await build({ ...common, outfile: `${folder}/longwire.min.js`, minify: true, legalComments: "none" });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await bundle("dist");
