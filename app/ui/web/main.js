// The page's story: come in, wait for the model, ask, read, say what was good or wrong.

import * as account from "./account.js";
import { addressed, tellAddress } from "./address.js";
import * as box from "./box.js";
import { ConsentChange } from "./change.js";
import * as controls from "./controls.js";
import { bundled, byId, fillIn, language, longest, notice, say, toast, words } from "./dom.js";
import { drawModel } from "./model.js";
import * as receipts from "./receipts.js";
import * as server from "./server.js";
import * as sidebar from "./sidebar.js";
import * as store from "./store.js";
import { called, isSame } from "./swap.js";
import { Thread } from "./thread.js";
import * as views from "./views.js";

const LOADING_MS = 400;  // how often a loading model is asked after
const QUIET_MS = 8000;  // a ready one, which another may relieve
const LOST_MS = 1500;  // a server that was not reached
const NARROW = "(max-width: 760px)";

let visitor = "";
let model = { state: "loading", reason: "", flagging: { allowed: true, reason: "", sends: false, kept: true } };
let conversation = store.newConversation();
let answering = null;  // { conversation, request }: one answer at a time
let reached = true;
let hasEntered = false, hasComeIn = false;
let isShop = bundled;
let thread, consentChange;

/** Called once by Gradio when the shell stands on the page. */
export async function start(shell) {
  fillIn(shell);
  byId("backtalk").hidden = false;
  shell.addEventListener("click", onClick);
  views.prepare();
  thread = new Thread({
    ask,
    edit: (message, text) => ask(text, message.parent),
    regenerate,
    undo,
    turnTo,
    flag: (message, choice) => askOfFlags("save", message, { choice }),
    isBusy: () => Boolean(answering),
    flagging: () => [model.flagging.allowed, server.inOurWords(model.flagging)],
    sends: () => model.flagging.sends,
    isKept: () => model.flagging.kept,
    preview: askPreview,
    agree: (message, consent, everywhere) => askOfFlags("agree", message, { consent, everywhere }),
    whereFlagsGo: () => consentChange.line(),
    words: () => words[isShop ? "shop" : "anything"],
  });
  consentChange = new ConsentChange({
    sends: () => model.flagging.sends,
    flags: () => thread.flagged(),
    preview: askPreview,
    agree: (...said) => thread.agree(...said),
    attempt,
    changed: async () => { await attempt(fetchDetails); thread.draw(); },
  });
  box.prepare({ ask, stop, isBusy: () => Boolean(answering) });
  controls.drawThemes();
  controls.drawHistory();
  byId("settings").addEventListener("close", () => controls.drawHistory());
  matchMedia(NARROW).addEventListener("change", sidebar.settle);
  window.addEventListener("storage", drawSide);
  window.addEventListener("hashchange", turnToAddress);
  document.addEventListener("keydown", onKey);
  sidebar.settle();
  introduce(isShop);
  show(store.load(addressed()) ?? conversation);
  await enter();
  await comeIn();
  lookAfter();
  receipts.lookAfter({ waiting: () => (reached && visitor ? thread.onTheirWay() : []), fetch: fetchReceipts });
}

// --- the server ---

async function enter() {
  visitor = store.visitor.read() ?? "";
  await attempt(async () => {
    const { visitor: token, ...state } = await server.call("enter", { visitor });
    visitor = token;
    store.visitor.write(token);
    showModel(state);
    await consentChange.settle();
    await fetchDetails();
    hasEntered = true;
  });
  tellTrouble();
}

/** Once the server is reached: who is signed in, and the tab that the address names. */
async function comeIn() {
  if (!visitor) return;
  await attempt(async () => {
    const isSigned = await account.settle();
    if (hasComeIn) views.roleChanged();
    else views.begin({ visitor: () => visitor, role: account.role, lang: language });
    hasComeIn = true;
    if (isSigned) views.go("maintain");
  });
}

/** Asks after the model for as long as the page is open; notices a server that went and came back. */
async function lookAfter() {
  for (;;) {
    const pause = !reached ? LOST_MS : model.state === "loading" ? LOADING_MS : QUIET_MS;
    await new Promise((done) => setTimeout(done, pause));
    if (document.hidden && model.state !== "loading") continue;
    await attempt(async () => {
      if (!visitor) return enter();
      if (!hasComeIn) await comeIn();
      showModel(await server.call("status"));
    });
  }
}

