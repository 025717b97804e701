// Reads the golden transcripts of conformance/protocol; its README describes their form.
import { readdirSync, readFileSync } from "node:fs";

const FOLDER = new URL("../../../../conformance/protocol/", import.meta.url);

/** All of them: their names, what they show, and their steps. */
export function transcripts() {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith(".txt"))
    .map((file) => ({ name: file.replace(".txt", ""), ...parse(readFileSync(new URL(file, FOLDER), "utf8")) }));
}

function parse(text) {
  const bound = new Map();
  const lines = text.split("\n");
  const steps = [];
  for (const line of lines) {
    const [, client, mark, rest] = /^([a-z]*)([><&!]) (.*)$/.exec(line) ?? [];
    if (mark) steps.push({ client, mark: mark === "&" ? ">" : mark, text: bind(rest, bound) });
  }
  return { shows: lines[0].replace(/^# /, ""), steps };
}

/** Puts a value in the place of each placeholder: the same for the same. */
function bind(text, bound) {
  return text.replace(/"<(\w+)(-[\w-]+)?>"/g, (whole, kind) => {
    if (!bound.has(whole)) bound.set(whole, value(kind, bound.size + 1));
    return JSON.stringify(bound.get(whole));
  });
}

function value(kind, count) {
  if (kind === "number" || kind === "time") return 1_000 + count;
  if (kind === "epoch") return count.toString(16).padStart(8, "0");
  return `${kind}${count}`.padEnd(16, "x");
}
