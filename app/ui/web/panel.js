// The flag panel under an answer: direction, reasons, severity, comment, corrected answer.
// A vote is saved at the first click; what follows amends it. "Saved" is shown after the server's disk said so.

import { tellWhatRemains } from "./consent.js";
import { h, mostReasons, say, taxonomy, toast, words } from "./dom.js";
import { receiptPlace, savedSentence } from "./receipts.js";

const SEVERITIES = ["minor", "major", "critical"];

export class Panel {
  constructor({ place, message, flag, allowed, isKept, agreement, where, drawReceipt, save, changed, leave, reveal }) {
    Object.assign(this, { place, message, flag, allowed, isKept, agreement, where, drawReceipt, send: save, changed, leave, reveal });
    this.isOpen = false;
    this.verdict = "";
    this.waiting = Promise.resolve();
  }

  toggle() {
    if (this.isOpen) this.close();
    else this.open();
  }

  open() {
    this.isOpen = true;
    this.verdict = this.flag()?.verdict ?? this.verdict;
    if (!this.form) this.#build();
    this.place.replaceChildren(this.form);
    this.changed();
    this.reveal();
  }

  close() {
    this.isOpen = false;
    this.place.replaceChildren();
    this.changed();
    this.leave();
  }

  /** Counts at once; the panel opens for the rest, and what may leave this machine is asked once. */
  async vote(verdict) {
    this.verdict = verdict;
    if (this.form) this.#showVerdict();
    this.open();
    const saved = await this.#save({ verdict, ...this.agreement.forClick() }, () => words.vote_saved);
    if (saved) await this.#ask(() => this.agreement.settle({ verdict }), () => words.consent_saved);
  }

  /** The vote and all that belongs to it go; the panel stays open only if that could not be saved. */
  async retract() {
    const done = await this.#save({ verdict: "" }, () => words.retracted);
    if (!done) { this.open(); return; }
    this.form = null;
    this.verdict = "";
    if (this.isOpen) this.close();
    if (done.left) tellWhatRemains(done.left);
    else toast(words.retracted);
  }

  // --- saving ---