/** Runs something that needs the server; says so when it is not reached, and when it is again. */
async function attempt(work) {
  try {
    await work();
    if (!reached) await comeBack();
  } catch (fault) {
    if (fault instanceof server.Unreachable) lose();
    else notice(fault.message || words.odd_answer);
  }
}

function lose() {
  if (reached) notice(words.no_server);
  reached = false;
  showModel({ ...model });
}

async function comeBack() {
  reached = true;
  notice("");
  toast(words.server_back);
  showModel(model);
  await consentChange.settle();
  await fetchDetails();
}

function showModel(state) {
  const { model: before, fixes: known } = model;
  model = state;
  const { built_with: builtWith, shop } = state.model ?? {};
  drawModel(state, reached);
  introduce(shop ?? isShop, builtWith);
  if (!isSame(before, state.model)) changed(state.model, before);
  else if (hasEntered && known !== state.fixes) attempt(fetchDetails);
  if (state.state === "failed" && reached) notice(`${words.failed_title}. ${server.inOurWords(state)}`);
}

/** Another model answers: a line in the thread says so, and what became of flags is asked for anew. */
function changed(current, before) {
  thread.answersNow(current);
  if (!current || !hasEntered) return;
  if (before && !conversation.leaf) toast(say("now_answering", { model: called(current, before) }));
  attempt(fetchDetails);
}

/** Says what kind of model this is, and what its licence wants said; the bundled one is the desk of a shop. */
function introduce(asShop, builtWith = "") {
  const hasChanged = isShop !== asShop;
  isShop = asShop;
  byId("note").textContent = [words[isShop ? "shop" : "anything"].note, builtWith && `${builtWith}.`].filter(Boolean).join(" ");
  if (hasChanged) thread.draw();
}

/** HTML, quiet lines and flags of the conversation that is shown. */
async function fetchDetails() {
  const shown = conversation;
  const messages = store.path(shown);
  if (!messages.length || !visitor) return;
  try {
    const { shown: details, flags, receipts: known, fixes } = await server.call("open", { visitor, conversation: shown.id, messages });
    if (shown === conversation) thread.tell(details, flags, known, fixes);
  } catch (fault) {
    if (!(fault instanceof server.Refused)) throw fault;
    notice(fault.message || words.foreign);
  }
}

function tellTrouble() {
  if (store.trouble.full) notice(words.storage_full);
  else if (store.trouble.blocked) notice(words.kept_nowhere);
}

// --- conversations ---

function show(next) {
  conversation = next;
  thread.open(conversation);
  nameIt();
  if (answering?.conversation === conversation) thread.begin();
  drawSide();
}

function nameIt() {
  byId("name").textContent = conversation.title || words.title;
  tellAddress(conversation);
}

async function open(id) {
  const running = answering?.conversation.id === id ? answering.conversation : null;
  const next = running ?? store.load(id);
  if (!next) { drawSide(); return; }
  notice("");
  sidebar.closeSide();
  show(next);
  box.focus();
  await attempt(fetchDetails);
}

function startNew() {
  notice("");
  sidebar.closeSide();
  show(store.newConversation());
  box.focus();
}

const removed = (id) => (conversation.id === id ? show(store.newConversation()) : drawSide());

function drawSide() {
  sidebar.drawList(conversation.id, { open, removed });
}

function keep(which) {
  store.keep(which);
  drawSide();
  tellTrouble();
}

/** Back, forward, or an address that was typed. */
function turnToAddress() {
  if (account.isAsked()) { comeIn(); return; }
  if (!views.isChat() || addressed() === (conversation.title && conversation.id)) return;
  if (store.load(addressed())) open(addressed());
  else if (!addressed()) startNew();
}

// --- asking ---

/** Asks after the message `parent`, by default the last one. */
async function ask(text, parent = conversation.leaf) {
  if (!mayAsk()) return false;
  if (!text.trim()) { box.hint(words.empty_hint); return false; }
  if (text.length > longest.message) {
    box.hint(say("too_long", { length: text.length.toLocaleString(language), longest: longest.message.toLocaleString(language) }));
    return false;
  }
  return answer(text.toWellFormed?.() ?? text, parent);
}

async function regenerate() {
  const path = store.path(conversation);
  const question = path.findLast((message) => message.role === "user");
  if (question && mayAsk()) await answer(null, question.id);
}

function mayAsk() {
  if (answering) box.hint(words.busy_hint);
  else if (model.state !== "ready") box.hint(model.state === "failed" ? words.failed_title : words.loading_hint);
  else return true;
  return false;
}

