// The line at the head of the chat: which model answers, or why none does.

import { byId, h, say, words } from "./dom.js";
import { inOurWords } from "./server.js";
import { roundOf } from "./swap.js";

/** `told`: the state as the server tells it; `reached`: whether it still does. */
export function drawModel(told, reached) {
  const { state, model } = told;
  const { name, round, gguf_sha256: sha } = model ?? {};
  const isNamed = reached && state === "ready" && sha;
  const roundWords = roundOf({ round });
  const text = !reached ? words.unreachable : state !== "ready" ? words[state] : sha ? `${name} · ${roundWords}` : name;
  const place = byId("model");
  if (place.textContent !== text) place.replaceChildren(isNamed ? whoAnswers(name, roundWords) : text);
  place.dataset.state = reached ? state : "failed";
  place.title = sha ? say("model_title", { name, round: roundWords, sha: sha.slice(0, 8) }) : inOurWords(told);
}

/** The name, which a narrow page cuts short, and the round. */
function whoAnswers(name, roundWords) {
  return h("span", {}, h("span", { class: "called" }, name), ` · ${roundWords}`);
}
