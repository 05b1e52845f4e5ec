// What visitors say, as figures for everybody: counts, shares with their intervals, and what rounds made of them.
// Drawn anew where the width changes; asked for anew once a minute while it is shown.

import { bars, intervals } from "./charts.js";
import { h, say, taxonomy, words } from "./dom.js";

const AGAIN_MS = 60_000;
const VERDICTS = { good: "is-good", bad: "is-bad" };
const DIRECTIONS = { direction_good: "is-good", direction_bad: "is-bad", direction_other: "is-other" };
const STATUSES = { fixed: "is-good", still_wrong: "is-other", newly_broken: "is-bad" };

let place, page, timer, watcher, figures, known;

/** Called each time the tab is opened. */
export async function open(section, about) {
  page = about;
  place = h("div", { class: "insights" }, h("p", { role: "status" }, words.insights.loading));
  known = "";
  section.replaceChildren(h("h1", {}, words.insights.title), h("p", { class: "lead" }, words.insights.lead), place);
  watcher = new ResizeObserver(() => draw());
  watcher.observe(place);
  await look();
  timer = setInterval(look, AGAIN_MS);
}

/** Called when another tab is opened. */
export function close() {
  clearInterval(timer);
  watcher?.disconnect();
  figures = undefined;
}

async function look() {
  try {
    figures = await page.call("insights", {});
    draw();
  } catch (fault) {
    if (!figures) place.replaceChildren(h("p", { role: "alert" }, fault.message || words.no_server));
  }
}

function draw() {
  if (!figures) return;
  const width = Math.floor(place.clientWidth);
  const { at, ...counted } = figures;
  const state = JSON.stringify([width, counted]);
  if (state === known || width === 0) return;
  known = state;
  const open = new Set([...place.querySelectorAll("details[open]")].map(({ id }) => id));  // a table stays open
  const parts = figures.good === null ? [nothingYet()] : [tiles(), ...sections(width)];
  place.replaceChildren(...parts, h("p", { class: "line" }, say("insights.counted", { at: moment(at), fewest: number(figures.fewest) })));
  for (const details of place.querySelectorAll("details")) details.open = open.has(details.id);
}

/** Before there is enough to show without showing single people: what will stand here. */
function nothingYet() {
  const { flags, fewest } = figures;
  const count = flags === 1 ? words.insights.one_flag : say("insights.some_flags", { count: number(flags) });
  const said = flags ? `${count} ${say("insights.enough_from", { fewest: number(fewest) })}` : words.insights.no_flags;
  return h("section", { class: "empty" }, h("h2", {}, words.insights.empty_title), h("p", {}, said),
    h("p", {}, words.insights.empty_lead), h("ul", {}, ...words.insights.empty_list.map((text) => h("li", {}, text))));
}

function tiles() {
  const { flags, good, fixes, hours } = figures;
  const fixed = fixes.reduce((sum, round) => sum + round.fixed, 0);
  return h("dl", { class: "tiles" },
    tile(words.insights.flags, number(flags)),
    tile(words.insights.good, percent(share(good)), say("insights.between", reach(good))),
    tile(words.insights.fixed, fixes.length ? number(fixed) : "–", fixes.length ? "" : words.insights.no_round),
    tile(words.insights.to_fix, duration(hours.fixed), hours.fixed === null ? words.insights.not_known : words.insights.median));
}

function tile(name, value, note = "") {
  return h("div", {}, h("dt", {}, name), h("dd", {}, h("strong", {}, value), note ? h("small", {}, note) : null));
}

function sections(width) {
  const { models, rounds, reasons, fixes, hidden } = figures;
  const inside = width - 2 * 20;  // of the card around a chart
  return [
    figure("models", models.map(shareRow((row) => `${row.name}, ${roundName(row.round)}`)), hidden.models, (rows, title) =>
      intervals(rows, { title, width: inside, ends: [0, 0.5, 1].map(percent) }), SHARE_HEAD),
    figure("rounds", rounds.map(countRow), hidden.rounds, (rows, title) => bars(rows, { title, width: inside }), GOOD_HEAD, VERDICTS),
    figure("reasons", reasons.map(reasonRow), hidden.reasons, (rows, title) => bars(rows, { title, width: inside }), REASON_HEAD, DIRECTIONS),
    figure("fixes", fixes.map(fixRow), hidden.fixes, (rows, title) => bars(rows, { title, width: inside }), FIX_HEAD, STATUSES),
    times(),
  ];
}

