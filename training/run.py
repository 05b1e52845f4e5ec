"""One run, told in order: base, data, plan for this machine, model, steps, card.

`BACKTALK_HOME/runs/ID/` becomes the adapter with its card; `runs/ID.parts/` holds the checkpoints and goes
when the card is written. ID follows from the recipe and the sha256 of everything it reads, so the same recipe
on the same inputs finds its own run again, finished or not, and goes on with it.
"""

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from backtalk import __version__
from backtalk.card import NAME as CARD
from backtalk.card import Card, read_card, write_card
from backtalk.config import to_plain
from backtalk.errors import BacktalkError, WordsError
from backtalk.files import canonical_json, write_json, write_text, writing
from backtalk.home import home
from backtalk.progress import Progress
from training import backends, checkpoint, machine
from training.activations import bytes_of_step, checkpoints_layers
from training.base import Base, find_base
from training.data.load import Loaded, load
from training.metrics import Metrics, read_metrics
from training.picture import draw_loss
from training.recipe import Recipe
from training.render import Renderer, Row, render_all
from training.watch import Stop, Watch

LIBRARIES = ("accelerate", "peft", "safetensors", "tokenizers", "torch", "transformers", "trl")
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
LAST_STEPS = 0.1  # share of the steps whose mean loss the card names
Say = Callable[[str], None]


@dataclass(frozen=True)
class Ready:
    """What a run knows before it loads a model."""

    recipe: Recipe
    base: Base
    loaded: Loaded
    rows: list[Row]

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """Everything that is read, as the card names it."""
        return [*self.base.entries, *self.loaded.inputs]

    @property
    def id(self) -> str:
        """The run's name and 8 digits of what decides over it."""
        deciding = sorted((str(one.get("role")), str(one.get("sha256") or one)) for one in self.inputs)
        told = {"version": __version__, "recipe": to_plain(self.recipe), "inputs": deciding}
        return f"{self.recipe.name}-{hashlib.sha256(canonical_json(told)).hexdigest()[:8]}"

    @property
    def folder(self) -> Path:
        return home() / "runs" / self.id


@dataclass(frozen=True)
class Outcome:
    """How a call ended: a finished run, or one that was interrupted at `step` of `steps`."""

    id: str
    folder: Path
    step: int
    steps: int

    @property
    def finished(self) -> bool:
        return (self.folder / CARD).exists()


def prepare(recipe: Recipe, offline: bool, progress: Progress) -> Ready:
    """Reads base and data; nothing is written. Raises BacktalkError where something is off."""
    if recipe.methods != ("sft",):
        chain = " then ".join(recipe.methods)
        raise WordsError(f"The recipe's method is {chain}; kto and dpo come with a later release. Use sft.")
    base = find_base(recipe.base.model, recipe.base.revision)
    renderer = Renderer(base.folder)
    longest = min(recipe.batch.max_length, int(base.config.get("max_position_embeddings") or 2**31))
    loaded = load(
        recipe.data,
        renderer.template,
        controls=renderer.controls,
        context=longest,
        seed=recipe.seed,
        offline=offline,
        progress=progress.report,
    )
    return Ready(recipe, base, loaded, render_all(renderer, loaded.train, longest))


def train(ready: Ready, fresh: bool, progress: Progress, say: Say) -> Outcome:
    """Trains, or goes on where a run of the same recipe stopped. Ctrl-C saves and ends it early.

    Raises BacktalkError: wrong words, no number as loss, no memory, no room on the disk.
    """
    folder, parts = ready.folder, ready.folder.with_name(f"{ready.id}.parts")
    with _alone(parts):
        if fresh:
            _start_over(folder, parts)
        if (folder / CARD).exists():
            steps = int(read_card(folder).metrics["steps"])
            return Outcome(ready.id, folder, steps, steps)
        begun = checkpoint.newest(parts, say)
        step, steps = _steps(ready, folder, parts, begun, progress, say)
        if step == steps:
            _finish(ready, folder, parts, steps)
    if step == steps:
        shutil.rmtree(parts)
    return Outcome(ready.id, folder, step, steps)


# ---- the steps


