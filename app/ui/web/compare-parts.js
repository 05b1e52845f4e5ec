// What the Compare tab shows: the form, two answers side by side, the vote, and after it names and tally.

import { h, mostReasons, say, taxonomy, words } from "./dom.js";
import { roundOf } from "./swap.js";

export const CHOICES = ["a_better", "b_better", "tie_good", "both_bad"];
const SIDES = ["a", "b"];

/** The tab's parts by name; `actions`: ask(event), swap(), vote(choice), next(). */
export function frame(actions) {
  const title = h("h1", {}, words.compare.title);
  const lead = h("p", { class: "compare-lead" }, words.compare.lead);
  const first = chooser(actions), second = chooser(actions);
  const hint = h("p", { class: "hint", role: "status", id: "compare-hint" });
  const box = h("textarea", { rows: "2", dir: "auto", "aria-label": words.compare.question, "aria-describedby": hint.id, placeholder: words.compare.placeholder, autocomplete: "off" });
  const send = h("button", { type: "submit", class: "send", icon: "up", "aria-label": words.compare.ask, title: words.compare.ask });
  const form = h("form", { class: "compare-form", novalidate: true, onsubmit: actions.ask },
    h("div", { class: "pair" }, labelled(words.compare.one, first), labelled(words.compare.other, second)),
    h("div", { class: "box" }, box, send), hint);
  const cards = Object.fromEntries(SIDES.map((side) => [side, card(side)]));
  const answers = h("div", { class: "answers", tabindex: "-1", role: "group", "aria-label": words.compare.answers, hidden: true }, ...SIDES.map((side) => cards[side].element));
  const asked = h("p", { class: "asked bubble", dir: "auto", hidden: true });
  const buttons = CHOICES.map((choice, number) => voteButton(choice, number + 1, actions));
  const vote = h("fieldset", { class: "vote", tabindex: "-1", hidden: true }, h("legend", {}, words.compare.which), h("div", { class: "choices-row" }, ...buttons));
  const status = h("p", { class: "status", role: "status" });
  const tally = h("div", { class: "tally", role: "group", "aria-label": words.compare.tally });
  const next = h("button", { type: "button", class: "strong", onclick: actions.next }, words.compare.next, h("kbd", { "aria-hidden": "true" }, "↵"));
  const result = h("section", { class: "result", "aria-label": words.compare.result, hidden: true }, tally, h("div", { class: "buttons" }, status, next));
  const element = h("div", { class: "compare" }, form, asked, answers, vote, result);
  return { title, lead, element, form, first, second, hint, box, send, cards, answers, asked, buttons, vote, status, tally, next, result };
}

/** The models to choose from; what was chosen before stays where it still can be. */
export function models(place, { models: offered, pair }) {
  [place.first, place.second].forEach((select, number) => {
    const chosen = offered.some(({ key }) => key === select.value) ? select.value : pair[number];
    select.replaceChildren(...offered.map((model) => h("option", { value: model.key, selected: model.key === chosen }, called(model))));
    select.disabled = offered.length < 2;
  });
}

export function begin(place, question) {
  clear(place);
  place.asked.textContent = question;
  place.asked.hidden = place.answers.hidden = false;
  for (const side of SIDES) {
    place.cards[side].text.replaceChildren(h("span", { class: "dots", role: "img", "aria-label": words.waiting_turn }));
    place.cards[side].element.setAttribute("aria-busy", "true");
  }
}

export function grow(place, side, html) {
  place.cards[side].text.innerHTML = html || `<p class="line">${words.empty_answer}</p>`;  // rendered by our server
}

export function offerVote(place) {
  for (const side of SIDES) place.cards[side].element.removeAttribute("aria-busy");
  place.vote.hidden = false;
}

/** What was chosen: pressed, its reasons offered. `changed` is called when one of them is. */
export function voted(place, choice, changed) {
  for (const button of place.buttons) button.setAttribute("aria-pressed", String(button.value === choice));
  for (const side of SIDES) {
    const verdict = verdictOn(side, choice);
    const card = place.cards[side];
    card.element.dataset.verdict = verdict;
    card.why.replaceChildren(...(verdict ? [why(side, verdict, changed)] : []));
  }
}

/** The vote was taken back: it can be given again. */
export function unvoted(place) {
  place.tally.replaceChildren();
}

