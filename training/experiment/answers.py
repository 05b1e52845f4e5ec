"""What a finished configuration says to the test rows: asked once, kept, scored as `backtalk evaluate` does.

examine("c3", load, items, base, renderer, folder / "test", longest=64)     by whoever has its weights
scored = scores("c3", items, folder / "test")                               by whoever compares
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from training.base import Base
from training.evaluation.hugging_face import CONTEXT, HuggingFace
from training.evaluation.items import Item
from training.evaluation.kept import Kept, key
from training.evaluation.scores import Scored, score
from training.experiment.measure import TOKENS_AT_ONCE, Rows
from training.machine import device
from training.render import Renderer


class Resident(HuggingFace):
    """A model that is in memory already, asked as one from a folder would be; beside others that train."""

    def __init__(self, name: str, model: Any, base: Base) -> None:
        from transformers import AutoTokenizer

        self.name, self.inputs = name, []
        self.tokens_at_once = TOKENS_AT_ONCE[device()]
        self._tokenizer = AutoTokenizer.from_pretrained(base.folder, local_files_only=True)
        bare = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._model = bare.eval()
        self._context = min(CONTEXT, getattr(bare.config, "max_position_embeddings", None) or CONTEXT)
        self._template = self._chat_template()


def examine(
    name: str,
    load: Callable[[], Any],
    items: Sequence[Item],
    base: Base,
    renderer: Renderer,
    folder: Path,
    longest: int,
    report: Callable[[str], None] = lambda text: None,
) -> None:
    """Keeps an answer to every item, of at most `longest` tokens, and its bits.

    What `folder` has of an interrupted examination is not asked again; where it has all, nothing is loaded.
    """
    with closing(Kept(folder / f"{name}.jsonl")) as kept:
        if kept.unanswered(items) or kept.unread(items):
            _complete(kept, Resident(name, load(), base), items, Rows(items, renderer, base), longest, report)


def scores(name: str, items: Sequence[Item], folder: Path) -> list[Scored]:
    """Every item with its answer and its bits, all of which were kept."""
    with closing(Kept(folder / f"{name}.jsonl")) as kept:
        return [score(item, kept.answers[key(item)], kept.bits[key(item)]) for item in items]


def _complete(
    kept: Kept,
    model: Resident,
    items: Sequence[Item],
    rows: Rows,
    longest: int,
    report: Callable[[str], None],
) -> None:
    asked = kept.unanswered(items)
    for done, (item, answer) in enumerate(model.ask(asked, longest), start=1):
        kept.keep_answer(item, answer)
        report(f"{model.name}: answered {done:,} of {len(asked):,} test rows")
    for item, bits in zip(items, rows.bits(model._model), strict=True):
        kept.keep_bits(item, bits)
