// The thread: one article per message, reused as long as its message stays, so that focus, selection and an
// open panel survive whatever happens elsewhere in the conversation.

import { byId, copyText, h, iconButton, say, setIcon, speak, words } from "./dom.js";
import * as store from "./store.js";
import { Agreement } from "./consent.js";
import { Panel } from "./panel.js";
import { drawFix, fixPlace } from "./fixes.js";
import { drawReceipt, receiptPlace } from "./receipts.js";
import { quietLine } from "./line.js";
import { changeLine, changes } from "./swap.js";

const SHOWN_AT_FIRST = 100;  // messages; a click shows more
const NEAR = 80;  // pixels from the end within which the thread follows a growing answer

export class Thread {
  constructor(actions) {
    this.actions = actions;
    this.place = byId("thread");
    this.scroll = byId("scroll");
    this.scroll.addEventListener("scroll", () => this.#offerLatest(), { passive: true });
    this.#forget();
  }

  /** Shows another conversation. */
  open(conversation) {
    this.#forget();
    this.conversation = conversation;
    this.draw();
    this.toLatest();
  }

  /** What the server knows of the answers, by id: HTML and quiet lines, flags, how far they have come, and what
   * became of them. */
  tell(shown, flags, known = {}, fixes = null) {
    Object.assign(this.shown, shown);
    Object.assign(this.receipts, known);
    if (flags) this.flags = flags;
    if (fixes) this.fixes = fixes;
    for (const turn of this.turns.values()) turn.refresh?.();
  }

  /** The flags on the shown path, each with its answer. */
  flagged() {
    return store.path(this.conversation).map((message) => ({ message, flag: this.flags[message.id] })).filter(({ flag }) => flag);
  }

  /** How far flags have come, by the ids of their answers. */
  tellReceipts(known) {
    Object.assign(this.receipts, known);
    for (const id of Object.keys(known)) this.turns.get(id)?.refresh?.();
    this.#keepInMind(Object.keys(known));
  }

  /** The answers in view whose flag is still on its way. */
  onTheirWay() {
    const isOnItsWay = ([id, receipt]) => receipt.state === "waiting" && this.turns.has(id) && this.#isInView(this.turns.get(id).element);
    return Object.entries(this.receipts).filter(isOnItsWay).map(([id]) => id);
  }

  draw() {
    const path = store.path(this.conversation);
    const hidden = Math.max(0, path.length - this.limit);
    const wanted = path.slice(hidden).map((message) => this.#turn(message));
    for (const [place, line] of this.#changeLines(path).reverse()) {
      if (place >= hidden) wanted.splice(place - hidden, 0, line);
    }
    if (hidden) wanted.unshift(this.#moreButton(hidden));
    if (!path.length && !this.pending) wanted.push(this.#greeting());
    const last = path.at(-1);
    if (this.pending) wanted.push(this.pending.element);
    else if (last?.role === "user") wanted.push(this.#askAgain(last));
    arrange(this.place, wanted);
    this.last = last;
    for (const turn of this.turns.values()) turn.refresh?.();
  }

  /** Which model answers the next question. */
  answersNow(model) {
    this.model = model;
    if (this.conversation) this.draw();
  }

  /** Which model writes the answer that has begun. */
  writtenBy(model) {
    if (this.pending) this.pending.model = model;
  }

  /** An answer begins to be written. */
  begin() {
    const text = h("div", { class: "text", dir: "auto" }, h("span", { class: "dots", role: "img", "aria-label": words.waiting_turn }));
    const element = h("article", { class: "turn answer pending", "aria-busy": "true" }, heading(words.answer_of), text);
    this.pending = { element, text, model: this.model };
    this.draw();
    this.toLatest();
    speak(words.answering);
  }

  /** The answer waits for its turn: where it stands in line. */
  waitInLine(place, seconds) {
    if (!this.pending) return;
    const text = inLine(place, seconds);
    if (!this.pending.line) {
      this.pending.line = h("p", { class: "line" });
      this.pending.element.append(this.pending.line);
      speak(text);
    }
    this.pending.line.textContent = text;
  }

  grow(html) {
    if (!this.pending) return;
    const follow = this.#isNearEnd();
    this.pending.line?.remove();
    this.pending.text.innerHTML = html;  // rendered by our server, which lets no HTML of anybody through
    if (follow) this.toLatest();
  }

  /** The answer has ended; its message is in the conversation now, or a sentence says why there is none. */
  end(sentence = "") {
    const follow = this.#isNearEnd();
    this.pending = null;
    this.fault = sentence;
    this.draw();
    if (follow) this.toLatest();
    const text = this.last?.role === "assistant" ? say("answered", { text: this.last.text }) : sentence;
    speak(text);
  }

  /** To the end of what was said; a greeting is read from its beginning. */
  toLatest() {
    this.scroll.scrollTop = this.last || this.pending ? this.scroll.scrollHeight : 0;
  }

  #forget() {
    this.turns = new Map();
    this.shown = {};
    this.flags = {};
    this.receipts = {};
    this.fixes = {};
    this.lines = new Map();
    this.pending = null;
    this.fault = "";
    this.limit = SHOWN_AT_FIRST;
  }

  #isInView(element) {
    const view = this.scroll.getBoundingClientRect(), place = element.getBoundingClientRect();
    return place.bottom > view.top && place.top < view.bottom;
  }

  #isNearEnd() {
    return this.scroll.scrollHeight - this.scroll.scrollTop - this.scroll.clientHeight < NEAR;
  }

  #offerLatest() {
    byId("latest").hidden = this.#isNearEnd();
  }

  #turn(message) {
    if (!this.turns.has(message.id)) {
      this.turns.set(message.id, message.role === "user" ? this.#question(message) : this.#answer(message));
    }
    return this.turns.get(message.id).element;
  }

  /** The lines that say where another model began to answer, each with its place on the path. */
  #changeLines(path) {
    const found = changes(path, this.pending ? this.pending.model : this.model, Boolean(this.pending));
    return found.map(([place, model, before]) => {
      const key = `${path[place]?.id ?? ""} ${model.gguf_sha256} ${model.name}`;
      if (!this.lines.has(key)) this.lines.set(key, changeLine(model, before));
      return [place, this.lines.get(key)];
    });
  }

