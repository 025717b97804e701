// The field where the reader writes.

import { clearText, setText } from "./i18n.js";
import { characters, TEXT_MAX, tidy } from "./text.js";

const SHOW_LEFT_BELOW = 400;

export class Composer {
  #form = document.querySelector("#say");
  #text = document.querySelector("#say-text");
  #note = document.querySelector("#say-note");
  #actions;

  /**
   * `actions`: say(text) takes a message, or returns false when it cannot take any more, which is when `limit` wait;
   * typed(text) is told what is being written.
   */
  constructor(actions) {
    this.#actions = actions;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
      this.focus();
    });
    this.#text.addEventListener("keydown", (event) => this.#key(event));
    this.#text.addEventListener("input", () => {
      this.#changed();
      this.#actions.typed(tidy(this.#text.value));
    });
  }

  focus() {
    this.#text.focus();
  }

  clear() {
    this.#text.value = "";
    this.#changed();
  }

  #key(event) {
    // While an input method composes, Enter picks a word. Safari has already left the composition by then, and
    // marks that Enter with key code 229 only.
    const composing = event.isComposing || event.keyCode === 229;
    if (event.key !== "Enter" || event.shiftKey || composing) return;
    event.preventDefault();
    this.#send();
  }

  #send() {
    const text = tidy(this.#text.value);
    const length = characters(text);
    if (length === 0 || length > TEXT_MAX) return;
    if (this.#actions.say(text)) this.clear();
    else setText(this.#note, "say.full", { count: this.#actions.limit });
  }

  #changed() {
    // Let it shrink first: scrollHeight never reports less than the present height.
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
    const left = TEXT_MAX - characters(tidy(this.#text.value));
    this.#text.setAttribute("aria-invalid", String(left < 0));
    this.#form.querySelector("button").disabled = left < 0;
    this.#form.classList.toggle("over", left < 0);
    if (left < 0) setText(this.#note, "say.over", { count: -left });
    else if (left <= SHOW_LEFT_BELOW) setText(this.#note, "say.left", { count: left });
    else clearText(this.#note);
  }
}
