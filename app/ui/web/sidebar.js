// The conversations of this browser, newest first, under the day they were last used.

import { byId, h, iconButton, say, toast, words } from "./dom.js";
import * as store from "./store.js";

const DAY = 24 * 60 * 60 * 1000;

export function drawList(open, actions) {
  const entries = store.list();
  const parts = entries.length ? days(entries).flatMap(([day, some]) => [h("h3", {}, words[day]), ul(some, open, actions)]) : [h("p", { class: "line" }, words.no_conversations)];
  byId("list").replaceChildren(...parts);
}

export function toggleSide() {
  const shell = byId("backtalk");
  const isNarrow = matchMedia("(max-width: 760px)").matches;
  shell.classList.toggle(isNarrow ? "side-open" : "side-closed");
  settle();
  const isShown = sideShown();
  (isShown ? byId("side").querySelector("button") : byId("show-side")).focus();
}

export function closeSide() {
  if (byId("backtalk").classList.contains("side-open")) toggleSide();
}

/** What is out of sight is out of reach, for the Tab key too. */
export function settle() {
  const isShown = sideShown();
  byId("side").inert = !isShown;
  byId("main").inert = isShown && byId("backtalk").classList.contains("side-open") && matchMedia("(max-width: 760px)").matches;
  byId("show-side").setAttribute("aria-expanded", String(isShown));
}

function sideShown() {
  const { classList } = byId("backtalk");
  return matchMedia("(max-width: 760px)").matches ? classList.contains("side-open") : !classList.contains("side-closed");
}

function ul(entries, open, actions) {
  return h("ul", {}, ...entries.map((entry) => item(entry, open, actions)));
}

function item({ id, title }, open, actions) {
  const choose = h("button", { type: "button", class: "choose", dir: "auto", title, onclick: () => actions.open(id) }, title);
  if (id === open) choose.setAttribute("aria-current", "page");
  const drop = iconButton("trash", say("delete_conversation", { title }), () => remove(id, actions));
  return h("li", {}, choose, drop);
}

function remove(id, actions) {
  const kept = store.load(id);
  store.remove(id);
  actions.removed(id);
  byId("side").querySelector(".new").focus();
  toast(words.deleted, kept && words.undo_delete, () => { store.keep(kept); actions.open(id); });
}

function days(entries) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  const dayOf = ({ at }) => {
    const time = Date.parse(at);
    if (time >= midnight) return "today";
    return time >= midnight - DAY ? "yesterday" : "earlier";
  };
  return ["today", "yesterday", "earlier"].map((day) => [day, entries.filter((entry) => dayOf(entry) === day)]).filter(([, some]) => some.length);
}