  /** One after the other, so that the last click is what holds; null where it could not be saved. */
  #save(choice, sentence) {
    this.#say(words.saving);
    this.waiting = this.waiting.then(async () => {
      let done = null;
      try {
        done = await this.send(choice);
        this.#say(sentence(done), "done");
      } catch (fault) {
        this.verdict = this.flag()?.verdict ?? "";
        this.#showVerdict();
        this.#complain(fault);
      }
      this.changed();
      return done;
    });
    return this.waiting;
  }

  /** Saves what the visitor says in a dialog, if they say something; one dialog at a time. */
  async #ask(dialog, sentence) {
    if (this.isAsking) return;
    this.isAsking = true;
    try {
      const choice = await dialog();
      if (choice) await this.#save(choice, sentence);
    } catch (fault) {
      this.#complain(fault);
    }
    this.isAsking = false;
    this.changed();
    if (document.activeElement === document.body) this.form?.querySelector("input:checked")?.focus({ preventScroll: true });
  }

  #complain(fault) {
    this.#say(say("not_saved", { reason: fault.message || words.no_server }), "fault");
  }

  /** What is known by now of where the flag is and may go; left alone where it is the same: it may have the focus. */
  refresh() {
    if (!this.whereabouts) return;
    this.drawReceipt(this.receipt);
    const parts = this.where();
    if (this.whereabouts.textContent !== textOf(parts)) this.whereabouts.replaceChildren(...parts);
  }

  #submit(event) {
    event.preventDefault();
    const choice = this.#choice();
    const lacksComment = choice.reasons.some((id) => this.#reason(id).needs_comment) && !choice.comment.trim();
    if (lacksComment) {
      this.#say(words.comment_needed, "fault");
      this.comment.focus();
      return;
    }
    this.#ask(() => this.agreement.complete(choice), () => savedSentence(this.isKept()));
  }

  #choice() {
    const chosen = (name) => [...this.form.querySelectorAll(`input[name="${name}"]:checked`)].map((box) => box.value);
    const correction = this.correction.value;
    return {
      verdict: this.verdict,
      reasons: chosen("reason"),
      hazards: chosen("hazard"),
      severity: chosen("severity")[0] ?? "",
      comment: this.comment.value,
      correction: correction.trim() === this.message.text.trim() ? "" : correction,
    };
  }

  #reason(id) {
    return taxonomy[this.verdict].flatMap((group) => group.reasons).find((reason) => reason.id === id);
  }

  // --- the form ---

  #build() {
    const kept = this.flag() ?? {};
    this.status = h("p", { class: "status", role: "status" });
    this.directions = h("fieldset", { class: "segments wide" }, h("legend", {}, words.direction));
    this.more = h("div", { class: "more-fields" });
    this.whereabouts = h("p", { class: "line" }, ...this.where());
    this.receipt = receiptPlace();
    this.drawReceipt(this.receipt);
    this.form = h("form", { class: "panel", "aria-label": words.panel, onsubmit: (event) => this.#submit(event) },
      this.directions, this.more);
    this.form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { event.stopPropagation(); this.close(); }
    });
    this.form.addEventListener("input", (event) => this.#changed(event));
    const [isAllowed, sentence] = this.allowed();
    if (!isAllowed) {
      this.form.replaceChildren(h("p", {}, sentence), this.#button(words.close, "plain", () => this.close()));
      return;
    }
    this.comment = h("textarea", { rows: "2", dir: "auto", placeholder: words.comment_placeholder });
    this.correction = h("textarea", { rows: "3", dir: "auto" });
    this.comment.value = kept.comment ?? "";
    this.correction.value = kept.correction || this.message.text;
    this.#showVerdict(kept);
  }

  #showVerdict(kept = null) {
    if (!this.form) return;
    const pick = (verdict) => this.#radio("direction", verdict, words[`direction_${verdict}`], this.verdict === verdict, () => this.vote(verdict));
    this.directions.replaceChildren(h("legend", {}, words.direction), pick("good"), pick("bad"));
    if (!this.verdict) { this.more.replaceChildren(this.status); return; }
    if (this.drawn === this.verdict && !kept) return;
    this.drawn = this.verdict;
    const isBad = this.verdict === "bad";
    this.more.replaceChildren(
      ...this.#reasons(kept?.reasons ?? [], kept?.hazards ?? []),
      ...(isBad ? [this.#severity(kept?.severity ?? "")] : []),
      field(words.comment, this.comment),
      ...(isBad ? [field(words.correction, this.correction, words.correction_note)] : []),
      this.whereabouts,
      h("div", { class: "buttons" }, this.receipt, this.status,
        this.#button(words.retract, "plain", () => this.retract()),
        this.#button(words.close, "plain", () => this.close()),
        h("button", { type: "submit", class: "strong" }, words.save)));
    this.#limit();
  }

  /** The verdict's own reasons stand open; faults of the page, harm and the rest unfold on a click. */
  #reasons(chosen, hazards) {
    const [own, ...others] = taxonomy[this.verdict].map((group) => this.#group(group, chosen, hazards));
    own.querySelector("legend").append(h("small", {}, say("reasons_note", { most: mostReasons })));
    const isOpen = others.some((group) => group.querySelector("input:checked"));
    return [own, h("details", { open: isOpen }, h("summary", {}, words.more_reasons), ...others)];
  }

  #group({ direction, reasons }, chosen, hazards) {
    const chips = reasons.map((reason) => chip("reason", reason.id, reason.label, chosen.includes(reason.id), reason.hint));
    const harms = reasons.filter((reason) => reason.hazards.length > 1).map((reason) => this.#hazards(reason, hazards, chosen.includes(reason.id)));
    return h("fieldset", {}, h("legend", {}, words[`reasons_${direction}`]), h("div", { class: "chips" }, ...chips), ...harms);
  }

  #hazards(reason, chosen, isShown) {
    const kinds = reason.hazards.map((id) => chip("hazard", id, taxonomy.hazards[id], chosen.includes(id)));
    return h("fieldset", { class: "hazards", "data-reason": reason.id, hidden: !isShown }, h("legend", {}, words.hazards), h("div", { class: "chips" }, ...kinds));
  }

  #severity(chosen) {
    const pick = (name) => this.#radio("severity", name, words[`severity_${name}`], chosen === name);
    return h("fieldset", { class: "segments wide" }, h("legend", {}, words.severity), ...SEVERITIES.map(pick));
  }

  #radio(name, value, text, checked, onchange = () => {}) {
    const box = h("input", { type: "radio", name, value, checked, onchange });
    return h("label", {}, box, h("span", {}, text));
  }

  #button(text, kind, onclick) {
    return h("button", { type: "button", class: kind, onclick }, text);
  }

  #changed(event) {
    if (event.target.name === "direction") return;
    this.#limit();
    for (const harms of this.form.querySelectorAll(".hazards")) {
      harms.hidden = !this.form.querySelector(`input[value="${harms.dataset.reason}"]`).checked;
      if (harms.hidden) for (const box of harms.querySelectorAll("input")) box.checked = false;
    }
    this.#say(words.unsaved);
  }

  #limit() {
    const boxes = [...this.form.querySelectorAll('input[name="reason"]')];
    const isFull = boxes.filter((box) => box.checked).length >= mostReasons;
    for (const box of boxes) box.disabled = isFull && !box.checked;
  }

  #say(text, kind = "") {
    if (!this.status) return;
    this.status.textContent = text;
    this.status.className = `status ${kind}`;
  }
}

function textOf(parts) {
  return parts.map((part) => part.textContent ?? part).join("");
}

function chip(name, value, text, checked, hint = undefined) {
  return h("label", { class: "chip", title: hint }, h("input", { type: "checkbox", name, value, checked }), h("span", {}, text));
}

function field(text, box, note = "") {
  box.setAttribute("aria-label", text);
  return h("label", { class: "field" }, h("span", {}, text), box, note ? h("small", {}, note) : null);
}
