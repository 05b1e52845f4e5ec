// Elements, icons and words: what every other module builds with. Text always enters as text, never as HTML.

const data = JSON.parse(document.getElementById("backtalk-data").textContent);

export const { views, languages, bounds, longest, defaults, most_reasons: mostReasons, bundled } = data;
export const { language } = document.documentElement.dataset;
export const words = await (await fetch(new URL(`./${language}.json`, import.meta.url))).json();

/** The reasons that a flag may have, and the hazards, in the words of this language. */
export const taxonomy = inOurWords(data.taxonomy);

function inOurWords({ hazards, ...verdicts }) {
  const own = words.taxonomy ?? {};  // English has its words in the taxonomy itself
  for (const reason of Object.values(verdicts).flat().flatMap((group) => group.reasons)) {
    [reason.label, reason.hint] = own[reason.id] ?? [reason.label, reason.hint];
  }
  const named = Object.entries(hazards).map(([id, label]) => [id, own[id]?.[0] ?? label]);
  return { ...verdicts, hazards: Object.fromEntries(named) };
}

/** A word with its {braces} filled in; a tab's words have its name and a dot before theirs. */
export function say(name, values = {}) {
  const word = name.split(".").reduce((group, part) => group[part], words);
  return word.replace(/\{(\w+)\}/g, (_, key) => values[key] ?? "");
}

/** An element: h("button", { class: "tool", onclick }, "text", child). */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "icon") element.append(icon(value));
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else if (value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A button that shows only an icon: its name is for the tooltip and for those who do not see it. */
export function iconButton(name, label, onclick, attributes = {}) {
  return h("button", { type: "button", class: "tool", icon: name, "aria-label": label, title: label, onclick, ...attributes });
}

const DRAWINGS = {
  chat: "M4.5 5.5h15v10.5H11l-4.5 3.5V16h-2z",
  compare: "M4 5h6.5v14H4zM13.5 5H20v14h-6.5z",
  insights: "M4.5 19.5h15M7 16v-4M12 16V6M17 16V9",
  maintain: "M14.5 6.5a4 4 0 0 1 5-1l-2.7 2.7 1 1L20.5 6.5a4 4 0 0 1-5.5 5L8 18.5a1.8 1.8 0 0 1-2.5-2.5l7-7a4 4 0 0 1 2-2.5z",
  plus: "M12 5v14M5 12h14",
  panel: "M4 5.5h16v13H4zM9.5 5.5v13",
  sliders: "M4 8h9M17 8h3M4 16h3M11 16h9M15 5.7v4.6M9 13.7v4.6",
  up: "M12 19V5.5M6 11.5l6-6 6 6",
  down: "M12 5v13.5M6 12.5l6 6 6-6",
  stop: "M7.5 7.5h9v9h-9z",
  copy: "M9 9h10v10H9zM15 9V5H5v10h4",
  check: "M5 12.5l4.5 4.5L19 7.5",
  good: "M7.5 20V10.5L11.5 4c1.6 0 2.4 1.2 2 2.7L12.8 9.5h4.9c1.3 0 2.2 1.2 1.9 2.5l-1.3 6c-.2 1.2-1.2 2-2.4 2zM7.5 20H4.5v-9.5h3",
  bad: "M16.5 4v9.5L12.5 20c-1.6 0-2.4-1.2-2-2.7l.7-2.8H6.3c-1.3 0-2.2-1.2-1.9-2.5l1.3-6c.2-1.2 1.2-2 2.4-2zM16.5 4h3v9.5h-3",
  flag: "M6 21V4M6 4.5c4-2 7 2 12 0v9c-5 2-8-2-12 0",
  again: "M19.5 12a7.5 7.5 0 1 1-2.2-5.3L19.5 9M19.5 4.5V9H15",
  undo: "M8.5 5L4.5 9l4 4M4.5 9h9.5a5 5 0 0 1 0 10H9",
  edit: "M4.5 19.5l.9-4L16 4.9a1.8 1.8 0 0 1 2.6 0l.5.5a1.8 1.8 0 0 1 0 2.6L8.5 18.6z",
  trash: "M5 7h14M10 7V4.5h4V7M7 7l.8 12.5h8.4L17 7",
  left: "M14.5 6l-6 6 6 6",
  right: "M9.5 6l6 6-6 6",
  close: "M6 6l12 12M18 6L6 18",
};

/** A line drawing in the colour of the text around it. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", DRAWINGS[name]);
  svg.append(path);
  return svg;
}

export function setIcon(button, name) {
  button.querySelector(".icon")?.remove();
  button.prepend(icon(name));
}

/** Writes the words into the shell, which comes with their names: $send becomes "Send". */
export function fillIn(shell) {
  const spoken = (text) => text.replace(/\$([a-z_]+)/g, (_, name) => words[name]);
  const walker = document.createTreeWalker(shell, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (node.nodeType === Node.TEXT_NODE) node.data = spoken(node.data);
    else for (const attribute of node.attributes) attribute.value = spoken(attribute.value);
  }
  for (const part of shell.querySelectorAll("[data-icon]")) part.prepend(icon(part.dataset.icon));
}

export const byId = (id) => document.getElementById(id);

/** Tells those who listen instead of look. */
export function speak(text) {
  byId("spoken").textContent = text;
}

let toastTimer;

/** A passing message with at most one action. */
export function toast(text, action = null, onaction = null) {
  const place = byId("toast");
  place.replaceChildren(text);
  if (action) {
    const done = () => { place.hidden = true; onaction(); };
    place.append(h("button", { type: "button", class: "plain", onclick: done }, action));
  }
  place.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { place.hidden = true; }, action ? 8000 : 3500);
}

/** A message that stays until it is replaced or taken away with an empty text. */
export function notice(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = !text;
}

export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // The clipboard is closed to pages that came over plain HTTP from another machine; this way is not.
    const box = h("textarea", { class: "unseen" });
    box.value = text;
    document.body.append(box);
    box.select();
    document.execCommand("copy");
    box.remove();
  }
}
