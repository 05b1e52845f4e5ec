// The next curated set before it is made: what it would hold, and why it leaves out the rest.

import { h, words } from "./dom.js";
import { attempt, button, named, select, statusLine, table, tell } from "./maintain-parts.js";

const INCLUDES = ["accepted", "agreed", "all"];
const FILES = ["sft", "kto", "dpo", "eval"];

export function draw(place, page) {
  const status = statusLine();
  const shown = h("div", { class: "m-stack" });
  const include = select(words.maintain.include, INCLUDES.map((name) => [name, named("includes", name)]), "accepted", look);
  const make = button(words.maintain.curate, curate, { strong: true });

  async function look() {
    status.write(words.maintain.counting);
    make.disabled = true;
    const found = await attempt(status, () => page.call("set_preview", { include: include.box.value }));
    if (!found) return;
    make.disabled = !found.used;
    status.write(tell("set_used", { used: found.used, flags: found.flags }));
    shown.replaceChildren(...parts(found));
  }

  async function curate() {
    make.disabled = true;
    status.write(words.maintain.working);
    const made = await attempt(status, () => page.call("set_curate", { include: include.box.value }));
    if (!made) { make.disabled = false; return; }
    await look();
    status.write(tell("set_made", { id: made.id, used: made.used }), "done");
  }

  place.append(h("p", { class: "m-quiet" }, words.maintain.set_note), h("div", { class: "m-filters" }, include.field, make), status.line, shown);
  look();
}

function parts({ rows, unused }) {
  const files = FILES.map((name) => [`${name}.jsonl`, rows[name], named("files", name)]);
  const reasons = Object.entries(unused).map(([reason, count]) => [named("unused", reason), count]);
  return [
    h("h2", {}, words.maintain.set_files),
    table(words.maintain.set_files, [words.maintain.file, words.maintain.rows, words.maintain.teaches], files),
    h("h2", {}, words.maintain.set_unused),
    reasons.length ? table(words.maintain.set_unused, [words.maintain.reason, words.maintain.flags], reasons)
      : h("p", { class: "m-quiet" }, words.maintain.all_used),
  ];
}
