// The Compare tab: one question to two models, both answers without names, a vote, then the names.
// The server draws who is A and seals it; nothing here could tell before the vote is saved.

import { current as controls } from "./controls.js";
import * as draw from "./compare-parts.js";
import { Agreement } from "./consent.js";
import { longest, say, setIcon, speak, words } from "./dom.js";
import { savedSentence } from "./receipts.js";
import { inOurWords } from "./server.js";
import * as store from "./store.js";

const SIDES = ["a", "b"];
const AGAIN_MS = 1500;  // a model that is still loading is asked after

let page, place, known, looking, state, timer;

/** Called at every opening: what was asked and answered stays while the page does. */
export async function open(section, opener) {
  page = opener;
  if (!place) place = build();
  if (place.element.parentElement !== section) section.replaceChildren(place.title, place.lead, place.element);
  document.addEventListener("keydown", onKey);
  looking = lookForModels();
  await looking;
  if (!state && matchMedia("(hover: hover)").matches) place.box.focus({ preventScroll: true });
}

export function close() {
  clearTimeout(timer);
  document.removeEventListener("keydown", onKey);
  if (state?.request) halt();
}

// --- what can be compared ---

async function lookForModels() {
  clearTimeout(timer);
  try {
    known = await page.call("contenders", { visitor: page.visitor() });
  } catch (fault) {
    known = { state: "failed", reason: fault.message || words.no_server, models: [], pair: [] };
  }
  if (known.state === "loading") timer = setTimeout(lookForModels, AGAIN_MS);
  draw.models(place, known);
  hint(whyNot());
}

/** Why nothing can be compared; empty where it can. */
function whyNot() {
  if (known.state === "loading") return words.loading_hint;
  if (known.state !== "ready") return inOurWords(known);
  if (known.models.length < 2) return words.compare.only_one;
  return known.flagging.allowed ? "" : inOurWords(known.flagging);
}

// --- the page ---

function build() {
  const made = draw.frame({
    ask: (event) => { event.preventDefault(); if (state?.request) halt(); else ask(); },
    swap: () => lookAtPair(),
    vote,
    next,
  });
  made.box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!state?.request) ask();
  });
  return made;
}

function hint(text) {
  place.hint.textContent = text;
}

/** The same model twice is no comparison. */
function lookAtPair() {
  hint(place.first.value === place.second.value ? words.compare.same_twice : "");
}

function onKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape" && state?.request) { halt(); return; }
  if (!state?.sealed || event.target.closest("textarea, input, select")) return;
  const choice = draw.CHOICES[Number(event.key) - 1];
  if (choice) { event.preventDefault(); vote(choice); }
  if (event.key === "Enter" && state.choice && !event.target.closest("button, a")) { event.preventDefault(); next(); }
}

// --- asking ---

async function ask() {
  await looking; // whoever types fast asks before it is known what can be compared
  if (state?.request) return;
  const question = place.box.value;
  if (whyNot()) { hint(whyNot()); return; }
  if (!question.trim()) { hint(words.empty_hint); return; }
  if (question.length > longest.message) { hint(say("too_long", { length: question.length.toLocaleString(page.lang), longest: longest.message.toLocaleString(page.lang) })); return; }
  if (place.first.value === place.second.value) { lookAtPair(); return; }
  const asked = { request: store.newId(), question, sealed: "", choice: "", saving: Promise.resolve() };
  state = asked;
  draw.begin(place, question);
  place.box.value = "";
  busy(true);
  hint(words.compare.loading);
  place.answers.focus({ preventScroll: true });
  place.asked.scrollIntoView({ block: "nearest" });
  const pair = [place.first.value, place.second.value];
  try {
    const request = { visitor: page.visitor(), pair, question: question.toWellFormed?.() ?? question, controls: controls(), request: asked.request };
    await page.stream("compare", request, (step) => { if (state === asked) take(step); });
    if (state === asked) ready();
  } catch (fault) {
    if (state === asked) fail(fault);
  }
}

function take(step) {
  if (step.place) hint(say("in_line", { place: step.place }));
  if (step.html !== undefined) { hint(""); draw.grow(place, step.side, step.html); }
  if (step.sealed) state.sealed = step.sealed;
}

