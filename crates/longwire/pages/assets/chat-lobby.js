// The form in front of the chat: a name and a room.

import { clearText, setText } from "./i18n.js";
import { recall, remember } from "./store.js";
import { characters, hasControl, wellFormed } from "./text.js";

const LIMITS = { name: 32, room: 64 };
/** A room is a channel of the server, whose name has at most 255 bytes with its namespace. */
const ROOM_BYTES = 255 - "chat:".length;
const REFUSALS = { bad_channel: "lobby.badRoom", unknown_namespace: "lobby.noChat", permission_denied: "lobby.denied" };

export class Lobby {
  #form = document.querySelector("#join");
  #fields = { name: document.querySelector("#name"), room: document.querySelector("#room-name") };

  /** `enter({ name, room })` is called with a valid pair. */
  constructor(enter) {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const choice = this.#choice();
      if (choice) enter(choice);
    });
    for (const [field, input] of Object.entries(this.#fields)) {
      input.addEventListener("input", () => this.#complain(field, null));
    }
  }

  /** Shows the form with what is known, and puts the focus where the reader goes on. */
  open(room) {
    this.#fields.name.value ||= recall("name") ?? "";
    this.#fields.room.value = room ?? (this.#fields.room.value || (recall("room") ?? ""));
    for (const field of Object.keys(this.#fields)) this.#complain(field, null);
    const next = Object.values(this.#fields).find((input) => input.value === "");
    (next ?? this.#form.querySelector("button")).focus();
  }

  /** Says why the server did not let the reader in. */
  refused(code) {
    this.#complain("room", REFUSALS[code] ?? "lobby.refused", { code });
    this.#fields.room.focus();
  }

  #choice() {
    const choice = {};
    let firstBad = null;
    for (const [field, input] of Object.entries(this.#fields)) {
      choice[field] = wellFormed(input.value.trim());
      const problem = problemOf(field, choice[field]);
      this.#complain(field, problem, { max: LIMITS[field] });
      if (problem) firstBad ??= input;
    }
    if (firstBad) {
      firstBad.focus();
      return null;
    }
    remember("name", choice.name);
    remember("room", choice.room);
    return choice;
  }

  #complain(field, key, params) {
    const input = this.#fields[field];
    const error = document.querySelector(`#${input.getAttribute("aria-describedby")}`);
    input.setAttribute("aria-invalid", String(key !== null));
    if (key === null) clearText(error);
    else setText(error, key, params);
  }
}

/** Whether the chat would take this name (or room) without asking the reader again. */
export function isValid(field, value) {
  return problemOf(field, value) === null;
}

function problemOf(field, value) {
  if (value === "") return `lobby.${field}Missing`;
  if (characters(value) > LIMITS[field]) return `lobby.${field}Long`;
  if (field === "room" && new TextEncoder().encode(value).length > ROOM_BYTES) return "lobby.roomBytes";
  return hasControl(value) ? `lobby.${field}Control` : null;
}