/** Names and tally, as the server tells them once the vote is on its disk. */
export function tell(place, { names, tally }) {
  for (const side of SIDES) {
    const { name, gguf_sha256: sha } = names[side];
    const node = place.cards[side].name;
    node.textContent = said(names[side]);
    node.title = sha ? say("model_title", { name, round: roundOf(names[side]), sha: sha.slice(0, 8) }) : name;
  }
  place.tally.replaceChildren(...tallied(names, tally));
  place.result.hidden = false;
}

export function fault(place, sentence) {
  place.result.hidden = false;
  place.status.className = "status fault";
  place.status.textContent = sentence;
}

export function clear(place) {
  for (const part of [place.asked, place.answers, place.vote, place.result]) part.hidden = true;
  for (const side of SIDES) {
    place.cards[side].name.textContent = "";
    place.cards[side].text.replaceChildren();
    place.cards[side].element.removeAttribute("aria-busy");
  }
  place.tally.replaceChildren();
  place.status.textContent = "";
  voted(place, "", () => {});
}

/** The chosen reasons by side. */
export function reasons(place) {
  const chosen = (side) => [...place.cards[side].why.querySelectorAll("input:checked")].map((box) => box.value);
  return Object.fromEntries(SIDES.map((side) => [side, chosen(side)]));
}

// --- parts ---

function chooser(actions) {
  return h("select", { onchange: actions.swap });
}

function labelled(text, select) {
  return h("label", { class: "field" }, h("span", {}, text), select);
}

function card(side) {
  const name = h("p", { class: "who" });
  const text = h("div", { class: "text", dir: "auto" });
  const place = h("div", { class: "why" });
  const letter = side.toUpperCase();
  const element = h("article", { class: "candidate", "aria-label": say("compare.answer", { letter }) },
    h("header", {}, h("h2", {}, letter), name), text, place);
  return { element, name, text, why: place };
}

function voteButton(choice, number, actions) {
  return h("button", { type: "button", class: "choice-button", value: choice, "aria-pressed": "false", "aria-keyshortcuts": String(number), onclick: () => actions.vote(choice) },
    h("kbd", { "aria-hidden": "true" }, String(number)), words.compare[`choice_${choice}`]);
}

function verdictOn(side, choice) {
  if (choice === "tie_good") return "good";
  if (choice === "both_bad") return "bad";
  return choice ? (choice.startsWith(side) ? "good" : "bad") : "";
}

/** The reasons that fit: what was good about the better one, what was wrong with the other. */
function why(side, verdict, changed) {
  const { reasons: offered } = taxonomy[verdict].find(({ direction }) => direction === verdict);
  const set = h("fieldset", {}, h("legend", { class: "unseen" }, words[`reasons_${verdict}`]));
  const limit = () => {
    const boxes = [...set.querySelectorAll("input")];
    const isFull = boxes.filter((box) => box.checked).length >= mostReasons;
    for (const box of boxes) box.disabled = isFull && !box.checked;
    changed();
  };
  const chips = offered.map(({ id, label, hint }) => h("label", { class: "chip", title: hint },
    h("input", { type: "checkbox", name: `why-${side}`, value: id, onchange: limit }), h("span", {}, label)));
  set.append(h("div", { class: "chips" }, ...chips));
  return h("details", {}, h("summary", {}, words[`reasons_${verdict}`]), set);
}

function called(model) {
  if (model.kind === "other") return model.name;
  if (model.kind === "current") return say("compare.current", { model: said(model) });
  return model.kind === "export" ? say("compare.candidate", { name: model.name }) : said(model);
}

function said(model) {
  return say("model_called", { name: model.name, round: roundOf(model) });
}

/** How all votes between the two stand so far, as a bar with its interval and in words. */
function tallied(names, { first, second, both, neither, share, from, to }) {
  const percent = (value) => `${Math.round(100 * value)} %`;
  const counted = say("compare.counts", { a: said(names.a), first, b: said(names.b), second, both, neither });
  if (first + second === 0) return [h("h2", {}, words.compare.tally), h("p", { class: "line" }, counted)];
  const reach = h("span", { class: "reach" });
  reach.style.insetInlineStart = percent(from).replace(" ", "");
  reach.style.width = `${Math.round(100 * (to - from))}%`;
  const point = h("span", { class: "point" });
  point.style.insetInlineStart = percent(share).replace(" ", "");
  return [
    h("h2", {}, words.compare.tally),
    h("div", { class: "scale", "aria-hidden": "true" }, h("span", {}, "B"), h("div", { class: "track" }, reach, point), h("span", {}, "A")),
    h("p", {}, say("compare.share", { votes: first + second, model: said(names.a), share: percent(share), from: percent(from), to: percent(to) })),
    h("p", { class: "line" }, counted),
  ];
}
