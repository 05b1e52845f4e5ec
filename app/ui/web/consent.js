// What may leave this machine: asked once, remembered here, changeable; and what would be stored is shown
// before a text or the conversation is added. The server decides again: without a stored consent nothing leaves.

import { byId, h, iconButton, say, words } from "./dom.js";
import * as store from "./store.js";

const HERE = "", FLAG_ONLY = "flag_only", THREAD = "flag+thread";
const SCOPES = [FLAG_ONLY, THREAD, HERE];

/** What this visitor said to the text of today; null where they were not asked or wanted to decide later. */
export function remembered() {
  const kept = store.consent.read();
  return kept?.version === words.consent_version && SCOPES.includes(kept.scope) ? kept : null;
}

/** The same in one sentence. */
export function summary() {
  const said = remembered();
  if (!said) return words.consent_now_none;
  const training = said.training ? words.consent_for_training : words.consent_not_for_training;
  return say(`consent_now_${said.scope || "here"}`, { training });
}

/** The consent that goes with one answer's flag. `actions` reach the server and the thread around the answer. */
export class Agreement {
  constructor(actions) {
    this.actions = actions;
  }

  /** What a single click sends along: earlier turns not before they were seen. */
  forClick() {
    const said = remembered();
    if (!said || !this.actions.sends()) return {};
    return { consent: said.scope === THREAD && this.#isUnseen() ? { ...said, scope: FLAG_ONLY } : said };
  }

  /** After the first click: asks if nobody did, and returns what is to be saved because of the answer. */
  async settle(choice) {
    if (!this.actions.sends() || remembered()) return null;
    const isForOthers = await ask(this.actions.others());
    if (isForOthers === null) return null;
    const whole = await this.#looked({ ...choice, consent: remembered() }) ?? { ...choice, ...this.forClick() };
    if (isForOthers) await this.actions.agree(whole.consent);
    return whole;
  }

  /** Before details are stored: returns what is to be saved, or null when the visitor went back. */
  async complete(choice) {
    if (!this.actions.sends()) return this.#looked(choice, this.#addsText(choice));
    const isForOthers = remembered() ? false : await ask(this.actions.others());
    const said = remembered();
    const whole = await this.#looked(said ? { ...choice, consent: said } : choice, this.#addsText(choice));
    if (whole && isForOthers) await this.actions.agree(whole.consent);
    return whole;
  }

  /** The choice, once its contributor has seen what it stores; null when they went back. */
  async #looked(choice, addsText = false) {
    const addsThread = choice.consent?.scope === THREAD && this.#isUnseen();
    if (!addsText && !addsThread) return this.actions.flag()?.preview_shown ? { ...choice, preview_shown: true } : choice;
    const shown = await this.actions.preview(choice);
    if (!this.actions.sends() && !changes(shown, choice)) return choice;  // it stays here, just as it was typed
    return await look(shown) ? { ...choice, preview_shown: true } : null;
  }

  /** What is still to come of what was agreed to, for the panel. */
  pending() {
    const isPending = this.actions.sends() && remembered()?.scope === THREAD && this.actions.flag() && this.#isUnseen();
    return isPending ? ` ${words.consent_thread_later}` : "";
  }

  #isUnseen() {
    return this.actions.hasEarlierTurns() && this.actions.flag()?.scope !== THREAD;
  }

  #addsText({ comment, correction }) {
    const kept = this.actions.flag() ?? {};
    return Boolean((comment && comment !== kept.comment) || (correction && correction !== kept.correction));
  }
}

/** Asks what may be sent; null: decided later, else whether it holds for `count` other flags as well.
 *  A change of what was said before holds for all of them, and says so. */