/** A chart with its title, what it means, its key, and its table behind a disclosure. */
function figure(name, rows, hidden, image, head, kinds = {}) {
  const title = words.insights[`${name}_title`];
  const left = hidden === 1 ? words.insights.hidden_one : say("insights.hidden_some", { count: number(hidden) });
  return h("figure", { class: "card" },
    h("figcaption", {}, h("h2", {}, title), h("p", {}, rows.length ? words.insights[`${name}_note`] : words.insights[`${name}_none`])),
    rows.length && Object.keys(kinds).length ? key(kinds) : null,
    rows.length ? image(rows, title) : null,
    hidden ? h("p", { class: "line" }, left) : null,
    rows.length ? h("details", { id: `table-${name}` }, h("summary", {}, words.insights.table),
      h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": title }, table(title, head(), rows))) : null);
}

function key(kinds) {
  const items = Object.entries(kinds).map(([name, kind]) => h("li", { class: kind }, words.insights[`key_${name}`]));
  return h("ul", { class: "key" }, ...items);
}

function table(title, head, rows) {
  const cells = rows.map(({ cells: [first, ...others] }) =>
    h("tr", {}, h("th", { scope: "row" }, first), ...others.map((text) => h("td", {}, text))));
  return h("table", {}, h("caption", { class: "unseen" }, title),
    h("thead", {}, h("tr", {}, ...head.map((text) => h("th", { scope: "col" }, text)))), h("tbody", {}, ...cells));
}

/** How long it takes, as medians; where too few flags have come so far, it says so. */
function times() {
  const { decision, set, fixed } = figures.hours;
  const rows = [[words.insights.to_decision, decision], [words.insights.to_set, set], [words.insights.to_fix, fixed]];
  return h("section", { class: "card" }, h("div", {}, h("h2", {}, words.insights.times_title), h("p", {}, words.insights.times_note)),
    h("dl", { class: "times" }, ...rows.flatMap(([name, hours]) =>
      [h("dt", {}, name), h("dd", {}, hours === null ? words.insights.not_known : duration(hours))])));
}

// --- rows: what a chart shows and what its table says ---

const SHARE_HEAD = () => [words.insights.model, words.insights.share, words.insights.interval, words.insights.flags_short];
const GOOD_HEAD = () => [words.insights.round, words.insights.key_good, words.insights.key_bad, words.insights.share, words.insights.interval];
const REASON_HEAD = () => [words.insights.reason, words.insights.direction, words.insights.flags_short];
const FIX_HEAD = () => [words.insights.round, ...Object.keys(STATUSES).map((status) => words.insights[`key_${status}`])];

function shareRow(nameOf) {
  return (row) => {
    const name = nameOf(row), value = share(row), { from, to } = reach(row);
    return { name, value, from: row.from, to: row.to, said: say("insights.of", { share: percent(value), whole: number(row.whole) }),
      cells: [name, percent(value), `${from} – ${to}`, number(row.whole)] };
  };
}

function countRow(row) {
  const bad = row.whole - row.part, { from, to } = reach(row), name = roundName(row.round);
  return { name, parts: [{ value: row.part, kind: "is-good" }, { value: bad, kind: "is-bad" }],
    said: say("insights.good_of", { share: percent(share(row)), whole: number(row.whole) }),
    cells: [name, number(row.part), number(bad), percent(share(row)), `${from} – ${to}`] };
}

function reasonRow({ id, label, direction, count }) {
  const name = labels().get(id) ?? label;
  return { name, parts: [{ value: count, kind: VERDICTS[direction] ?? "is-other" }], said: number(count),
    cells: [name, words.insights[`direction_${direction}`], number(count)] };
}

function fixRow(row) {
  const name = roundName(row.round);
  return { name, parts: Object.entries(STATUSES).map(([status, kind]) => ({ value: row[status], kind })),
    said: say("insights.fixed_in", { count: number(row.fixed) }),
    cells: [name, ...Object.keys(STATUSES).map((status) => number(row[status]))] };
}

/** The reasons as the flag panel calls them, in the language of the page. */
function labels() {
  const groups = [...taxonomy.good, ...taxonomy.bad];
  return new Map(groups.flatMap(({ reasons }) => reasons).map(({ id, label }) => [id, label]));
}

// --- numbers in the language of the page ---

function roundName(round) {
  return round ? say("later_round", { round: number(round) }) : words.base_round;
}

function share({ part, whole }) {
  return part / whole;
}

function reach({ from, to }) {
  return { from: percent(from), to: percent(to) };
}

function number(value) {
  return value.toLocaleString(page.lang);
}

function percent(value) {
  return value.toLocaleString(page.lang, { style: "percent" });
}

function duration(hours) {
  if (hours === null) return "–";
  const [value, unit] = hours < 1 ? [hours * 60, "minute"] : hours < 48 ? [hours, "hour"] : [hours / 24, "day"];
  return Math.max(1, Math.round(value)).toLocaleString(page.lang, { style: "unit", unit, unitDisplay: "long" });
}

function moment(at) {
  return new Date(at).toLocaleTimeString(page.lang, { hour: "2-digit", minute: "2-digit" });
}
