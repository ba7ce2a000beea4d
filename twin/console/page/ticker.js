// The journal: newest first.

import { clockOf } from "./format.js";

const KEPT_N = 60;

export class Ticker {
  constructor(list, empty) {
    this.list = list;
    this.empty = empty;
  }

  show({ what, entries }) {
    if (what === "all") this.list.replaceChildren();
    for (const entry of entries) this.list.prepend(this.line(entry));
    while (this.list.children.length > KEPT_N) this.list.lastChild.remove();
    this.empty.hidden = this.list.children.length > 0;
  }

  clear() {
    this.show({ what: "all", entries: [] });
  }

  line({ kind, clock, text, by }) {
    const item = document.createElement("li");
    const time = document.createElement("time");
    time.textContent = clockOf(clock);
    const words = document.createElement("span");
    words.textContent = kind === "inject" ? `hidden: ${text}` : text;
    if (kind === "inject") words.className = "hidden-truth";
    const who = document.createElement("span");
    who.className = "by";
    who.textContent = by ? `by ${by}` : "";
    item.append(time, words, who);
    return item;
  }
}
