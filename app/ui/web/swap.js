// Who answers: a quiet line in the thread where the model changed, live and whenever the conversation is read.

import { h, say, words } from "./dom.js";

/** Whether two answers, or an answer and the server, speak of the same model. */
export function isSame(one, other) {
  return one?.gguf_sha256 === other?.gguf_sha256 && one?.name === other?.name && one?.round === other?.round;
}

/** "round 3", or "base" */
export function roundOf({ round }) {
  return round ? say("later_round", { round }) : words.base_round;
}

/** What to call a model where another one answered before: its round, with its name where that does not tell. */
export function called(model, before) {
  const isEnough = model.round && model.round !== before.round;
  return isEnough ? roundOf(model) : say("model_called", { name: model.name, round: roundOf(model) });
}

/** Where on a path another model begins to answer: [place, model, the one before] for each. `now` answers what
 * comes next: the question at the end of the path if an answer is being written, else the next one. */
export function changes(path, now, isWriting) {
  const found = [];
  let before = null;
  const meet = (model, place) => {
    if (before && !isSame(before, model)) found.push([place, model, before]);
    before = model;
  };
  path.forEach((message, place) => {
    if (message.role === "assistant") meet(message.model, path[place - 1]?.role === "user" ? place - 1 : place);
  });
  const isAsked = path.at(-1)?.role === "user";
  if (now && (isWriting || !isAsked)) meet(now, isAsked ? path.length - 1 : path.length);
  return found;
}

/** The line itself. */
export function changeLine(model, before) {
  return h("p", { class: "swapped" }, say("now_answering", { model: called(model, before) }));
}
