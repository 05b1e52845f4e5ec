// The review queue: one group of flags at a time, one key for each decision. What contributors wrote is text.
// Keys work while the focus is in the queue and not in a field, so that no one types a decision by mistake.

import { h, taxonomy, words } from "./dom.js";
import { attempt, badge, button, disclosure, fill, moment, named, select, statusLine, tell, textField } from "./maintain-parts.js";

const DECISIONS = { a: "accepted", r: "rejected", n: "needs_reference", s: "system", x: "safety" };
const WORDING = "w", LATER = " ", UNDO = "u";
const STATES = ["", "new", "agreed", "conflict", "apart", "accepted", "rejected", "needs_reference", "system", "safety"];
const REASONS = [...taxonomy.bad, ...taxonomy.good].flatMap((group) => group.reasons);
const LABELS = new Map(REASONS.map((reason) => [reason.id, reason.label]));

export function draw(place, page) {
  const queue = new Queue(place, page);
  queue.load();
}

class Queue {
  constructor(place, page) {
    this.page = page;
    this.groups = [];
    this.waiting = 0;
    this.done = [];  // decisions of this page, for undo: the group, and what was written
    this.status = statusLine();
    this.card = h("article", { class: "m-card", tabindex: "-1", "aria-label": words.maintain.flag });
    this.#filters();
    this.region = h("section", { class: "m-queue", "aria-label": words.maintain.place_review },
      h("div", { class: "m-filters" }, this.state.field, this.reason.field, this.round.field,
        button(words.maintain.fetch, () => this.#fetch())),
      this.status.line, this.card);
    this.region.addEventListener("keydown", (event) => this.#key(event));
    place.append(this.region);
  }

  /** Asks for the queue; `said` is what stands above it. */
  async load(said = "") {
    if (!said) this.status.write(words.maintain.looking);
    const wanted = { state: this.state.box.value, reason: this.reason.box.value, round: Number(this.round.box.value) };
    const found = await attempt(this.status, () => this.page.call("review_queue", wanted));
    if (!found) return;
    this.groups = found.groups;
    this.waiting = found.waiting;
    const rounds = found.rounds.map((round) => [round, round ? tell("of_round", { round }) : words.base_round]);
    fill(this.round.box, [[-1, words.maintain.any_round], ...rounds], this.round.box.value);
    this.#show(said);
  }

  #filters() {
    const again = () => this.load();
    const states = STATES.map((state) => [state, state ? named("states", state) : words.maintain.undecided]);
    const reasons = [...LABELS].map(([id, label]) => [id, label]);
    this.state = select(words.maintain.filter_state, states, "", again);
    this.reason = select(words.maintain.filter_reason, [["", words.maintain.any_reason], ...reasons], "", again);
    this.round = select(words.maintain.filter_round, [[-1, words.maintain.any_round]], -1, again);
  }

  // --- keys ---

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest("input, textarea, select, summary, a")) return;
    if (event.key === LATER && event.target.closest("button")) return;  // Space presses the button that has the focus
    const key = event.key.toLowerCase();
    const act = key in DECISIONS ? () => this.#decide(DECISIONS[key])
      : { [WORDING]: () => this.#openWording(), [LATER]: () => this.#later(), [UNDO]: () => this.#undo() }[key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  async #decide(state, correction = "") {
    const group = this.groups[0];
    if (!group || this.isBusy) return;
    const request = { flags: group.flags, state, correction, note: this.note?.box.value ?? "" };
    const made = await this.#once(() => this.page.call("review_decide", request));
    if (!made) return this.#again();
    this.done.push({ group, flags: made.flags });
    this.groups.shift();
    this.waiting -= 1;
    const said = tell("decided", { state: named("states", state) });
    if (!this.groups.length && this.waiting) await this.load(said);
    else this.#show(said);
  }

  #later() {
    if (this.groups.length < 2) return;
    this.groups.push(this.groups.shift());
    this.#show(words.maintain.later_said);
  }

