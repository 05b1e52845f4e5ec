// Where each flag is: saved here, waiting to be sent, on the Hub at a commit. Asked after quietly, and only
// while a flag that is still on its way can be seen.

import { h, say, words } from "./dom.js";
import { inOurWords } from "./server.js";

const LOOK_MS = 2000;  // between two looks at the page, and two questions while something has just changed
const LATER_MS = 10000;  // between two questions later on
const SOON_FOR_MS = 60000;

/** Looks for as long as the page is open. `waiting` names the answers to ask after, `fetch` asks. */
export async function lookAfter({ waiting, fetch }) {
  let known = "", changedAt = 0, askedAt = 0;
  for (;;) {
    await new Promise((done) => setTimeout(done, LOOK_MS));
    const answers = document.hidden ? [] : waiting();
    const now = Date.now();
    if (answers.join() !== known) { known = answers.join(); changedAt = now; askedAt = 0; }
    const isDue = now - changedAt < SOON_FOR_MS || now - askedAt >= LATER_MS;
    if (answers.length && isDue) { askedAt = now; await fetch(answers); }
  }
}

/** Where a receipt is shown: hidden until there is one. */
export function receiptPlace() {
  return h("p", { class: "line receipt", role: "status", "aria-label": words.receipt_name, hidden: true });
}

/** What is said right after something was saved. */
export function savedSentence(isKept) {
  return isKept ? words.saved_here : words.saved_received;
}

/** Shows a receipt as its steps, the last one being where the flag is now. Why it waits is for who looks closer. */
export function drawReceipt(place, receipt, isKept) {
  place.hidden = !receipt;
  const steps = receipt ? stepsOf(receipt, isKept) : [];
  const known = JSON.stringify(steps);
  if (place.dataset.steps === known) return;
  place.dataset.steps = known;
  place.replaceChildren(...steps.map(([step, details]) => h("span", details ?? {}, step)));
}

function stepsOf({ state, withdrawn, commit, ...why }, isKept) {
  const first = withdrawn ? words.receipt_withdrawn : isKept ? words.receipt_saved : words.receipt_received;
  if (state === "hub") return [[first], [say(withdrawn ? "receipt_withdrawn_hub" : "receipt_hub", { commit })]];
  if (state === "waiting") return [[first], [words.receipt_waiting, { class: "open", title: inOurWords(why) }]];
  return [[first]];
}
