// What the My flags tab shows: an entry for each flag with the steps that it has come, and what is only known here.

import { h, say, taxonomy, words } from "./dom.js";
import { drawFix, fixPlace } from "./fixes.js";
import { drawReceipt, receiptPlace } from "./receipts.js";
import { roundOf } from "./swap.js";

const OTHER_MODEL = /^(.*), round (\d+)(?:, [0-9a-f]{8})?$/s;
const CHOICES = ["a_better", "b_better", "tie_good", "both_bad"];

export function heading() {
  return [h("h1", {}, words.mine.title), h("p", { class: "mine-lead" }, words.mine.lead)];
}

/** The tab's parts by name; `actions`: download(), more(). */
export function frame(actions) {
  const bar = h("div", { class: "mine-bar", hidden: true },
    h("button", { type: "button", class: "plain", icon: "down", onclick: actions.download }, words.mine.download));
  const status = h("p", { class: "line", role: "status", hidden: true });
  const list = h("div", { class: "entries" });
  const more = h("button", { type: "button", class: "plain more", onclick: actions.more, hidden: true }, words.mine.more);
  const lost = h("section", { class: "lost" });
  const empty = h("div", { class: "mine-empty", hidden: true }, h("p", {}, words.mine.none), h("a", { class: "link", href: "#" }, words.mine.to_chat));
  return { element: h("div", { class: "mine" }, bar, status, empty, list, more, lost), bar, status, list, more, lost, empty };
}

/** One flag; `actions`: change(button), withdraw(), lang, isKept. */
export function drawEntry(flag, { change, withdraw, lang, isKept }) {
  const fix = fixPlace();
  drawFix(fix, flag.fix);
  const edit = h("button", { type: "button", class: "plain", "aria-expanded": "false", onclick: () => change(edit) }, words.mine.change);
  const drop = h("button", { type: "button", class: "plain", onclick: withdraw }, words.retract);
  const panel = h("div", { class: "panel-place" });
  return h("article", { class: "entry", "aria-label": flag.question },
    h("header", {}, verdictOf(flag), h("time", { class: "line", datetime: flag.at }, moment(flag.at, lang))),
    h("p", { class: "entry-question", dir: "auto" }, flag.question),
    h("p", { class: "entry-answer", dir: "auto" }, flag.answer),
    h("p", { class: "line" }, whoAnswered(flag)),
    ...whatWasSaid(flag), steps(flag, isKept), fix,
    h("div", { class: "acts" }, flag.choice ? null : edit, drop), panel);
}

/** Flags that only this browser knows; `actions`: withdraw(known), mayWithdraw(known), lang. */
export function drawLost(lost, { withdraw, mayWithdraw, lang }) {
  const item = ([message, known]) => {
    const whole = { ...known, message };
    const place = receiptPlace();
    drawReceipt(place, known.state ? { withdrawn: false, reason: "", ...known } : null, false);
    return h("article", { class: "entry", "aria-label": known.question },
      h("header", {}, verdictOf({ verdict: known.verdict, choice: CHOICES.includes(known.verdict) ? known.verdict : "" }),
        h("time", { class: "line", datetime: known.at }, moment(known.at, lang))),
      h("p", { class: "entry-question", dir: "auto" }, known.question),
      place, h("p", { class: "line" }, known.state === "hub" ? words.mine.lost_sent : words.mine.lost_here),
      mayWithdraw(whole) ? h("div", { class: "acts" }, h("button", { type: "button", class: "plain", onclick: () => withdraw(whole) }, words.retract)) : null);
  };
  return [h("h2", {}, words.mine.lost_title), h("p", { class: "line" }, words.mine.lost_note), ...lost.map(item)];
}

function verdictOf({ verdict, choice }) {
  const text = choice ? words.compare[`choice_${choice}`] : verdict === "good" ? words.direction_good : words.direction_bad;
  return h("strong", { class: "verdict", "data-verdict": choice ? "choice" : verdict }, text);
}

function whoAnswered({ model, choice, other_model: other }) {
  const own = say("model_called", { name: model.name, round: roundOf(model) });
  const found = OTHER_MODEL.exec(other);
  if (!choice || !found) return own;
  return say("mine.between", { a: own, b: say("model_called", { name: found[1], round: roundOf({ round: Number(found[2]) }) }) });
}

function whatWasSaid({ reasons, comment, correction }) {
  const said = [];
  if (reasons.length) said.push([words.mine.reasons, reasons.map(labelOf).join(" · ")]);
  if (comment) said.push([words.comment, comment]);
  if (correction) said.push([words.correction, correction]);
  return said.length ? [h("dl", { class: "said" }, ...said.flatMap(([name, text]) => [h("dt", {}, name), h("dd", { dir: "auto" }, text)]))] : [];
}

function labelOf(id) {
  const groups = [...taxonomy.bad, ...taxonomy.good];
  return groups.flatMap(({ reasons }) => reasons).find((reason) => reason.id === id)?.label ?? id;
}

/** Saved, sent, reviewed, learned from: as far as it has come. */
function steps({ receipt, review, taught, fix }, isKept) {
  const place = receiptPlace();
  drawReceipt(place, receipt, isKept);
  if (review) place.append(h("span", {}, words.mine[`review_${review}`]));
  if (taught && !fix) place.append(h("span", {}, say("mine.taught", { round: taught })));
  return place;
}

function moment(at, lang) {
  const time = new Date(at);
  return Number.isNaN(time.getTime()) ? "" : time.toLocaleString(lang, { dateStyle: "medium", timeStyle: "short" });
}