  async #undo() {
    const last = this.done.at(-1);
    if (this.isBusy) return;
    if (!last) { this.status.write(words.maintain.nothing_to_undo); return; }
    const made = await this.#once(() => this.page.call("review_undo", { flags: last.flags }));
    if (!made) return this.#again();
    this.done.pop();
    this.groups.unshift({ ...last.group, flags: made.flags });
    this.waiting += 1;
    this.#show(words.maintain.undone);
  }

  async #fetch() {
    this.status.write(words.maintain.fetching);
    if (await this.#once(() => this.page.call("fetch_others"))) await this.load(words.maintain.fetched);
  }

  /** One question at a time; undefined where the server said no, whose sentence then stands there. */
  async #once(work) {
    this.isBusy = true;
    const done = await attempt(this.status, work);
    this.isBusy = false;
    return done;
  }

  /** After a refusal: somebody else was first, so the queue is another by now. The sentence stays. */
  async #again() {
    const said = this.status.line.textContent;
    await this.load(said);
    this.status.line.dataset.kind = "fault";
  }

  // --- the card ---

  #show(said) {
    const group = this.groups[0];
    const left = this.waiting ? tell(this.waiting === 1 ? "one_waits" : "some_wait", { count: this.waiting }) : "";
    this.status.write([said, left].filter(Boolean).join(" "));
    if (group) this.card.replaceChildren(...this.#group(group));
    else this.card.replaceChildren(h("p", { class: "m-quiet" }, words.maintain.queue_empty));
    const { activeElement: focused } = document;
    if (this.region.contains(focused) || focused.contains(this.region)) this.card.focus({ preventScroll: true });
    this.card.scrollIntoView({ block: "nearest" });
  }

  #group(group) {
    this.note = textField(words.maintain.note, "", { maxlength: "2000" });
    return [
      h("header", { class: "m-head" }, h("h2", {}, about(group)), h("p", { class: "m-badges" }, ...badges(group))),
      ...group.turns.map(turn),
      h("div", { class: "m-beside" },
        text(words.maintain.answer, group.answer, `${group.model} · ${group.round ? tell("of_round", { round: group.round }) : words.base_round}`),
        group.correction ? text(words.maintain.correction, group.correction) : null),
      group.comment ? text(words.maintain.comment, group.comment) : null,
      group.choice ? h("p", { class: "m-quiet" }, tell("compared", { choice: group.choice, position: group.position })) : null,
      group.others.length ? disclosure(tell("others", { count: group.others.length }), ...group.others.map(other)) : null,
      ...group.decisions.map(decision),
      this.note.field,
      this.#buttons(),
    ].filter(Boolean);
  }

  #buttons() {
    const decide = (key) => keyed(named("decisions", DECISIONS[key]), key, () => this.#decide(DECISIONS[key]), key === "a");
    this.wording = h("div", { class: "m-wording", hidden: true });
    return h("div", { class: "m-decide" }, this.wording,
      h("div", { class: "buttons" }, decide("a"), keyed(words.maintain.own_wording, WORDING, () => this.#openWording()),
        ...["r", "n", "s", "x"].map(decide),
        keyed(words.maintain.later, LATER, () => this.#later()), keyed(words.maintain.undo, UNDO, () => this.#undo())));
  }

  /** The maintainer's own wording of the right answer, in place of the contributor's. */
  #openWording() {
    const group = this.groups[0];
    if (!group) return;
    const { field, box } = textField(words.maintain.wording, words.maintain.wording_note, { rows: "4", maxlength: "8000" });
    box.value = group.correction || group.answer;
    const accept = () => { if (box.value.trim()) this.#decide("accepted", box.value.trim()); };
    const back = () => { this.wording.hidden = true; this.wording.replaceChildren(); this.card.focus({ preventScroll: true }); };
    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape") back();
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); accept(); }
    });
    this.wording.replaceChildren(field, h("div", { class: "buttons" }, button(words.maintain.cancel, back), button(words.maintain.accept_wording, accept, { strong: true })));
    this.wording.hidden = false;
    box.focus();
  }
}

function about(group) {
  const count = group.flags.length;
  const who = count > 1 ? tell("several", { count, contributors: group.contributors }) : words.maintain.single;
  return `${who}: ${group.verdict === "good" ? words.direction_good : words.direction_bad}`;
}

function badges(group) {
  return [
    ...group.reasons.map((reason) => badge(LABELS.get(reason) ?? reason)),
    badge(named("states", group.state), group.state === "conflict" ? "open" : "quiet"),
    group.severity ? badge(words[`severity_${group.severity}`], group.severity === "critical" ? "bad" : "open") : null,
    group.novel ? badge(words.maintain.novel) : null,
    ...group.marks.map((mark) => badge(named("marks", mark), "open")),
    group.training ? null : badge(words.maintain.not_for_training, "open"),
    h("span", { class: "m-quiet" }, [moment(group.at), group.seconds ? tell("after_seconds", { count: group.seconds.toFixed(1) }) : ""].filter(Boolean).join(" · ")),
  ].filter(Boolean);
}

function turn({ role, text: said, sent }) {
  return text(`${role === "user" ? words.maintain.visitor : words.answer_of}${sent ? "" : ` (${words.maintain.not_sent})`}`, said);
}

function text(title, said, note = "") {
  return h("section", { class: "m-text" }, h("h3", {}, title, note ? h("small", {}, ` ${note}`) : ""), h("p", { dir: "auto" }, said || words.empty_answer));
}

function other({ comment, correction }) {
  return h("div", { class: "m-other" }, correction ? text(words.maintain.correction, correction) : null, comment ? text(words.maintain.comment, comment) : null);
}

function decision({ state, by, at, note, correction, overtaken }) {
  const said = tell(overtaken ? "was_overtaken" : "was_decided", { state: named("states", state), by, at: moment(at) });
  return h("p", { class: "m-quiet" }, [said, note, correction].filter(Boolean).join(" · "));
}

function keyed(label, key, onclick, strong = false) {
  const shown = key === LATER ? words.maintain.space : key.toUpperCase();
  return button(h("span", {}, label, " ", h("kbd", { "aria-hidden": "true" }, shown)), onclick, { strong, "aria-keyshortcuts": key === LATER ? "Space" : key });
}
