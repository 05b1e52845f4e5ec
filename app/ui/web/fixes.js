// What became of a flagged answer: fixed in a later round or not, what the model said then and what it says now.
// Told only to the person who flagged it: the server answers for nobody else's flags.

import { h, say, words } from "./dom.js";

/** Where it is shown: hidden until there is something to tell. */
export function fixPlace() {
  return h("section", { class: "fix", hidden: true });
}

export function drawFix(place, fix) {
  place.hidden = !fix;
  const known = fix ? JSON.stringify(fix) : "";
  if (place.dataset.known === known) return;
  place.dataset.known = known;
  place.dataset.status = fix?.status ?? "";
  if (!fix) { place.replaceChildren(); return; }
  const title = say(`fix_${fix.status}`, { round: fix.round });
  place.setAttribute("aria-label", title);
  place.replaceChildren(h("h3", {}, title), h("dl", {}, ...said(words.fix_then, fix.then), ...said(words.fix_now, fix.now)));
}

function said(when, text) {
  return [h("dt", {}, when), h("dd", { dir: "auto" }, text)];
}
