// The tabs: one section is shown at a time, by the address (#/compare). What a tab needs comes when it is opened
// first: ./NAME.css, and ./NAME.js with open(section, page), called at every opening, and maybe close().

import { byId, h, say, toast, views as known, words } from "./dom.js";
import * as server from "./server.js";

const CHAT = "chat", MAINTAIN = "maintain";
const loaded = new Map();  // by name: the promise of the module

let page = null;  // what a tab may use of the page; there once the visitor has come in
let current = CHAT, opened = null;

/** Shows the tab that the address names; what is in it is drawn after `begin`. */
export function prepare() {
  for (const link of byId("tabs").querySelectorAll("[data-view]")) {
    if (!known.includes(link.dataset.view)) link.remove();
  }
  byId("tabs").hidden = known.length < 2;
  addEventListener("hashchange", settle);
  settle();
}

/** The visitor is here. `actions`: visitor(), role(), lang. */
export function begin(actions) {
  page = {
    ...actions,
    call: server.call,
    stream: async (name, request, onEvent) => { for await (const step of server.stream(name, request)) onEvent(step); },
    toast,
    words,
  };
  settle();
}

/** Somebody signed in or out: the row and the tab in view say so. */
export function roleChanged() {
  if (current === MAINTAIN) leave();
  settle();
}

/** Whether the chat is what is shown. */
export const isChat = () => current === CHAT;

export function go(name) {
  location.hash = name === CHAT ? "" : `#/${name}`;
}

function settle() {
  const named = /^#\/(\w+)$/.exec(location.hash)?.[1] ?? CHAT;
  const name = known.includes(named) ? named : CHAT;
  if (name !== current) leave();
  current = name;
  const isMaintainer = page?.role() === "maintainer";
  for (const link of byId("tabs").querySelectorAll("[data-view]")) {
    const { view } = link.dataset;
    if (view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    link.hidden = view === MAINTAIN && !isMaintainer && name !== MAINTAIN;
  }
  for (const section of byId("backtalk").querySelectorAll(".view")) section.hidden = section.id !== `view-${name}`;
  document.title = name === CHAT ? words.title : say("tab_title", { tab: words[`tab_${name}`] });
  if (name !== CHAT && page && opened !== name) open(name);
}

async function open(name) {
  const section = byId(`view-${name}`);
  opened = name;
  if (name === MAINTAIN && page.role() !== "maintainer") return section.replaceChildren(onlyLine(words.maintainers_only));
  try {
    if (!loaded.has(name)) loaded.set(name, load(name));
    const view = await loaded.get(name);
    if (opened === name) await view.open(section, page);
  } catch (fault) {
    const isKnown = fault instanceof server.Refused && fault.message;
    if (!isKnown) loaded.delete(name);  // it is asked for again at the next opening
    if (opened === name) section.replaceChildren(onlyLine(isKnown ? fault.message : words.tab_failed));
  }
}

function leave() {
  const name = opened;
  opened = null;
  if (name) loaded.get(name)?.then((view) => view.close?.()).catch(() => {});
}

async function load(name) {
  const style = h("link", { rel: "stylesheet", href: new URL(`./${name}.css`, import.meta.url).href });
  const isStyled = new Promise((done) => { style.onload = style.onerror = done; });
  document.head.append(style);
  const [view] = await Promise.all([import(`./${name}.js`), isStyled]);
  return view;
}

function onlyLine(text) {
  return h("p", { class: "only-line", role: "status" }, text);
}
