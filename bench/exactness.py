"""Greedy answers beside those of a bare single-sequence loop of llama.cpp, alone and amid seven others."""

import random
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing

from backtalk.engine import Engine, Limits, Sampling, load
from backtalk.engine.llama import LlamaEngine
from backtalk.models import Model
from backtalk.prompt import Prompt
from bench.bare import Bare
from bench.peers import Setting
from bench.report import Bound, bound
from bench.visitor import question

ANSWER = 48  # tokens
TOGETHER = 8
WHY = "llama.cpp adds up in another order when a call holds another number of tokens"

Answer = Sequence[tuple[int, float]]
"""Tokens, each with its logit's lead over the next likeliest."""


def measure(setting: Setting, prompts: int) -> list[Bound]:
    """The share of answers that are the bare loop's; where one is not, how close the two tokens were.

    The bare loop computes without flash attention, as the engine does, and once more with it, as llama.cpp by
    itself: it rounds otherwise, and random weights make much of it.
    """
    model = Model(setting.file.stem, setting.file, "")
    chance = random.Random(6)
    chats = [[{"role": "user", "content": question(chance)}] for _ in range(prompts)]
    with _engine(model, setting) as engine:
        asked = [engine.prompt(chat, ANSWER) for chat in chats]
        alone = [_answers(engine, [prompt])[0] for prompt in asked]
    with _engine(model, setting) as engine:  # another one, which knows none of these prompts yet
        groups = [asked[at : at + TOGETHER] for at in range(0, prompts, TOGETHER)]
        amid = [text for group in groups for text in _answers(engine, group)]
        bounds = []
        for settings, as_engine in (("without flash attention", True), ("as it is", False)):
            with closing(Bare(setting.file, setting.context, setting.threads, as_engine)) as bare:
                wanted = [list(bare.greedy(prompt.tokens, ANSWER)) for prompt in asked]
            for name, found in (("alone", alone), ("amid seven others", amid)):
                share = _share(engine, found, wanted, f"{name}, {settings}")
                bounds.append(bound(f"greedy answers that are the bare loop's, {settings}, {name}", share,
                                    at_least=1.0, why=WHY))  # fmt: skip
    return bounds


def _engine(model: Model, setting: Setting) -> AbstractContextManager[Engine]:
    return closing(load(model, setting.context, setting.threads, Limits(live=TOGETHER)))


def _answers(engine: Engine, prompts: Sequence[Prompt]) -> list[str]:
    streams = [engine.stream(prompt, Sampling(temperature=0, max_tokens=ANSWER)) for prompt in prompts]
    return ["".join(stream) for stream in streams]


def _spelled(engine: Engine, tokens: Sequence[int]) -> str:
    assert isinstance(engine, LlamaEngine)
    return b"".join(map(engine.vocabulary.piece, tokens)).decode("utf-8", "replace")


def _lead_where_they_part(engine: Engine, text: str, answer: Answer) -> float:
    """How far the bare loop's token was ahead of the next likeliest, at the first place that differs."""
    for length in range(1, len(answer) + 1):
        if not text.startswith(_spelled(engine, [token for token, _ in answer[:length]])):
            return answer[length - 1][1]
    return 0.0


def _share(engine: Engine, found: Sequence[str], wanted: Sequence[Answer], name: str) -> float:
    parted = [
        _lead_where_they_part(engine, text, answer)
        for text, answer in zip(found, wanted, strict=True)
        if text != _spelled(engine, [token for token, _ in answer])
    ]
    if parted:
        print(
            f"{name}: {len(parted)} of {len(wanted)} part, where the logits lead by {max(parted):.3f} at most"
        )
    return 1 - len(parted) / len(wanted)
