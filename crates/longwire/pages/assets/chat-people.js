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

  /** Shows the members: this reader first, then by name. */
  show(session) {
    const collator = new Intl.Collator(locale());
    const { you, formerIds } = session;
    const rank = ({ id }) => (id === you?.id ? 0 : 1);
    const members = [...session.members.values()].sort(
      (a, b) => rank(a) - rank(b) || collator.compare(a.name, b.name) || (a.id < b.id ? -1 : 1),
    );
    this.#list.replaceChildren(
      ...members.map((member) => {
        const row = document.createElement("li");
        row.append(avatar(member.name), nameTag(member.name));
        if (member.id === you?.id) row.append(tag("room.you"));
        else if (formerIds.has(member.id)) row.append(tag("room.former"));
        return row;
      }),
    );
    for (const id of ["#side-count", "#people-count"]) document.querySelector(id).textContent = String(members.length);
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

function tag(key) {
  const mark = document.createElement("span");
  mark.className = "tag";
  setText(mark, key);
  return mark;
}
