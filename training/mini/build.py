"""`backtalk mini build`: trains the bundled model from its corpus and writes it whole to models/mini.

Dialogues are generated, trained on and forgotten; nothing is downloaded. Killed at any moment, the next
call goes on from its newest checkpoint in BACKTALK_HOME/mini-build. The folder that is written is finished
when it has a card.
"""

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtalk.config import add_flags, from_sources, to_plain
from backtalk.files import canonical_json
from backtalk.home import home
from backtalk.progress import Progress
from backtalk.verb import Parser, report_json
from training.mini import corpus, release
from training.mini.recipe import Recipe

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from training.mini.trainer import Trainer

OUT = Path(__file__).resolve().parents[2] / "models" / "mini"
SPEED_STEPS = 50  # steps over which the speed on the live line is measured
AFTER_TRAINING = ("blend",)  # knobs that decide on what is released of a training and not on the training
SAMPLE = 1000  # dialogues that tell one corpus from another


def build(recipe: Recipe, out: Path = OUT, compiled: bool = True) -> Path:
    """Trains as `recipe` says, or goes on where a killed build stopped, and writes the model to `out`."""
    from training.mini import checkpoint

    folder = home() / "mini-build"
    start = release.start_of(recipe)  # read now: `out` may be the folder of the base
    progress = Progress()
    progress.report("mini build: reading the corpus")
    tokenizer = tokenizer_of(recipe)
    trainer = new_trainer(recipe, tokenizer, compiled)
    fingerprint = fingerprint_of(recipe)
    if checkpoint.restore(trainer, folder, fingerprint):
        progress.done(f"mini build: going on from step {trainer.steps:,}")
    train(trainer, tokenizer, progress, lambda: checkpoint.save(trainer, folder, fingerprint))
    progress.done(f"mini build: {trainer.tokens:,} tokens in {trainer.seconds / 60:.0f} minutes")
    return release.write(trainer, tokenizer, out, start)


def tokenizer_of(recipe: Recipe) -> "Tokenizer":
    """The tokenizer that the recipe's corpus gives, the same each time, or that of its base."""
    from training.mini.tokenizer import load_tokenizer, train_tokenizer

    return load_tokenizer(Path(recipe.base)) if recipe.base else train_tokenizer(_texts(recipe))


def new_trainer(recipe: Recipe, tokenizer: "Tokenizer", compiled: bool) -> "Trainer":
    """A model with random weights or those of the recipe's base, ready for its first step."""
    from training.mini import tokenizer as names
    from training.mini.model import configuration, load_model, new_model
    from training.mini.trainer import Trainer

    if recipe.base:
        return Trainer(load_model(Path(recipe.base)), recipe, compiled)

    begin, end, pad = (
        names.id_of(tokenizer, name) for name in (names.BEGIN_OF_TEXT, names.END_OF_TURN, names.PAD)
    )
    config = configuration(tokenizer.get_vocab_size(), begin, end, pad)
    return Trainer(new_model(config, recipe.seed), recipe, compiled)


def train(trainer: "Trainer", tokenizer: "Tokenizer", progress: Progress, save: Any) -> None:
    """Steps until the budget is spent; `save` is called every `checkpoint_every` steps and at the end."""
    from training.mini.batches import chapter_batches
    from training.mini.tokenizer import PAD, RowWriter, id_of

    recipe, writer, pad = trainer.recipe, RowWriter(tokenizer), id_of(tokenizer, PAD)
    speed = Speed(trainer)
    while not trainer.finished:
        batches = chapter_batches(corpus.dialogues, writer, recipe, trainer.chapter, pad)
        for batch in islice(batches, trainer.place, None):
            loss = trainer.step(batch)
            progress.report(speed.line(loss))
            if trainer.finished:
                break
            if trainer.steps % recipe.checkpoint_every == 0:
                save()
        else:
            trainer.turn_page()
    save()


class Speed:
    """The live line: where the training stands, how fast it goes, how long it will take."""

    def __init__(self, trainer: "Trainer"):
        self._trainer = trainer
        self._loss = 0.0
        self._marks = [(time.monotonic(), trainer.tokens)]

    def line(self, loss: float) -> str:
        trainer = self._trainer
        self._loss = loss if len(self._marks) == 1 else 0.95 * self._loss + 0.05 * loss
        self._marks = [*self._marks[-SPEED_STEPS:], (time.monotonic(), trainer.tokens)]
        (since, before), (now, tokens) = self._marks[0], self._marks[-1]
        speed = (tokens - before) / max(now - since, 1e-9)
        left = (trainer.recipe.tokens - tokens) / max(speed, 1e-9) / 60
        return (
            f"mini build: step {trainer.steps:,} · {tokens / trainer.recipe.tokens:.1%} · "
            f"loss {self._loss:.3f} · rate {trainer.rate:.2f} · {speed:,.0f} tokens/s · {left:.0f} min left"
        )


def fingerprint_of(recipe: Recipe) -> str:
    """Tells apart recipes and corpora: a checkpoint made with another one must not be continued."""
    import hashlib

    taught = {name: value for name, value in to_plain(recipe).items() if name not in AFTER_TRAINING}
    sample = [list(d.messages) for d in islice(corpus.dialogues(recipe.seed), SAMPLE)]
    return hashlib.sha256(canonical_json([taught, sample])).hexdigest()


def _texts(recipe: Recipe) -> Iterator[str]:
    for dialogue in islice(corpus.dialogues(recipe.seed), recipe.tokenizer_dialogues):
        for message in dialogue.messages:
            yield from (message["role"], "\n\n", message["content"])


def main(argv: list[str]) -> int:
    """`backtalk mini build`."""
    parser = Parser(
        "mini build",
        "Trains the bundled model from its corpus (45 minutes on 2 cores) and writes it to models/mini.",
        example="backtalk mini build\nbacktalk mini build --tokens 2000000 --out /tmp/small",
    )
    add_flags(parser, Recipe)
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write (models/mini)")
    parser.add_json()
    args = parser.parse_args(argv)
    out = build(from_sources(Recipe, flags=vars(args)), args.out)
    print(f'{out} is written; try it: backtalk ask "where is my order 4821?" --model {out}')
    if args.json:
        report_json({"path": str(out)})
    return 0
