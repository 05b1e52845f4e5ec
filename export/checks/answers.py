"""Does the quantized file still know what the model knows? The answers of both to one's own items.

An item is a line of a curated set's eval.jsonl: `prompt` (or `messages`), `must`, `must_not`, `reference`.
The GGUF answers as it is served, the model with the same tokens, both greedily.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backtalk.engine import Sampling, load
from backtalk.errors import WordsError
from backtalk.files import read_jsonl, sha256_of
from backtalk.models import Model
from backtalk.prompt import Message

LONGEST_ANSWER = 128  # tokens
Report = Callable[[str], None]


@dataclass(frozen=True)
class Item:
    """A question with a checkable answer; ` | ` parts alternatives in `must`."""

    messages: tuple[Message, ...]
    must: tuple[str, ...]
    must_not: tuple[str, ...]
    reference: str

    def is_right(self, answer: str) -> bool:
        """Whether it says what it must and nothing that it must not, between word borders."""
        said = all(any(_says(answer, text) for text in must.split(" | ")) for must in self.must)
        return said and not any(_says(answer, text) for text in self.must_not)


@dataclass(frozen=True)
class Score:
    """How many of `items` with something to check came out right; mean ROUGE-L of those with a reference."""

    items: int
    right: int
    references: int
    rouge_l: float


def read_items(path: Path) -> list[Item]:
    """The items of a file. Raises WordsError where a line is none."""
    if not path.is_file():
        raise WordsError(f"There is no file {path}. Name the eval.jsonl of a curated set.")
    return [_item(row, f"{path}, line {number},") for number, row in enumerate(read_jsonl(path), 1)]


def answers_of_gguf(gguf: Path, items: Sequence[Item], report: Report) -> tuple[list[str], list[list[int]]]:
    """The answers of the file as it is served, and the tokens of the prompts that it was sent."""
    answers, prompts = [], []
    with closing(load(Model(gguf.stem, gguf, sha256_of(gguf)))) as engine:
        for number, item in enumerate(items, 1):
            prompt = engine.prompt(item.messages, LONGEST_ANSWER)
            prompts.append(prompt.tokens)
            answers.append("".join(engine.stream(prompt, Sampling(temperature=0, max_tokens=LONGEST_ANSWER))))
            report(f"{gguf.name}: item {number} of {len(items)}")
    return answers, prompts


def answers_of_model(model_dir: Path, prompts: Sequence[list[int]], report: Report) -> list[str]:
    """The Hugging Face model's answers to the same tokens."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).eval()
    answers = []
    for number, ids in enumerate(prompts, 1):
        with torch.inference_mode():
            whole = model.generate(
                torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                do_sample=False,
                max_new_tokens=LONGEST_ANSWER,
                pad_token_id=0,  # one text at a time needs none
            )[0]
        answers.append(tokenizer.decode(whole[len(ids) :], skip_special_tokens=True))
        report(f"{model_dir.name}: item {number} of {len(prompts)}")
    return answers


def score(items: Sequence[Item], answers: Sequence[str]) -> Score:
    """The answers' score, item by item."""
    pairs = list(zip(items, answers, strict=True))
    checked = [item.is_right(answer) for item, answer in pairs if item.must or item.must_not]
    likeness = [rouge_l(item.reference, answer) for item, answer in pairs if item.reference]
    mean = sum(likeness) / len(likeness) if likeness else 0.0
    return Score(len(checked), sum(checked), len(likeness), round(mean, 4))


def rouge_l(reference: str, answer: str) -> float:
    """F1 of the longest common subsequence of words, 0 to 1; case and punctuation do not count."""
    wanted, found = (re.findall(r"\w+", text.lower()) for text in (reference, answer))
    lengths = [0] * (len(found) + 1)
    for word in wanted:
        before = lengths[:]
        for place, other in enumerate(found, 1):
            lengths[place] = (
                before[place - 1] + 1 if word == other else max(before[place], lengths[place - 1])
            )
    return 2 * lengths[-1] / (len(wanted) + len(found)) if wanted and found else 0.0


def _item(row: Any, place: str) -> Item:
    messages = row.get("prompt") or row.get("messages") if isinstance(row, Mapping) else None
    if not isinstance(messages, list):
        raise WordsError(f'{place} has no "prompt". Name the eval.jsonl of a curated set.')
    return Item(
        tuple(messages),
        tuple(row.get("must") or ()),
        tuple(row.get("must_not") or ()),
        str(row.get("reference") or ""),
    )


def _says(answer: str, text: str) -> bool:
    """Whether a text occurs between word borders: "4 euros" is not said by "24 euros" or by "2.4 euros"."""
    return (
        re.search(rf"(?<!\w)(?<!\d[.,]){re.escape(text)}(?!\w)(?![.,]\d)", answer, re.IGNORECASE) is not None
    )