def _steps(
    ready: Ready, folder: Path, parts: Path, begun: Path | None, progress: Progress, say: Say
) -> tuple[int, int]:
    """Takes what steps are left; how many are done now, and of how many."""
    from transformers import AutoTokenizer
    from transformers.trainer_callback import PrinterCallback

    from training.sft import examples, make_trainer, total_steps

    recipe = ready.recipe
    taught = examples(ready.rows, recipe.batch)
    steps, done = total_steps(recipe, len(taught)), checkpoint.step_of(begun) if begun else 0
    if done >= steps:
        return steps, steps
    machine.limit_threads()
    load_model, plan = _plan(ready, max(len(one["input_ids"]) for one in taught), say)
    write_json(folder / "recipe.json", to_plain(recipe))
    say(
        f"{ready.id}: {len(ready.rows):,} rows, {steps:,} steps"
        + (f", going on after {done:,}" if begun else "")
    )
    progress.report("loading the base")
    model = load_model(recipe, ready.base, plan)
    tokenizer = AutoTokenizer.from_pretrained(ready.base.folder, local_files_only=True)
    trainer = make_trainer(recipe, plan, model, tokenizer, taught, parts)
    trainer.remove_callback(PrinterCallback)
    metrics = Metrics(folder, after=done)
    with Stop().listening() as stop:
        every = recipe.logging.every
        trainer.add_callback(Watch(metrics, progress, stop, lambda: trainer.tokens, plan.device, every))
        trainer.train(resume_from_checkpoint=str(begun) if begun else None)
    return int(trainer.state.global_step), steps


def _plan(ready: Ready, width: int, say: Say) -> tuple[backends.Load, backends.Plan]:
    """What is used on this machine; each choice is said with its reason."""
    recipe, base = ready.recipe, ready.base
    device = machine.device()
    backend, why_backend = backends.choose(recipe.backend, device)
    values = base.values
    stored = str(base.config.get("dtype") or base.config.get("torch_dtype") or "float32")
    numbers = machine.numbers(recipe.precision, device, stored, values)
    load_model = backends.loader(backend)
    config = _model_config(base)
    held = values * torch.finfo(numbers.hold).bits // 8
    needed = held + bytes_of_step(config, recipe.batch.size * width, width)
    twice, why_twice = checkpoints_layers(recipe.gradient_checkpointing, needed, device)
    say(f"backend {backend}: {why_backend}")
    say(f"precision {_name(numbers.compute)} on {device}: {numbers.why}")
    say(f"gradient checkpointing {'on' if twice else 'off'}: {why_twice}")
    return load_model, backends.Plan(device, numbers, twice)


def _finish(ready: Ready, folder: Path, parts: Path, steps: int) -> None:
    """The adapter of the last checkpoint, the picture, and the card, which says that all is there."""
    last = checkpoint.checkpoints(parts)[-1]
    for name in ADAPTER:
        with writing(folder / name) as file:
            file.write((last / name).read_bytes())
    rows = read_metrics(folder)
    draw_loss(rows, folder / "loss.png", ready.id)
    write_text(folder / "data.txt", "".join(f"{line}\n" for line in ready.loaded.told()))
    card = Card(
        kind="run",
        id=ready.id,
        inputs=ready.inputs,
        recipe=to_plain(ready.recipe),
        seed=ready.recipe.seed,
        metrics=_metrics(ready, rows, steps),
    )
    write_card(folder, card, LIBRARIES)


def _metrics(ready: Ready, rows: list[dict[str, Any]], steps: int) -> dict[str, Any]:
    tail = rows[-max(1, round(LAST_STEPS * len(rows))) :]
    tokens, seconds = sum(row["tokens"] for row in rows), sum(row["seconds"] for row in rows)
    return {
        "steps": steps,
        "rows": len(ready.rows),
        "learned_tokens_per_epoch": sum(row.learned for row in ready.rows),
        "loss": rows[-1]["loss"],
        "loss_of_last_tenth": sum(row["loss"] for row in tail) / len(tail),
        "tokens": tokens,
        "seconds": round(seconds, 1),
        "tokens_per_second": round(tokens / max(seconds, 1e-6), 1),
        "peak_bytes": machine.peak_memory(machine.device()),
        "data": ready.loaded.report,
    }


# ---- around them


def _start_over(folder: Path, parts: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    for path in parts.iterdir():
        if path.is_dir():
            shutil.rmtree(path)


@contextmanager
def _alone(parts: Path) -> Iterator[None]:
    """Two processes that train one run would overwrite each other's checkpoints."""
    parts.mkdir(parents=True, exist_ok=True)
    with open(parts / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            raise BacktalkError(
                f"Another process is training {parts.stem} now. Wait for it, or stop it first: it saves "
                "where it is."
            ) from fault
        yield


def _model_config(base: Base) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(base.folder, local_files_only=True)


def _name(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")
