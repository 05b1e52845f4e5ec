// The quiet line under an answer: what was sent, who answered, how fast, and why it ended early.

import { say, words } from "./dom.js";
import { roundOf } from "./swap.js";

/** `facts` as the server tells them; the words are this language's. */
export function quietLine({ turns, tokens, left_out: leftOut, model, round, sha, speed, end }) {
  const early = words.line.early;
  return [
    tokens ? `${sent(turns)}, ${say("line.tokens", { count: tokens })}` : sent(turns),
    leftOut === 1 ? words.line.left_out_one : leftOut ? say("line.left_out", { count: leftOut }) : "",
    round === null ? model : say("model_called", { name: model, round: roundOf({ round }) }),
    sha,
    speed ? say("line.speed", { count: speed }) : "",
    early[end] ?? "",
  ].filter(Boolean).join(" · ");
}

function sent(turns) {
  if (!turns) return words.line.only;
  return turns === 1 ? words.line.turn : say("line.turns", { count: turns });
}
