// The box in which a visitor writes, its button, and the hint below it.

import { byId, longest, setIcon, words } from "./dom.js";

const RIGHT_TO_LEFT = /^\P{L}*[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Syriac}\p{Script=Thaana}]/u;

/** Enter or the button asks; while an answer comes, the button stops it. */
export function prepare({ ask, stop, isBusy }) {
  const box = byId("message");
  box.addEventListener("input", () => { fit(); hint(""); });
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    ask(box.value);
  });
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    if (isBusy()) stop();
    else ask(box.value);
  });
  if (matchMedia("(hover: hover)").matches) focus();  // a phone would open its keyboard
}

export function write(text) {
  byId("message").value = text;
  fit();
}

export function focus() {
  byId("message").focus({ preventScroll: true });
}

export function hint(text) {
  byId("hint").textContent = text;
}

export function showBusy(isBusy) {
  const button = byId("send");
  button.setAttribute("aria-label", isBusy ? words.stop : words.send);
  button.title = isBusy ? words.stop : words.send;
  button.classList.toggle("stopping", isBusy);
  setIcon(button, isBusy ? "stop" : "up");
}

/** As high as its text, up to a part of the window. */
function fit() {
  const box = byId("message");
  const highest = innerHeight * 0.4;
  // dir="auto" would do it too, in a time that grows with the square of the text: a minute for a megabyte.
  box.dir = RIGHT_TO_LEFT.test(box.value.slice(0, 500)) ? "rtl" : "ltr";
  if (box.value.length > longest.message) { box.style.height = `${highest}px`; return; }
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight, highest)}px`;
}
