// The models: which one is served, which were before it, and every file that could be. Both moves ask first, and
// name what is served now and what would be.

import { h, words } from "./dom.js";
import { badge, button, confirm, every, attempt, megabytes, moment, named, number, statusLine, table, tell, textField, verdictBadge } from "./maintain-parts.js";

const LOOK_MS = 5000;

export function draw(place, page) {
  const status = statusLine();
  const shown = h("div", { class: "m-stack" });
  place.append(status.line, shown);
  let before = "";

  async function look() {
    const found = await attempt(status, () => page.call("models"));
    const text = JSON.stringify(found);
    if (!found || text === before) return;
    before = text;
    shown.replaceChildren(...parts(found, (move) => moved(move)));
  }

  async function moved({ title, yes, lines, name, request }) {
    const why = textField(words.maintain.why, words.maintain.why_note, { maxlength: "500", required: true });
    const done = await confirm({
      title, yes, content: [lines, why.field],
      act: () => page.call(name, { ...request, why: why.box.value }),
    });
    if (!done) return;
    before = "";
    await look();
    status.write(tell("served_now", { name: done.name }), "done");
  }

  return every(LOOK_MS, look);
}

function parts({ files, served, earlier, answers, place }, move) {
  const said = answers.refused ? h("p", { class: "m-status", "data-kind": "fault" }, answers.refused) : null;
  return [
    h("h2", {}, words.maintain.served),
    h("div", { class: "m-served" }, h("strong", {}, served.name), " ", facts(served),
      place ? h("p", { class: "m-quiet" }, tell("pointer_at", { place })) : null,
      served.why ? h("p", { class: "m-quiet" }, tell("served_since", { at: moment(served.when), who: served.who, why: served.why })) : null, said),
    h("h2", {}, words.maintain.earlier_models),
    earlier.length ? table(words.maintain.earlier_models, [words.maintain.model, words.maintain.measured, words.maintain.promoted_at, words.maintain.action],
      earlier.map((one) => [one.name, facts(one), moment(one.when), backTo(one, served, move)]))
      : h("p", { class: "m-quiet" }, words.maintain.no_earlier),
    h("h2", {}, words.maintain.exported),
    files.length ? table(words.maintain.exported,
      [words.maintain.model, words.maintain.size, words.maintain.speed, words.maintain.verdict, words.maintain.round, words.maintain.action],
      files.map((file) => row(file, served, move)))
      : h("p", { class: "m-quiet" }, words.maintain.no_exports),
  ];
}

function row(file, served, move) {
  const speed = file.speed ? tell("tokens_a_second", { count: number(file.speed, 0) }) : words.maintain.not_measured;
  const verdict = h("div", {}, verdictBadge(file.verdict), file.passed ? "" : badge(tell("failed", { bounds: file.failed.join(", ") || words.maintain.unverified }), "bad"),
    file.why ? h("p", { class: "m-quiet" }, file.why) : "");
  return [h("span", { class: "m-name" }, file.name), megabytes(file.bytes), speed, verdict, file.round || "", action(file, served, move)];
}

function action(file, served, move) {
  if (file.served) return badge(words.maintain.is_served, "good");
  const hindrance = file.verdict !== "PROMOTE" ? words.maintain.needs_promote : file.passed ? "" : words.maintain.needs_pass;
  if (hindrance) return h("span", { class: "m-quiet" }, hindrance);
  return button(words.maintain.promote, () => move({
    title: tell("promote_title", { name: file.name }),
    yes: words.maintain.promote,
    lines: change(served, file, file.why),
    name: "model_promote",
    request: { file: file.file },
  }), { "aria-label": tell("promote_title", { name: file.name }) });
}

function backTo(one, served, move) {
  return button(words.maintain.go_back, () => move({
    title: tell("back_title", { name: one.name }),
    yes: words.maintain.go_back,
    lines: change(served, one, words.maintain.back_note),
    name: "model_rollback",
    request: { to: one.sha256 || one.name },
  }), { "aria-label": tell("back_title", { name: one.name }) });
}

/** What is served now, what would be, and what that means. */
function change(from, to, why) {
  const line = (title, model) => [h("dt", {}, title), h("dd", {}, h("strong", {}, model.name), " ", facts(model))];
  return h("div", { class: "m-change" },
    h("dl", {}, ...line(words.maintain.until_now, from), ...line(words.maintain.from_now, to)),
    why ? h("p", {}, why) : null, h("p", {}, words.maintain.change_note));
}

function facts(model) {
  const parts = [model.quant, megabytes(model.bytes), model.round ? tell("of_round", { round: model.round }) : words.base_round,
    model.sha256 ? model.sha256.slice(0, 8) : "", model.verdict ? named("verdicts", model.verdict) : ""];
  return h("span", { class: "m-quiet" }, parts.filter(Boolean).join(" · "));
}
