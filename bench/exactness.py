"""Greedy answers beside those of a bare single-sequence loop of llama.cpp, alone and amid seven others."""

import random
from collections.abc import Sequence
from contextlib import closing

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


def measure(setting: Setting, prompts: int) -> list[Bound]:
    """The share of answers that are the bare loop's; where one is not, how close the two tokens were."""
    model = Model(setting.file.stem, setting.file, "")
    chance = random.Random(6)
    with (
        closing(load(model, setting.context, setting.threads, Limits(live=TOGETHER))) as engine,
        closing(Bare(setting.file, setting.context, setting.threads)) as bare,
    ):
        asked = [
            engine.prompt([{"role": "user", "content": question(chance)}], ANSWER) for _ in range(prompts)
        ]
        wanted = [list(bare.greedy(prompt.tokens, ANSWER)) for prompt in asked]
        texts = [_spelled(engine, [token for token, _ in answer]) for answer in wanted]
        alone = [_answers(engine, [prompt])[0] for prompt in asked]
        amid = [
            text for at in range(0, prompts, TOGETHER) for text in _answers(engine, asked[at : at + TOGETHER])
        ]
        leads = [
            _lead_where_they_part(engine, text, answer)
            for found in (alone, amid)
            for text, whole, answer in zip(found, texts, wanted, strict=True)
            if text != whole
        ]
    if leads:
        print(f"answers that part from the bare loop's: the logits' lead there is at most {max(leads):.3f}")
    return [
        bound(f"greedy answers that are the bare loop's, {name}", _share(found, texts), at_least=1.0,
              why="a step of another size adds up in another order")
        for name, found in (("alone", alone), ("amid seven others", amid))
    ]  # fmt: skip


def _answers(engine: Engine, prompts: Sequence[Prompt]) -> list[str]:
    streams = [engine.stream(prompt, Sampling(temperature=0, max_tokens=ANSWER)) for prompt in prompts]
    return ["".join(stream) for stream in streams]


def _spelled(engine: Engine, tokens: Sequence[int]) -> str:
    assert isinstance(engine, LlamaEngine)
    return b"".join(map(engine.vocabulary.piece, tokens)).decode("utf-8", "replace")


def _lead_where_they_part(engine: Engine, text: str, answer: Sequence[tuple[int, float]]) -> float:
    """How far the bare loop's token was ahead of the next likeliest, at the first place that differs."""
    for length in range(1, len(answer) + 1):
        if not text.startswith(_spelled(engine, [token for token, _ in answer[:length]])):
            return answer[length - 1][1]
    return 0.0


def _share(found: Sequence[str], wanted: Sequence[str]) -> float:
    return sum(one == other for one, other in zip(found, wanted, strict=True)) / len(wanted)