export async function ask(count) {
  const before = remembered();
  const training = h("input", { type: "checkbox", role: "switch", checked: Boolean(before?.training) });
  const others = h("input", { type: "checkbox" });
  const choices = SCOPES.map((scope) => scopeChoice(scope, before?.scope, () => { training.disabled = scope === HERE; }));
  training.disabled = before?.scope === HERE;
  const form = h("form", { method: "dialog" },
    heading(words.consent_title),
    h("p", { id: "ask-text" }, words.consent_text),
    before ? h("p", {}, words.consent_already) : null,  // above the choices: a phone shows it without scrolling
    h("fieldset", { class: "choices" }, h("legend", {}, words.consent_scope), ...choices),
    labelled(training, words.consent_training, words.consent_training_note),
    count && !before ? labelled(others, say("consent_earlier", { count })) : null,
    h("footer", { class: "buttons" },
      h("button", { type: "button", class: "plain", "data-close": "" }, before ? words.edit_cancel : words.consent_later),
      h("button", { type: "submit", class: "strong", value: "save" }, words.consent_save)));
  if (await answered(form) !== "save") return null;
  const scope = form.querySelector('input[name="scope"]:checked').value;
  store.consent.write({
    version: words.consent_version, scope, training: scope !== HERE && training.checked, at: new Date().toISOString(),
  });
  return Boolean(before) || others.checked;
}

/** Shows what would be stored, its masks marked; true when it may be. */
export async function look({ texts, masked, scope }) {
  const earlier = texts.filter(({ part }) => part === "user" || part === "assistant");
  const own = texts.filter((text) => !earlier.includes(text));
  const count = masked === 0 ? words.preview_masked_none : masked === 1 ? words.preview_masked_one : say("preview_masked_some", { count: masked });
  const form = h("form", { method: "dialog" },
    heading(words.preview_title),
    h("p", { id: "ask-text" }, `${scope ? words.preview_sent : words.preview_here} ${count}`),
    h("div", { class: "stored", tabindex: "0", role: "region", "aria-label": words.preview_title },
      ...own.map(storedText),
      earlier.length ? h("details", { open: scope === THREAD }, h("summary", {}, say("preview_earlier", { count: earlier.length })), ...earlier.map(storedText)) : null),
    h("p", { class: "line" }, words.preview_beside),
    h("footer", { class: "buttons" },
      h("button", { type: "button", class: "plain", "data-close": "" }, words.preview_back),
      h("button", { type: "submit", class: "strong", value: "save" }, words.preview_save)));
  return await answered(form) === "save";
}

/** Says what remains of a flag that was sent before it was taken back. */
export async function tellWhatRemains(commit) {
  await answered(h("form", { method: "dialog" },
    heading(words.retracted_title),
    h("p", { id: "ask-text" }, say("retracted_sent", { commit })),
    h("footer", { class: "buttons" }, h("button", { type: "submit", class: "strong" }, words.retracted_close))));
}

// --- dialogs ---

/** Shows a form over everything until it is answered or left; focus returns to where it was. */
function answered(form) {
  const before = document.activeElement;
  const dialog = h("dialog", { class: "ask", "aria-labelledby": "ask-title", "aria-describedby": "ask-text" }, form);
  const close = () => dialog.close("");
  form.querySelector("header").append(iconButton("close", words.close, close));
  form.querySelector("[data-close]")?.addEventListener("click", close);
  byId("backtalk").append(dialog);
  dialog.showModal();
  form.querySelector("input, .stored, .strong").focus({ focusVisible: false });
  return new Promise((done) => dialog.addEventListener("close", () => {
    dialog.remove();
    before.focus({ preventScroll: true });
    done(dialog.returnValue);
  }));
}

function heading(text) {
  return h("header", {}, h("h2", { id: "ask-title" }, text));
}

function scopeChoice(scope, chosen, onchange) {
  const name = scope || "here";
  const box = h("input", { type: "radio", name: "scope", value: scope, checked: scope === chosen, required: true, onchange });
  return labelled(box, words[`consent_${name}`], words[`consent_${name}_note`]);
}

function labelled(box, text, note = "") {
  return h("label", { class: "choice" }, box, h("span", {}, h("strong", {}, text), note ? h("small", {}, note) : null));
}

function storedText({ part, pieces }) {
  const marked = pieces.map(({ text, mask }) => (mask ? h("mark", { title: words.preview_mask }, text) : text));
  return h("section", {}, h("h3", {}, words[`preview_${part}`]), h("p", { dir: "auto" }, ...marked));
}

/** Whether what would be stored differs from what was typed. */
function changes({ texts }, choice) {
  return texts.some(({ part, pieces }) => part in choice && pieces.some(({ mask }) => mask));
}
