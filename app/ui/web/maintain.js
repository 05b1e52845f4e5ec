// The maintainer's tab: five places under one heading, one of them shown. Each draws itself in a file of its own;
// the server checks at every question that a maintainer asks it.

import { h, words } from "./dom.js";
import * as experiments from "./maintain-experiments.js";
import * as models from "./maintain-models.js";
import * as review from "./maintain-review.js";
import * as rounds from "./maintain-rounds.js";
import * as set from "./maintain-set.js";

const PLACES = { review, set, rounds, experiments, models };

let current = "review";
let leave = () => {};

/** Draws the tab; called at every opening. */
export function open(section, page) {
  close();
  const title = h("h1", {}, words.maintain.title);
  const place = h("div", { class: "m-place" });
  const row = h("nav", { class: "m-places", "aria-label": words.maintain.places });
  const show = (name) => {
    leave();
    current = name;
    for (const button of row.children) button.setAttribute("aria-current", String(button.dataset.name === name));
    place.replaceChildren();
    leave = PLACES[name].draw(place, page) ?? (() => {});
  };
  for (const name of Object.keys(PLACES)) {
    row.append(h("button", { type: "button", "data-name": name, onclick: () => show(name) }, words.maintain[`place_${name}`]));
  }
  section.replaceChildren(h("div", { class: "m-page" }, title, row, place));
  show(current);
}

/** Stops what looks at the server again and again. */
export function close() {
  leave();
  leave = () => {};
}