function ready() {
  state.request = "";
  busy(false);
  hint("");
  draw.offerVote(place);
  place.vote.focus({ preventScroll: true });
  place.vote.scrollIntoView({ block: "end" });
  speak(words.compare.both_ready);
}

function fail(fault) {
  const sentence = fault.cause === 503 ? words.too_many : fault.message || words.no_server;
  place.box.value ||= state.question;
  state = null;
  busy(false);
  draw.clear(place);
  hint(sentence);
  place.box.focus();
}

function halt() {
  page.call("halt", { visitor: page.visitor(), request: state.request }).catch(() => {});
  hint(words.stopping);
}

function busy(isBusy) {
  const button = place.send;
  button.setAttribute("aria-label", isBusy ? words.stop : words.compare.ask);
  button.title = button.getAttribute("aria-label");
  button.classList.toggle("stopping", isBusy);
  setIcon(button, isBusy ? "stop" : "up");
}

/** The next question: Enter leads here after a vote. */
function next() {
  state = null;
  draw.clear(place);
  place.box.value = "";
  hint("");
  place.box.focus();
  place.box.closest(".view").scrollTo({ top: 0 });
}

// --- voting ---

/** Counts at once; the names follow, and what may leave this machine is asked once. */
async function vote(choice) {
  if (!state?.sealed) return;
  const voted = state, isSame = voted.choice === choice;
  const before = voted.choice;
  voted.choice = isSame ? "" : choice;
  draw.voted(place, voted.choice, () => amend(voted));
  const done = await save(voted, { choice: voted.choice, ...(isSame ? {} : agreement(voted).forClick()) });
  if (state !== voted) return;
  if (!done) { voted.choice = before; draw.voted(place, before, () => amend(voted)); return; }
  if (isSame) { draw.unvoted(place); return; }
  place.next.focus({ preventScroll: true });
  const whole = await agreement(voted).settle({ choice }).catch(() => null);
  if (whole && state === voted) await save(voted, whole);
  if (state === voted && document.activeElement === document.body) place.next.focus({ preventScroll: true });
}

/** A reason was chosen or taken away. */
function amend(voted) {
  return save(voted, { choice: voted.choice, ...agreement(voted).forClick() });
}

/** One after the other, so that the last click is what holds; null where it could not be saved. */
function save(voted, choice) {
  const reasons = choice.choice ? draw.reasons(place) : {};
  place.status.className = "status";
  place.status.textContent = words.saving;
  voted.saving = voted.saving.then(async () => {
    try {
      const done = await page.call("choose", { visitor: page.visitor(), sealed: voted.sealed, choice: { ...choice, reasons } });
      if (state === voted) tell(voted, choice, done);
      keep(voted, choice, done);
      return done;
    } catch (fault) {
      if (state === voted) draw.fault(place, say("not_saved", { reason: fault.message || words.no_server }));
      return null;
    }
  });
  return voted.saving;
}

function tell(voted, choice, done) {
  voted.flag = choice.choice ? { scope: choice.consent?.scope ?? voted.flag?.scope ?? "" } : null;
  place.status.className = "status done";
  place.status.textContent = choice.choice ? savedSentence(known.flagging.kept) : words.retracted;
  if (!choice.choice) return;
  draw.tell(place, done);
  place.result.scrollIntoView({ block: "nearest" });
}

/** For My flags, where the server's disk may know them no more one day. */
function keep(voted, choice, done) {
  for (const side of SIDES) {
    const message = done.messages[side];
    if (!choice.choice) store.flags.drop(message);
    else if (side === "a") store.flags.keep(message, { question: voted.question, verdict: choice.choice, ...done.receipts[message] });
  }
}

function agreement(voted) {
  return new Agreement({
    sends: () => known.flagging.sends,
    flag: () => voted.flag,
    hasEarlierTurns: () => false,
    others: () => 0,
    preview: (choice) => page.call("choose", { visitor: page.visitor(), sealed: voted.sealed, choice, look: true }),
    agree: async () => {},
  });
}
