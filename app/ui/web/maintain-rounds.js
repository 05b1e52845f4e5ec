// Rounds: start one, watch its acts and what they say while it runs, read its verdict with the intervals.

import { h, words } from "./dom.js";
import { attempt, badge, button, disclosure, duration, every, logBox, moment, named, number, select, statusLine, table, tell, verdictBadge } from "./maintain-parts.js";

const LOOK_MS = 2000;
const INCLUDES = ["", "accepted", "agreed", "all"];
const STANDINGS = { shown: "good", open: "open", broken: "bad" };
const ACT_KINDS = { done: "good", runs: "open", stopped: "bad", waits: "quiet" };

export function draw(place, page) {
  const status = statusLine();
  const starting = h("div", { class: "m-stack" });
  const running = h("div", { class: "m-stack" });
  const chosen = h("div", { class: "m-stack", "aria-live": "off" });
  const log = logBox(words.maintain.round_log);
  let wanted = 0, drawn = "", drawnStart = "", known = { rounds: [] };

  place.append(starting, status.line, running, chosen);

  async function look() {
    const found = await attempt(status, () => page.call("rounds"));
    if (!found) return;
    const begun = found.rounds[0]?.number ?? 0;
    if (found.running && begun !== known.rounds[0]?.number) wanted = begun;  // the one that has just begun
    known = found;
    drawStart(found);
    drawRunning(found);
    await lookAt(wanted || begun);
  }

  function drawStart(found) {
    const text = JSON.stringify([found.running, found.place, found.recipes, found.rounds.map((one) => [one.number, one.state])]);
    if (text === drawnStart) return;
    drawnStart = text;
    starting.replaceChildren(...startParts(found, act));
  }

  function drawRunning({ started, running: runs }) {
    if (!started.recipe) { running.replaceChildren(); return; }
    const how = runs ? "round_runs" : started.address ? "round_job" : started.code === null ? "round_unseen" : [0, 3].includes(started.code) ? "round_ended" : "round_failed";
    const line = tell(how, { recipe: started.recipe, by: started.by, at: moment(started.at) });
    const link = started.address ? h("a", { class: "link", href: started.address, target: "_blank", rel: "noopener" }, started.address) : "";
    log.show(started.log);
    if (running.dataset.how === how) { running.querySelector("p").textContent = line; return; }
    running.dataset.how = how;
    running.replaceChildren(h("p", { class: "m-status", "data-kind": how === "round_failed" ? "fault" : "" }, line), link, started.address ? "" : log.box);
  }

  async function lookAt(one) {
    if (!one) { chosen.replaceChildren(h("p", { class: "m-quiet" }, words.maintain.no_rounds)); return; }
    const round = await attempt(status, () => page.call("round_look", { number: one }));
    const text = JSON.stringify([known.rounds, { ...round, started: 0 }]);
    if (!round || text === drawn) return;
    drawn = text;
    const focused = chosen.contains(document.activeElement) ? document.activeElement.dataset.round : null;
    chosen.replaceChildren(list(known.rounds, one, (pick) => { wanted = pick; lookAt(pick); }), ...roundParts(round));
    if (focused) chosen.querySelector(`[data-round="${focused}"]`)?.focus();
  }

  async function act(name, request, said) {
    status.write(words.maintain.working);
    if (!await attempt(status, () => page.call(name, request))) return;
    status.write(said, "done");
    wanted = 0;
    await look();
  }

  return every(LOOK_MS, look);
}

function startParts({ place, recipes, rounds, running }, act) {
  const unfinished = rounds.find((round) => round.state === "stopped");
  const recipe = select(words.maintain.recipe, recipes.map((name) => [name, name]), recipes.includes("mini_round") ? "mini_round" : recipes[0]);
  const include = select(words.maintain.include, INCLUDES.map((name) => [name, name ? named("includes", name) : words.maintain.as_recipe]), "");
  const hardware = select(words.maintain.hardware, Object.entries(place.prices).map(([name, price]) => [name, tell("price", { name, price: price.toFixed(2) })]), "l4x1");
  const wish = () => ({ recipe: recipe.box.value, include: include.box.value, flavor: place.where === "job" ? hardware.box.value : "" });
  const begin = (fresh) => act("round_start", { ...wish(), fresh }, words.maintain.round_started);
  const isOpen = place.where !== "" && !running;
  const buttons = running ? [button(words.maintain.stop_round, () => act("round_stop", {}, words.maintain.round_stopping))]
    : unfinished && place.where === "here"
      ? [button(tell("continue_round", { number: unfinished.number }), () => begin(false), { strong: true }), button(words.maintain.fresh_round, () => begin(true))]
      : [button(place.where === "job" ? words.maintain.start_job : words.maintain.start_round, () => begin(false), { strong: true, disabled: !isOpen, "aria-describedby": "m-where" })];
  return [
    h("p", { class: "m-quiet", id: "m-where" }, place.why || named("where", place.where)),
    h("div", { class: "m-filters" }, recipe.field, include.field, place.where === "job" ? hardware.field : "", h("div", { class: "buttons" }, ...buttons)),
  ];
}

