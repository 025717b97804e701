// Copy buttons. The clipboard API exists in secure contexts only (https and localhost), so a page opened over plain
// http from another machine uses the older command.

import { setText } from "./i18n.js";

const SHOW_MS = 1600;

/** Makes `button` copy what `text()` returns, and say so for a moment. `label` is the button's usual text. */
export function copyButton(button, text, label = "copy.do") {
  const face = button.querySelector("[data-i18n]") ?? button;
  let back;
  button.addEventListener("click", async () => {
    const done = await copy(text());
    button.dataset.copied = String(done);
    setText(face, done ? "copy.done" : "copy.failed");
    clearTimeout(back);
    back = setTimeout(() => {
      delete button.dataset.copied;
      setText(face, label);
    }, SHOW_MS);
  });
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

function copyBySelection(text) {
  const focused = document.activeElement;
  const area = document.createElement("textarea");
  area.className = "offscreen";
  area.value = text;
  // Inside an open modal dialog nothing outside can be selected.
  (focused?.closest("dialog") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return done;
}