  #question(message) {
    const bubble = h("div", { class: "bubble", dir: "auto" }, message.text);
    const acts = h("div", { class: "acts" });
    const element = h("article", { class: "turn question" }, heading(words.you), bubble, acts);
    const edit = iconButton("edit", words.edit, () => this.#edit(message, element, bubble, acts));
    const versions = h("span", { class: "versions" });
    acts.append(versions, edit);
    const refresh = () => this.#showVersions(versions, message);
    return { element, refresh };
  }

  #edit(message, element, bubble, acts) {
    const box = h("textarea", { class: "editor", dir: "auto", "aria-label": words.edit_label, rows: "2" });
    box.value = message.text;
    const leave = () => {
      form.replaceWith(bubble, acts);
      element.classList.remove("editing");
      acts.querySelector("[aria-label]")?.focus();
    };
    const send = (event) => {
      event.preventDefault();
      if (!box.value.trim() || this.actions.isBusy()) return;
      leave();
      this.actions.edit(message, box.value);
    };
    const onkeydown = (event) => {
      if (event.key === "Escape") { event.stopPropagation(); leave(); }
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
    };
    box.addEventListener("keydown", onkeydown);
    const buttons = h("div", { class: "buttons" },
      h("button", { type: "button", class: "plain", onclick: leave }, words.edit_cancel),
      h("button", { type: "submit", class: "strong" }, words.edit_send));
    const form = h("form", { class: "edit", onsubmit: send }, box, buttons);
    bubble.replaceWith(form);
    acts.remove();
    element.classList.add("editing");
    box.focus();
    box.setSelectionRange(box.value.length, box.value.length);
  }

  #answer(message) {
    const text = h("div", { class: "text", dir: "auto" });
    const line = h("p", { class: "line" });
    const versions = h("span", { class: "versions" });
    const copy = iconButton("copy", words.copy, () => copied(copy, message.text));
    const good = iconButton("good", words.good, () => this.#vote(message, "good"));
    const bad = iconButton("bad", words.bad, () => this.#vote(message, "bad"));
    const flag = iconButton("flag", words.flag, () => this.#panel(message).toggle());
    const again = iconButton("again", words.regenerate, () => this.actions.regenerate());
    const undo = iconButton("undo", words.undo, () => this.actions.undo());
    const acts = h("div", { class: "acts" }, copy, good, bad, flag, again, undo, versions);
    const receipt = receiptPlace(), fix = fixPlace();
    const panel = h("div", { class: "panel-place", id: `panel-${message.id}` });
    flag.setAttribute("aria-controls", panel.id);
    const element = h("article", { class: "turn answer" }, heading(words.answer_of), text, acts, line, receipt, fix, panel);
    const turn = { element, place: panel, flagButton: flag };
    turn.refresh = () => {
      this.#showText(text, message);
      const facts = this.shown[message.id]?.line;
      line.textContent = facts ? quietLine(facts) : "";
      this.#drawReceipt(receipt, message);
      drawFix(fix, this.fixes[message.id]);
      const verdict = this.flags[message.id]?.verdict ?? "";
      setPressed(good, verdict === "good");
      setPressed(bad, verdict === "bad");
      flag.classList.toggle("marked", Boolean(verdict));
      turn.panel?.refresh();
      flag.setAttribute("aria-expanded", String(Boolean(turn.panel?.isOpen)));
      const isLast = message.id === this.last?.id && !this.pending;
      again.hidden = undo.hidden = !isLast;
      this.#showVersions(versions, message);
    };
    return turn;
  }

  #showText(place, message) {
    const html = this.shown[message.id]?.html;
    if (place.dataset.shown === (html ?? "")) return;
    place.dataset.shown = html ?? "";
    place.classList.toggle("plain-text", html === undefined);
    if (html === undefined) place.textContent = message.text;
    else place.innerHTML = html || `<p class="line">${words.empty_answer}</p>`;
  }

  #showVersions(place, message) {
    const all = store.versions(this.conversation, message);
    const number = all.findIndex((one) => one.id === message.id);
    if (all.length < 2) { place.replaceChildren(); return; }
    const go = (step) => () => this.actions.turnTo(all[number + step]);
    const label = say("version", { number: number + 1, count: all.length });
    place.replaceChildren(
      iconButton("left", words.previous_version, go(-1), { disabled: number === 0 || Boolean(this.pending) }),
      h("span", { class: "count" }, label),
      iconButton("right", words.next_version, go(1), { disabled: number === all.length - 1 || Boolean(this.pending) }));
  }

  #panel(message) {
    const turn = this.turns.get(message.id);
    const agreement = this.#agreement(message);
    turn.panel ??= new Panel({
      place: turn.place,
      message,
      flag: () => this.flags[message.id],
      allowed: this.actions.flagging,
      isKept: this.actions.isKept,
      agreement,
      drawReceipt: (place) => this.#drawReceipt(place, message),
      where: () => [...this.actions.whereFlagsGo(), agreement.pending()],
      save: (choice) => this.#save(message, choice),
      changed: () => turn.refresh(),
      leave: () => turn.flagButton.focus(),
      reveal: () => this.#reveal(turn),
    });
    return turn.panel;
  }

  /** Scrolls down to an open panel, but never so far that the buttons above it leave the view. */
  #reveal({ element, place }) {
    const view = this.scroll.getBoundingClientRect();
    const below = place.getBoundingClientRect().bottom - view.bottom;
    const above = element.querySelector(".acts").getBoundingClientRect().top - view.top;
    this.scroll.scrollBy({ top: Math.max(0, Math.min(below, above)) });
  }

  /** The first click counts; the same click again takes it back. */
  #vote(message, verdict) {
    const panel = this.#panel(message);
    if (this.flags[message.id]?.verdict === verdict) panel.retract();
    else panel.vote(verdict);
  }

  #drawReceipt(place, message) {
    drawReceipt(place, this.actions.sends() ? this.receipts[message.id] : null, this.actions.isKept());
  }

  #agreement(message) {
    return new Agreement({
      sends: this.actions.sends,
      flag: () => this.flags[message.id],
      hasEarlierTurns: () => this.#before(message).length > 1,
      others: () => this.#before(message).filter(({ id }) => this.flags[id]).length,
      preview: (choice) => this.actions.preview(message, choice),
      agree: (consent) => this.agree(message, consent),
    });
  }

  #before(message) {
    const path = store.path(this.conversation);
    return path.slice(0, path.findIndex(({ id }) => id === message.id));
  }

  /** Puts the flags up to this answer under a consent; `everywhere`: those of other conversations too. */
  async agree(message, consent, everywhere = false) {
    const { flags, receipts } = await this.actions.agree(message, consent, everywhere);
    Object.assign(this.flags, flags);
    this.tellReceipts(receipts);
  }

  async #save(message, choice) {
    const { flags, receipts, ...done } = await this.actions.flag(message, { ...choice, seen_revision: this.flags[message.id]?.revision ?? 0 });
    this.flags = { ...this.flags, [message.id]: flags[message.id] };
    this.tellReceipts(receipts);
    if (!flags[message.id]) store.flags.drop(message.id);
    return done;
  }

  /** For My flags, where the server's disk knows them no more one day. */
  #keepInMind(ids) {
    for (const id of ids.filter((one) => this.flags[one])) {
      const { verdict, revision } = this.flags[id], { messages, id: conversation } = this.conversation;
      store.flags.keep(id, { conversation, question: messages[messages[id]?.parent]?.text ?? "", verdict, revision, ...this.receipts[id] });
    }
  }

  #moreButton(count) {
    const show = () => { this.limit += SHOWN_AT_FIRST; this.draw(); };
    return h("button", { type: "button", class: "plain more", onclick: show }, say("earlier_messages", { count: Math.min(count, SHOWN_AT_FIRST) }));
  }

  #greeting() {
    const { greeting, examples } = this.actions.words();
    const buttons = examples.map((text) => h("button", { type: "button", class: "example", onclick: () => this.actions.ask(text) }, text));
    return h("section", { class: "greeting" }, h("h2", {}, words.greeting), h("p", {}, greeting), h("div", { class: "examples" }, ...buttons));
  }

  #askAgain() {
    const again = h("button", { type: "button", class: "plain", icon: "again", onclick: () => this.actions.regenerate() }, words.ask_again);
    return h("div", { class: "turn no-answer" }, h("p", {}, this.fault || words.no_answer), again);
  }
}

function inLine(place, seconds) {
  if (seconds < 1) return say("in_line", { place });
  if (seconds < 90) return say("in_line_seconds", { place, count: seconds < 10 ? Math.max(2, seconds) : 5 * Math.round(seconds / 5) });
  return say("in_line_minutes", { place, count: Math.round(seconds / 60) });
}

function heading(text) {
  return h("h2", { class: "unseen" }, text);
}

function setPressed(button, isPressed) {
  button.setAttribute("aria-pressed", String(isPressed));
}

async function copied(button, text) {
  await copyText(text);
  setIcon(button, "check");
  speak(words.copied);
  setTimeout(() => setIcon(button, "copy"), 1500);
}

/** Makes `place` hold just the wanted elements in their order, without moving those that stand right. */
function arrange(place, wanted) {
  wanted.forEach((element, index) => {
    if (place.children[index] !== element) place.insertBefore(element, place.children[index] ?? null);
  });
  while (place.children.length > wanted.length) place.lastElementChild.remove();
}
