// What the places of the maintainer's tab build with: tables, badges, a dialog that asks before something is done,
// and a look at the server every few seconds.

import { byId, h, iconButton, say, words } from "./dom.js";

/** A word of this tab with its {braces} filled in. */
export const tell = (name, values = {}) => say(`maintain.${name}`, values);

/** The word for something that the server names; the name itself where there is none. */
export function named(group, name) {
  return words.maintain[group]?.[name] ?? String(name).replaceAll("_", " ");
}

/** A line that says how something went; those who listen are told. */
export function statusLine() {
  const line = h("p", { class: "m-status", role: "status" });
  const write = (text, kind = "") => {
    line.textContent = text;
    line.dataset.kind = kind;
  };
  return { line, write };
}

/** Does something that needs the server; a fault stands in `status`, and undefined comes back. */
export async function attempt(status, work) {
  try {
    return await work();
  } catch (fault) {
    status.write(fault.message && fault.message.includes(" ") ? fault.message : words.no_server, "fault");
    return undefined;
  }
}

/** Runs `work` now and again after each pause, until the function that comes back is called. */
export function every(milliseconds, work) {
  let timer, isOver = false;
  const turn = async () => {
    if (!document.hidden) await work();
    if (!isOver) timer = setTimeout(turn, milliseconds);
  };
  turn();
  return () => { isOver = true; clearTimeout(timer); };
}

/** A table that becomes a list of cards where it is narrow. A row is a list of texts or elements; what is short stays
 * on one line.
 */
export function table(caption, heads, rows) {
  const isShort = (cell) => typeof cell === "number" || (typeof cell === "string" && cell.length < 16);
  const cells = (row) => row.map((cell, place) => h(place ? "td" : "th", {
    ...(place ? {} : { scope: "row" }), ...(isShort(cell) ? { "data-kind": "number" } : {}), "data-head": heads[place],
  }, cell ?? ""));
  return h("table", { class: "m-table" },
    h("caption", { class: "unseen" }, caption),
    h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, ...rows.map((row) => h("tr", {}, ...cells(row)))));
}

/** A word on a ground of its own: good, bad, open or quiet. */
export function badge(text, kind = "quiet") {
  return h("span", { class: "m-badge", "data-kind": kind }, text);
}

const KINDS = { PROMOTE: "good", HOLD: "open", REJECT: "bad" };

export function verdictBadge(word) {
  return word ? badge(named("verdicts", word), KINDS[word]) : badge(words.maintain.no_verdict);
}

export function button(text, onclick, { strong = false, ...more } = {}) {
  return h("button", { type: "button", class: strong ? "strong" : "plain", onclick, ...more }, text);
}

/** One choice out of several: [[value, text], ...]. */
export function select(label, options, value, onchange = () => {}) {
  const box = h("select", { onchange: () => onchange(box.value) });
  fill(box, options, value);
  return { field: h("label", { class: "m-field" }, h("span", {}, label), box), box };
}

export function fill(box, options, value) {
  box.replaceChildren(...options.map(([name, text]) => h("option", { value: String(name) }, text)));
  box.value = options.some(([name]) => String(name) === String(value)) ? String(value) : String(options[0]?.[0] ?? "");
}

export function textField(label, note = "", attributes = {}) {
  const box = h(attributes.rows ? "textarea" : "input", { ...(attributes.rows ? {} : { type: "text" }), dir: "auto", ...attributes });
  return { field: h("label", { class: "field" }, h("span", {}, label), box, note ? h("small", {}, note) : null), box };
}

/** A disclosure that is filled when it is opened. */
export function disclosure(summary, ...content) {
  return h("details", { class: "m-more" }, h("summary", {}, summary), ...content);
}

/** Text of a log, at its end. */
export function logBox(label) {
  const box = h("pre", { class: "m-log", tabindex: "0", role: "region", "aria-label": label });
  const show = (text) => {
    if (box.textContent === text) return;
    const wasAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    box.textContent = text;
    if (wasAtEnd) box.scrollTop = box.scrollHeight;
  };
  return { box, show };
}

/** Asks in a dialog before something is done. `act` does it and may throw: then its sentence stands there. */
export function confirm({ title, content, yes, act }) {
  return new Promise((decided) => {
    const status = statusLine();
    const strong = h("button", { type: "submit", class: "strong" }, yes);
    const form = h("form", { method: "dialog", novalidate: true },
      h("header", {}, h("h2", { id: "m-asked" }, title), iconButton("close", words.close, () => dialog.close())),
      ...content, status.line,
      h("footer", { class: "buttons" }, button(words.maintain.cancel, () => dialog.close()), strong));
    const dialog = h("dialog", { class: "ask m-ask", "aria-labelledby": "m-asked" }, form);
    let done;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      strong.disabled = true;
      status.write(words.maintain.working);
      done = await attempt(status, act);
      strong.disabled = false;
      if (done !== undefined) dialog.close();
    });
    dialog.addEventListener("close", () => { dialog.remove(); decided(done); });
    byId("backtalk").append(dialog);
    dialog.showModal();
  });
}

export function megabytes(bytes) {
  return bytes ? tell("megabytes", { count: (bytes / 1e6).toLocaleString(document.documentElement.lang || "en", { maximumFractionDigits: 1 }) }) : "";
}

export function moment(iso) {
  const at = iso ? new Date(iso) : null;
  return at && !Number.isNaN(at.getTime()) ? at.toLocaleString(document.documentElement.lang || "en", { dateStyle: "medium", timeStyle: "short" }) : "";
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  return seconds < 90 ? tell("seconds", { count: Math.round(seconds) }) : tell("minutes", { count: Math.round(seconds / 60) });
}

export function number(value, digits) {
  return value === null || value === undefined ? "" : value.toFixed(digits);
}
