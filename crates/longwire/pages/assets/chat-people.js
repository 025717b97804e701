// Who is here: a column on a wide page, a sheet on a phone. It is one and the same list, moved between the two.

import { avatar, nameTag } from "./chat-log.js";
import { locale, setText } from "./i18n.js";

const WIDE = matchMedia("(min-width: 52rem)");

export class People {
  #list = document.querySelector("#people");
  #panel = document.querySelector("#panel");
  #side = document.querySelector("#side");
  #dialog = document.querySelector("#people-dialog");

  constructor() {
    document.querySelector("#people-open").addEventListener("click", () => this.#open());
    this.#dialog.addEventListener("close", () => this.#side.append(this.#panel));
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.close(); // outside of the sheet
    });
    WIDE.addEventListener("change", () => this.close());
  }

  /** Shows the people { key, name, sessions, you }: this reader first, then by name. */
  show(people) {
    const collator = new Intl.Collator(locale());
    const sorted = people.toSorted((a, b) => b.you - a.you || collator.compare(a.name, b.name) || (a.key < b.key ? -1 : 1));
    this.#list.replaceChildren(
      ...sorted.map(({ name, sessions, you }) => {
        const row = document.createElement("li");
        row.append(avatar(name), nameTag(name));
        if (you && sessions > 1) row.append(tag("room.youInWindows", { count: sessions }));
        else if (you) row.append(tag("room.you"));
        else if (sessions > 1) row.append(tag("room.windows", { count: sessions }));
        return row;
      }),
    );
    for (const id of ["#side-count", "#people-count"]) document.querySelector(id).textContent = String(people.length);
  }

  /** Marks the list as old while the line is lost: nobody knows who is still here. */
  stale(isStale) {
    this.#list.classList.toggle("stale", isStale);
  }

  close() {
    if (this.#dialog.open) this.#dialog.close();
  }

  #open() {
    this.#dialog.append(this.#panel);
    this.#dialog.showModal();
  }
}

function tag(key, params) {
  const mark = document.createElement("span");
  mark.className = "tag";
  setText(mark, key, params);
  return mark;
}
