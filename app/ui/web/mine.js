// The My flags tab: what this visitor said, where it is, what became of it; changed, taken back, downloaded.

import { drawEntry, drawLost, frame, heading } from "./mine-parts.js";
import { Agreement, summary, tellWhatRemains } from "./consent.js";
import { words } from "./dom.js";
import { Panel } from "./panel.js";
import { drawReceipt } from "./receipts.js";
import { inOurWords } from "./server.js";
import * as store from "./store.js";

let page, place, flagging, entries, count, missing;

/** Called at every opening: the list is asked for anew. */
export async function open(section, opener) {
  page = opener;
  place ??= frame({ download, more: () => fetchPage(entries.length) });
  section.replaceChildren(...heading(), place.element);
  entries = [];
  missing = [];
  await fetchPage(0);
}

export function close() {
  entries = [];
}

// --- the list ---

async function fetchPage(start) {
  say(start ? "" : words.mine.reading);
  try {
    const known = start ? [] : Object.keys(store.flags.read());
    const told = await ask("mine", { start, known });
    if (!start) ({ missing } = told);
    ({ flagging, count } = told);
    entries.push(...told.flags.map((flag) => ({ flag })));
    for (const flag of told.flags) remember(flag);
    say("");
    draw();
  } catch (fault) {
    say(fault.message || words.no_server);
  }
}

function draw() {
  const lost = missing.map((id) => [id, store.flags.read()[id]]).filter(([, known]) => known);
  place.list.replaceChildren(...entries.map((entry) => elementOf(entry)));
  place.lost.replaceChildren(...(lost.length ? drawLost(lost, { withdraw: withdrawLost, mayWithdraw: (known) => pathTo(known).length > 0, lang: page.lang }) : []));
  place.empty.hidden = entries.length > 0 || lost.length > 0;
  place.bar.hidden = entries.length === 0;
  place.more.hidden = entries.length >= count;
}

function elementOf(entry) {
  if (!entry.element) {
    entry.element = drawEntry(entry.flag, {
      lang: page.lang,
      isKept: flagging.kept,
      change: (button) => panelOf(entry, button).toggle(),
      withdraw: () => withdraw(entry),
    });
  }
  return entry.element;
}

function say(text) {
  place.status.textContent = text;
  place.status.hidden = !text;
}

function ask(name, request) {
  return page.call(name, { visitor: page.visitor(), ...request });
}

/** In this browser too, for the day on which the server's disk is a new one. */
function remember({ message, conversation, question, verdict, choice, at, revision, receipt }) {
  store.flags.keep(message, { conversation, question, verdict: choice || verdict, at, revision, ...receipt });
}

// --- changing ---

/** The panel of the chat, on an answer that may not be in this browser any more. */
function panelOf(entry, button) {
  entry.panel ??= new Panel({
    place: entry.element.querySelector(".panel-place"),
    message: { id: entry.flag.message, text: entry.flag.answer },
    flag: () => entry.flag,
    allowed: () => [flagging.allowed, inOurWords(flagging)],
    isKept: () => flagging.kept,
    agreement: new Agreement({
      sends: () => flagging.sends,
      flag: () => entry.flag,
      hasEarlierTurns: () => false,
      others: () => 0,
      preview: (choice) => ask("amend", { flag: entry.flag.flag_id, choice, look: true }),
      agree: async () => {},
    }),
    where: () => [flagging.sends ? summary() : words.stays_here],
    drawReceipt: (where) => drawReceipt(where, entry.flag?.receipt, flagging.kept),
    save: (choice) => (choice.verdict ? amend(entry, choice) : take(entry)),
    changed: () => button.setAttribute("aria-expanded", String(Boolean(entry.panel?.isOpen))),
    leave: () => { redraw(entry); },
    reveal: () => entry.element.querySelector(".panel-place").scrollIntoView({ block: "nearest" }),
  });
  return entry.panel;
}

async function amend(entry, choice) {
  const { flag, ...done } = await ask("amend", { flag: entry.flag.flag_id, choice: { ...choice, seen_revision: entry.flag.revision } });
  Object.assign(entry.flag, flag);
  remember(entry.flag);
  return done;
}

/** What stands on the entry now; the focus goes back to its button. */
function redraw(entry) {
  const before = entry.element;
  if (!entry.flag || !before.isConnected) return;
  Object.assign(entry, { element: null, panel: null });
  before.replaceWith(elementOf(entry));
  entry.element.querySelector("button").focus({ preventScroll: true });
}

// --- taking back ---

async function withdraw(entry) {
  try {
    const { left } = await take(entry);
    if (left) await tellWhatRemains(left);
    else page.toast(words.retracted);
  } catch (fault) {
    say(fault.message || words.no_server);
  }
}

/** The entry goes once the server's disk says so. */
async function take(entry) {
  const done = await ask("withdraw", { flag: entry.flag.flag_id });
  const next = entries[entries.indexOf(entry) + 1] ?? entries[entries.indexOf(entry) - 1];
  entries = entries.filter((one) => one !== entry);
  count -= 1;
  store.flags.drop(entry.flag.message);
  entry.flag = null;
  draw();
  (next?.element.querySelector("button") ?? place.element.closest(".view")).focus({ preventScroll: true });
  return done;
}

/** The conversation up to an answer, as this browser keeps it; empty where it does not. */
function pathTo({ conversation, message }) {
  const messages = store.load(conversation ?? "")?.messages ?? {};
  const steps = [];
  for (let one = messages[message]; one; one = messages[one.parent]) steps.push(one);
  return steps.reverse();
}

async function withdrawLost(known) {
  const { conversation, message, revision } = known;
  try {
    const choice = { verdict: "", seen_revision: revision ?? 0 };
    await ask("save", { conversation, messages: pathTo(known), message, choice });
    store.flags.drop(message);
    missing = missing.filter((id) => id !== message);
    draw();
    if (known.commit) await tellWhatRemains(known.commit);
    else page.toast(words.retracted);
  } catch (fault) {
    say(fault.message || words.no_server);
  }
}

// --- taking along ---

async function download() {
  try {
    const { lines } = await ask("mine_rows", {});
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines], { type: "application/jsonl" }));
    link.download = "backtalk-my-flags.jsonl";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  } catch (fault) {
    say(fault.message || words.no_server);
  }
}
