// Experiments while they run: the curves and the table of all configurations, and what one can ask of each.

import { h, words } from "./dom.js";
import { attempt, badge, button, confirm, duration, every, fill, named, number, select, statusLine, table, tell, textField } from "./maintain-parts.js";

const LOOK_MS = 2000;
const COLOURS = 6;  // of maintain.css; a line's dashes tell further ones apart
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 640, HEIGHT = 260, EDGE = 34;

export function draw(place, page) {
  const status = statusLine();
  const shown = h("div", { class: "m-stack" });
  const which = select(words.maintain.experiment, [], "", () => look());
  const filters = h("div", { class: "m-filters", hidden: true }, which.field);
  let before = "";
  place.append(filters, status.line, shown);

  async function look() {
    const found = await attempt(status, () => page.call("experiments", { name: which.box.value }));
    const text = JSON.stringify(found);
    if (!found || text === before) return;
    before = text;
    filters.hidden = !found.names.length;
    fill(which.box, found.names.map((name) => [name, name]), found.name);
    shown.replaceChildren(...parts(found, ask));
  }

  async function ask(action, configuration) {
    const request = { action, experiment: which.box.value, configuration };
    const send = (more = {}) => page.call("experiment_ask", { ...request, ...more });
    const done = action === "clone" ? await askClone(configuration, send) : await attempt(status, send);
    if (done) status.write(tell("experiment_asked", { action: named("actions", action), configuration }), "done");
  }

  return every(LOOK_MS, look);
}

function askClone(configuration, send) {
  const changes = textField(words.maintain.changes, words.maintain.changes_note, { placeholder: "optimiser.rate=1e-4 lora.r=8" });
  const warm = h("input", { type: "checkbox" });
  return confirm({
    title: tell("clone_title", { configuration }),
    yes: named("actions", "clone"),
    content: [changes.field, h("label", { class: "choice" }, warm, h("span", {}, h("strong", {}, words.maintain.warm)))],
    act: () => send({ changes: changes.box.value, warm: warm.checked }),
  });
}

function parts({ name, phase, told, first, rows, curves }, ask) {
  if (!name) return [h("p", { class: "m-quiet" }, words.maintain.no_experiments)];
  const heads = ["configuration", "standing", "steps", "bits", "loss", "time", "changes_what", "action"].map((word) => words.maintain[word]);
  const compared = first ? tell("compared_after", { time: duration(first) }) : "";
  return [
    h("p", {}, badge(named("phases", phase)), " ", [told, compared].filter(Boolean).join(" ")),
    drawing(curves, rows),
    table(words.maintain.configurations, heads, rows.map((row) => tableRow(row, ask))),
  ];
}

function tableRow(row, ask) {
  const act = (action) => button(named("actions", action), () => ask(action, row.name), { "aria-label": `${named("actions", action)} ${row.name}` });
  const offered = row.standing === "baseline" ? [] : [row.standing === "stopped" || row.standing === "stopped early" ? act("resume") : row.standing === "finished" ? null : act("stop"), act("clone")];
  return [
    row.name, named("standings", row.standing), row.steps ? `${row.step} / ${row.steps}` : "", number(row.bits_per_byte, 4), number(row.loss, 4),
    duration(row.seconds), [row.told, row.why].filter(Boolean).join(" · "), h("div", { class: "buttons" }, ...offered.filter(Boolean)),
  ];
}

// --- the curves ---

/** Bits per byte over steps, a line for each configuration; the table below says the same in numbers. */
function drawing(curves, rows) {
  const known = rows.map((row) => row.name).filter((name) => curves[name]?.length && rows.find((row) => row.name === name).standing !== "baseline");
  if (!known.length) return h("p", { class: "m-quiet" }, words.maintain.no_curves);
  const points = known.flatMap((name) => curves[name]);
  const most = Math.max(...points.map(([step]) => step)) || 1;
  const values = points.map(([, value]) => value);
  const low = Math.min(...values), high = Math.max(...values);
  const at = ([step, value]) => [EDGE + (step / most) * (WIDTH - 2 * EDGE), HEIGHT - EDGE - ((value - low) / ((high - low) || 1)) * (HEIGHT - 2 * EDGE)];
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": tell("curves", { count: known.length }) });
  svg.append(
    shape("line", { x1: EDGE, x2: WIDTH - EDGE, y1: HEIGHT - EDGE, y2: HEIGHT - EDGE, class: "axis" }),
    written(EDGE, HEIGHT - 12, "0"), written(WIDTH - EDGE, HEIGHT - 12, tell("steps_count", { count: most }), "end"),
    written(EDGE, EDGE - 12, tell("bits_from_to", { high: high.toFixed(3), low: low.toFixed(3) })));
  known.forEach((name, place) => {
    const own = curves[name].map(at);
    svg.append(shape("polyline", { points: own.map((point) => point.map((one) => one.toFixed(1)).join(",")).join(" "), ...look(place) }),
      shape("circle", { cx: own.at(-1)[0], cy: own.at(-1)[1], r: 3.5, ...look(place) }));
  });
  const legend = h("ul", { class: "m-legend" }, ...known.map((name, place) => h("li", {}, key(place), name)));
  return h("figure", { class: "m-curves" }, svg, h("figcaption", {}, legend));
}

function look(place) {
  const round = Math.floor(place / COLOURS);
  return { class: `curve curve-${place % COLOURS}`, ...(round ? { "stroke-dasharray": `${6 - round} ${2 + round}` } : {}) };
}

function key(place) {
  const svg = shape("svg", { viewBox: "0 0 24 8", "aria-hidden": "true" });
  svg.append(shape("line", { x1: 0, x2: 24, y1: 4, y2: 4, ...look(place) }));
  return svg;
}

function written(x, y, text, anchor = "start") {
  const element = shape("text", { x, y, "text-anchor": anchor });
  element.textContent = text;
  return element;
}

function shape(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
