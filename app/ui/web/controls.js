// What the visitor sets beside the conversation: the history switch under the box, and the settings sheet.

import { bounds, byId, defaults, h, iconButton, languages, longest, say, words } from "./dom.js";
import * as store from "./store.js";

const HISTORIES = ["full", "last_n", "off"];
const SLIDERS = { temperature: 0.05, top_p: 0.05, max_tokens: 16 };
const NUMBERS = ["last_n", "seed"];
const THEMES = ["", "light", "dark"];

/** The settings as the server wants them; what this browser kept of another version is left out. */
export function current() {
  const kept = store.controls.read();
  const known = Object.entries(kept).filter(([name, value]) => name in defaults && typeof value === typeof defaults[name]);
  return { ...defaults, ...Object.fromEntries(known) };
}

function set(name, value) {
  store.controls.write({ ...current(), [name]: value });
}

export function drawHistory() {
  const { history, last_n: n } = current();
  const pick = (mode) => h("label", { title: say(`history_title_${mode}`, { n }) },
    h("input", { type: "radio", name: "history", value: mode, checked: mode === history, onchange: () => set("history", mode) }),
    h("span", {}, say(`history_${mode}`, { n })));
  byId("history").replaceChildren(h("legend", {}, words.history), ...HISTORIES.map(pick));
}

/** Opens the settings; `consent` says what may leave this machine, as a line and a note on changing it. */
export function openSettings(consent) {
  draw(consent);
  byId("settings").showModal();
}

export function drawThemes() {
  const chosen = store.theme.read();
  const change = (name) => () => { store.theme.write(name); applyTheme(name); };
  const pick = (name) => h("label", {}, h("input", { type: "radio", name: "theme", value: name, checked: name === chosen, onchange: change(name) }),
    h("span", {}, words[`theme_${name || "system"}`]));
  byId("theme").replaceChildren(...THEMES.map(pick));
  applyTheme(chosen);
}

function applyTheme(name) {
  document.documentElement.dataset.theme = name;
  const isDark = name === "dark" || (!name && matchMedia("(prefers-color-scheme: dark)").matches);
  document.body.classList.toggle("dark", isDark);  // Gradio's own colours follow
}

function draw(consent) {
  const values = current();
  const reset = () => { store.controls.write({ ...defaults, history: current().history }); draw(consent); drawHistory(); };
  byId("settings-form").replaceChildren(
    h("header", {}, h("h2", { id: "settings-title" }, words.settings), iconButton("close", words.close, () => byId("settings").close())),
    systemPrompt(values.system_prompt),
    ...Object.keys(SLIDERS).map((name) => slider(name, values[name])),
    ...NUMBERS.map((name) => number(name, values[name])),
    h("section", { class: "field" }, h("h3", {}, words.consent_open), h("p", { class: "line" }, ...consent.line()), h("small", {}, consent.note())),
    languageChoice(),
    h("footer", {}, h("button", { type: "button", class: "plain", onclick: reset }, words.defaults),
      h("button", { type: "submit", class: "strong" }, words.close)));
}

/** Each language by its own name; the page is drawn anew in the one that is chosen. */
function languageChoice() {
  const options = [["", words.language_system], ...Object.entries(languages)];
  const box = h("select", { onchange: () => { store.language.write(box.value); location.reload(); } },
    ...options.map(([tag, name]) => h("option", { value: tag, ...(tag && { lang: tag }), selected: tag === store.language.read() }, name)));
  return h("label", { class: "field" }, h("span", {}, words.language), box);
}

function systemPrompt(value) {
  const box = h("textarea", { rows: "3", dir: "auto", maxlength: String(longest.system_prompt), oninput: () => set("system_prompt", box.value) });
  box.value = value;
  return field("system_prompt", box);
}

function slider(name, value) {
  const [lowest, highest] = bounds[name];
  const shown = h("output", {}, String(value));
  const oninput = () => { shown.textContent = box.value; set(name, Number(box.value)); };
  const box = h("input", { type: "range", min: String(lowest), max: String(highest), step: String(SLIDERS[name]), oninput });
  box.value = value;
  return field(name, box, shown);
}

function number(name, value) {
  const [lowest, highest] = bounds[name];
  const fault = h("small", { class: "fault", role: "status" });
  const oninput = () => {
    const given = Number(box.value);
    const isRight = box.value.trim() !== "" && Number.isInteger(given) && given >= lowest && given <= highest;
    fault.textContent = isRight ? "" : say("out_of_bounds", { lowest, highest });
    box.setAttribute("aria-invalid", String(!isRight));
    if (isRight) { set(name, given); drawHistory(); }
  };
  const box = h("input", { type: "number", min: String(lowest), max: String(highest), step: "1", inputmode: "numeric", oninput });
  box.value = value;
  return field(name, box, null, fault);
}

function field(name, box, shown = null, fault = null) {
  const note = h("small", { id: `${name}-note` }, words[`${name}_note`]);
  box.setAttribute("aria-label", words[name]);
  box.setAttribute("aria-describedby", note.id);
  return h("label", { class: "field" }, h("span", {}, words[name], shown), box, note, fault);
}