function list(rounds, shown, pick) {
  const item = (round) => h("li", {}, h("button", {
    type: "button", class: "m-pick", "data-round": String(round.number), "aria-pressed": String(round.number === shown), onclick: () => pick(round.number),
  }, h("strong", {}, tell("of_round", { round: round.number })), " ",
  round.verdict ? verdictBadge(round.verdict) : badge(named("standings", round.state), ACT_KINDS[round.state]),
  round.promoted ? badge(words.maintain.promoted, "good") : "", h("span", { class: "m-quiet" }, moment(round.at))));
  return h("nav", { "aria-label": words.maintain.all_rounds }, h("ol", { class: "m-rounds" }, ...rounds.map(item)));
}

function roundParts(round) {
  return [
    h("h2", {}, tell("of_round", { round: round.number })),
    h("p", { class: "m-quiet" }, tell("round_about", { by: round.by || words.maintain.nobody, beaten: round.beaten, time: duration(round.seconds) })),
    h("ol", { class: "m-acts", "aria-label": words.maintain.acts }, ...round.acts.map(actItem)),
    ...(round.log ? [actLog(round.log)] : []),
    ...verdictParts(round),
    round.report ? disclosure(words.maintain.report, h("pre", { class: "m-log", tabindex: "0" }, round.report)) : "",
  ];
}

function actItem({ name, state, seconds, skipped }) {
  const how = skipped ? words.maintain.skipped : state === "done" ? duration(seconds) : named("standings", state);
  return h("li", { "data-state": skipped ? "skipped" : state }, h("strong", {}, named("act_names", name)), h("span", {}, how));
}

function actLog(said) {
  const log = logBox(words.maintain.act_log);
  queueMicrotask(() => { log.box.scrollTop = log.box.scrollHeight; });
  log.show(said);
  return log.box;
}

function verdictParts({ verdict, differences }) {
  if (!verdict.verdict) return [];
  const conditions = (verdict.conditions ?? []).map((one) => [one.name, badge(named("condition_standings", one.standing), STANDINGS[one.standing]), one.why]);
  const heads = [words.maintain.asked, words.maintain.metric, words.maintain.difference, words.maintain.interval, words.maintain.items];
  return [
    h("h2", {}, words.maintain.verdict, " ", verdictBadge(verdict.verdict)),
    h("p", {}, verdict.why),
    verdict.more_items ? h("p", { class: "m-quiet" }, tell("more_items", { count: verdict.more_items })) : "",
    conditions.length ? table(words.maintain.conditions, [words.maintain.condition, words.maintain.stands, words.maintain.because], conditions) : "",
    differences.length ? table(words.maintain.differences, heads, differences.map(differenceRow)) : "",
  ];
}

function differenceRow({ part, metric, value, low, high, items }) {
  const digits = metric === "bits_per_byte" ? 4 : 3;
  const ends = low === null ? words.maintain.no_interval : `${signed(low, digits)} … ${signed(high, digits)}`;
  return [named("parts", part), named("metrics", metric), signed(value, digits), h("span", { class: "m-interval" }, bar(value, low, high), ends), items];
}

function signed(value, digits) {
  return `${value > 0 ? "+" : ""}${number(value, digits)}`;
}

/** The interval around nothing changed, as a small drawing; the numbers stand beside it. */
function bar(value, low, high) {
  if (low === null) return "";
  const reach = Math.max(Math.abs(low), Math.abs(high), 1e-9);
  const at = (one) => `${(50 + (one / reach) * 48).toFixed(1)}%`;
  const width = `${(((high - low) / reach) * 48).toFixed(1)}%`;
  return h("span", { class: "m-bar", "aria-hidden": "true" },
    h("i", { class: "m-zero" }), h("i", { class: "m-reach", style: `inset-inline-start:${at(low)};width:${width}` }), h("i", { class: "m-dot", style: `inset-inline-start:${at(value)}` }));
}
