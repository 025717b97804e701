// One answer on the page: its text, how it stands, and how it came here.

import { locale, onLanguageChange, setText, t } from "./i18n.js";

const QUESTIONS = new Set(["line", "resume", "stream"]);

export class StreamView {
  #answer = element("article", "answer");
  #title = element("h3");
  #state = element("span", "state");
  #stop = element("button", "second stop");
  #text = element("div", "text");
  #figures = element("footer");
  #stream = null;
  #whole = null; // the publication with all the text that came last
  #pieces = 0;
  #catchUps = 0;

  /** Shows it as the first child of `list`. */
  constructor(list) {
    const head = element("header");
    this.#state.setAttribute("role", "status");
    this.#stop.type = "button";
    this.#text.dir = "auto";
    setText(this.#title, "stream.q.unknown");
    setText(this.#stop, "stream.stop");
    this.#stop.addEventListener("click", () => this.#cancel());
    head.append(this.#title, this.#state, this.#stop);
    this.#answer.append(head, this.#text, this.#figures);
    this.#become("writing");
    list.prepend(this.#answer);
    onLanguageChange(() => this.#count());
  }

  /** It is known what it answers. */
  asked({ question, language }) {
    if (QUESTIONS.has(question)) setText(this.#title, `stream.q.${question}`);
    this.#text.lang = language === "zh" ? "zh-CN" : "en";
  }

  /** The stream has grown or ended: `added` is what is new at its end, or undefined if it is another text. */
  show(stream, added) {
    this.#stream = stream;
    if (stream.publication !== this.#whole) {
      this.#whole = stream.publication;
      if (stream.length > 0) this.#catchUps += 1;
    } else if (added) {
      this.#pieces += 1;
    }
    if (added === undefined) this.#text.textContent = stream.text;
    else if (added) this.#text.append(added);
    if (stream.end) this.#become(stream.end);
    this.#count();
  }

  /** The server has lost it; what was read is still here. */
  gone() {
    if (["writing", "stopping"].includes(this.#answer.dataset.state)) this.#become("gone");
  }

  #cancel() {
    if (!this.#stream) return;
    this.#become("stopping");
    const refused = () => this.#answer.dataset.state === "stopping" && this.#become("writing");
    this.#stream.cancel().catch(refused);
  }

  #become(state) {
    this.#answer.dataset.state = state;
    setText(this.#state, `stream.state.${state}`);
    this.#stop.hidden = state !== "writing";
  }

  #count() {
    if (!this.#stream) return;
    const bytes = new Intl.NumberFormat(locale()).format(this.#stream.length);
    const figures = [
      t("stream.pieces", { count: this.#pieces }),
      t("stream.catchUps", { count: this.#catchUps }),
      t("stream.bytes", { bytes }),
    ];
    this.#figures.replaceChildren(...figures.map((words) => element("span", "", words)));
    if (this.#stream.partial) this.#figures.append(element("span", "partial", t("stream.partial")));
    if (this.#stream.reason) this.#figures.append(element("span", "", this.#stream.reason));
  }
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}