/** Streams one answer; true when the server took the question. */
async function answer(question, parent) {
  const asked = conversation;
  const before = asked.leaf;
  const replaced = store.path(asked);  // asked again, the server wants to see the answer that this one replaces
  asked.leaf = parent;
  const messages = question === null ? replaced : store.path(asked);
  const request = { visitor, conversation: asked.id, messages, question, controls: controls.current(), request: store.newId() };
  answering = { conversation: asked, request: request.request };
  box.hint("");
  notice("");
  box.showBusy(true);
  thread.begin();
  box.focus();
  const isShown = () => conversation === asked;
  let isTaken = question === null;
  let sentence = "", writer = null;
  try {
    for await (const step of server.stream("ask", request)) {
      if (step.by) { writer = step.by; if (isShown()) thread.writtenBy(writer); }
      if (step.question && question !== null) {
        isTaken = true;
        store.add(asked, step.question);
        asked.title ||= step.title;
        keep(asked);
        if (isShown()) { nameIt(); thread.draw(); thread.toLatest(); box.write(""); }
      }
      if (step.place && isShown()) thread.waitInLine(step.place, step.seconds);
      if (step.html !== undefined && isShown()) thread.grow(step.html);
      if (step.answer) {
        store.add(asked, step.answer);
        keep(asked);
        if (isShown()) thread.tell({ [step.answer.id]: { html: step.html, line: step.line } });
      }
    }
  } catch (fault) {
    sentence = said(fault);
    if (question === null || !isTaken) asked.leaf = before;
  }
  answering = null;
  box.showBusy(false);
  if (isShown()) thread.end(sentence);
  if (writer && !isSame(writer, model.model)) attempt(async () => showModel(await server.call("status")));
  if (sentence && !isTaken) box.hint(sentence);
  return isTaken;
}

function said(fault) {
  if (!(fault instanceof server.Unreachable)) return fault.message || words.odd_answer;
  if (fault.cause === 503) return words.too_many;
  lose();
  return words.lost;
}

async function stop() {
  if (!answering || answering.isStopping) return;
  answering.isStopping = true;
  box.hint(words.stopping);
  await attempt(() => server.call("stop", { visitor, request: answering.request }));
  box.hint("");
}

/** Takes the last question back: its text returns to the box. */
function undo() {
  if (answering) return;
  const question = store.path(conversation).findLast((message) => message.role === "user");
  if (!question) return;
  conversation.leaf = question.parent;
  keep(conversation);
  thread.draw();
  box.write(question.text);
  box.focus();
  box.hint(words.undone);
}

function turnTo(message) {
  if (answering) return;
  store.turnTo(conversation, message);
  keep(conversation);
  thread.draw();
  attempt(fetchDetails);
}

// --- flags ---

const askPreview = (message, choice) => askOfFlags("preview", message, { choice });

/** Asks the server something about the flag on an answer; without one, about flags in general. */
async function askOfFlags(name, message, more) {
  const path = store.path(conversation);
  const messages = path.slice(0, path.findIndex((one) => one.id === message?.id) + 1);
  try {
    return await server.call(name, { visitor, conversation: conversation.id, messages, message: message?.id, ...more });
  } catch (fault) {
    if (fault instanceof server.Unreachable) { lose(); throw new Error(words.no_server); }
    throw fault;
  }
}

async function fetchReceipts(answers) {
  const shown = conversation;
  await attempt(async () => {
    const { receipts: known } = await server.call("receipts", { visitor, answers });
    if (shown === conversation) thread.tellReceipts(known);
  });
}

// --- keys and clicks ---

function onKey(event) {
  if (event.key !== "Escape" || !views.isChat() || document.querySelector("dialog[open]")) return;
  if (byId("backtalk").classList.contains("side-open")) sidebar.closeSide();
  else stop();
}

const DEEDS = {
  new: startNew,
  settings: () => controls.openSettings(consentChange),
  "toggle-side": sidebar.toggleSide,
  latest: () => { thread.toLatest(); box.focus(); },
  skip: () => { if (views.isChat()) box.focus(); else document.querySelector(".view:not([hidden])").focus(); },
};

function onClick(event) {
  const doer = event.target.closest("[data-do]");
  if (!doer) return;
  if (doer.matches("a")) event.preventDefault();
  DEEDS[doer.dataset.do]();
}
