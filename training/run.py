"""One run, told in order: base, data, plan for this machine, model, steps, card.

`BACKTALK_HOME/runs/ID/` becomes the adapter with its card; `runs/ID.parts/` holds the checkpoints and goes
when the card is written. ID follows from the recipe and the sha256 of everything it reads, so the same recipe
on the same inputs finds its own run again, finished or not, and goes on with it.
"""

import fcntl
import gc
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from backtalk import __version__
from backtalk.card import NAME as CARD
from backtalk.card import Card, read_card, write_card
from backtalk.config import to_plain
from backtalk.errors import BacktalkError
from backtalk.files import canonical_json, write_json, write_text, writing
from backtalk.home import home
from backtalk.progress import Progress
from training import backends, checkpoint, machine
from training.activations import bytes_of_step, checkpoints_layers
from training.base import Base, find_base
from training.metrics import Metrics, read_metrics
from training.newest import settled
from training.picture import draw_loss
from training.recipe import Recipe
from training.render import Renderer
from training.stage import Reading, Stage, read_stage
from training.start import ADAPTER, Start, find_start
from training.summary import summary
from training.watch import Course, Stop, Watch

LIBRARIES = ("accelerate", "peft", "safetensors", "tokenizers", "torch", "transformers", "trl")
NO_TEMPLATE = "the base has no chat template: contents stand one below another, an answer ends the text"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Ready:
    """What a run knows before it loads a model: what it learns from, method by method."""

    recipe: Recipe
    base: Base
    stages: tuple[Stage, ...]
    start: Start | None = None
    notes: tuple[str, ...] = ()
    place: Path | None = None
    """Where the run is to be, if not by its id among the runs."""

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """Everything that is read, as the card names it."""
        read = [*self.start.entries] if self.start else []
        read += [entry for stage in self.stages for entry in stage.loaded.inputs]
        return [*self.base.entries, *(entry for place, entry in enumerate(read) if entry not in read[:place])]

    @property
    def id(self) -> str:
        """The run's name and 8 digits of what decides over it."""
        deciding = sorted((str(one.get("role")), str(one.get("sha256") or one)) for one in self.inputs)
        told = {"version": __version__, "recipe": to_plain(self.recipe), "inputs": deciding}
        return f"{self.recipe.name}-{hashlib.sha256(canonical_json(told)).hexdigest()[:8]}"

    @property
    def folder(self) -> Path:
        return self.place or home() / "runs" / self.id

    @property
    def parts(self) -> Path:
        """Where its checkpoints are until it is finished."""
        return self.folder.with_name(f"{self.folder.name}.parts")

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run, with those whose weights it starts from."""
        return self.first + sum(stage.steps for stage in self.stages)

    @property
    def first(self) -> int:
        """Steps that were taken elsewhere before."""
        return self.stages[0].first

    def places(self, parts: Path) -> list[Path]:
        """Where each method has its checkpoints: side by side where there are several."""
        if len(self.stages) == 1:
            return [parts]
        return [parts / f"{number}-{stage.method}" for number, stage in enumerate(self.stages, start=1)]

    def told(self) -> list[str]:
        """What became of the rows, and how each method uses them."""
        lines = [line for stage in self.stages for line in stage.told()]
        return list(dict.fromkeys((*self.notes, *lines)))


@dataclass(frozen=True)
class Company:
    """What an experiment gives to each of its runs; a run alone has none.

    `load_model`: in place of the backend's own, so that a base is in memory once; `callback`: told by the
    trainer that it is given, with the steps before its own.
    """

    load_model: backends.Load | None = None
    callback: Callable[[Any, int], Any] | None = None


ALONE = Company()


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
    recipe = settled(recipe)
    base = find_base(recipe.base.model, recipe.base.revision)
    renderer = Renderer(base.folder)
    longest = min(recipe.batch.max_length, int(base.config.get("max_position_embeddings") or 2**31))
    perplexity = _perplexity(base, renderer) if recipe.data.filters.needs_base else None
    read = Reading(renderer, longest, offline, perplexity, progress.report)
    stages = tuple(read_stage(recipe.of(method), read) for method in recipe.methods)
    if not any(stage.steps for stage in stages):
        why = "; ".join(f"{stage.method}: {stage.left_out}" for stage in stages)
        raise BacktalkError(f"There is nothing to learn from. {why[:1].upper()}{why[1:]}.")
    start = find_start(recipe.start, recipe, base) if recipe.start else None
    return Ready(recipe, base, stages, start, (NO_TEMPLATE,) if renderer.bare else ())


def train(ready: Ready, fresh: bool, progress: Progress, say: Say, company: Company = ALONE) -> Outcome:
    """Trains, or goes on where a run of the same recipe stopped. Ctrl-C saves and ends it early.

    Raises BacktalkError: wrong words, no number as loss, no memory, no room on the disk.
    """
    folder, parts = ready.folder, ready.parts
    with _alone(parts):
        if fresh:
            _start_over(folder, parts)
        if (folder / CARD).exists():
            steps = int(read_card(folder).metrics["steps"])
            return Outcome(ready.id, folder, steps, steps)
        step, steps = _chain(ready, progress, say, company), ready.steps
        if step == steps:
            _finish(ready, folder, parts)
    if step == steps:
        shutil.rmtree(parts)
    return Outcome(ready.id, folder, step, steps)


# ---- the steps


def _chain(ready: Ready, progress: Progress, say: Say, company: Company) -> int:
    """Takes what steps are left, method after method, each on the adapter of the one before.

    The last method that has a whole checkpoint is where it goes on: those before it are finished. Returns how
    many steps are done now.
    """
    legs = [leg for leg in zip(ready.stages, ready.places(ready.parts), strict=True) if leg[0].steps]
    found = [checkpoint.newest(place, say) for _, place in legs]
    first = max((number for number, begun in enumerate(found) if begun), default=0)
    before = ready.first + sum(stage.steps for stage, _ in legs[:first])
    for number, (stage, place) in enumerate(legs[first:], start=first):
        first_taught = ready.start.folder if ready.start else None
        taught = checkpoint.checkpoints(legs[number - 1][1])[-1] if number else first_taught
        leg = Leg(stage, place, before, found[number], taught)
        done = _steps(ready, leg, progress, say, company)
        gc.collect()  # the next method loads the base anew, and both do not fit everywhere
        before += done
        if done < stage.steps:
            break
    return before


@dataclass(frozen=True)
class Leg:
    """A method on its way.

    `before`: steps of the methods before it; `begun`: where it was interrupted; `taught`: the adapter that it
    starts from, else a fresh one.
    """

    stage: Stage
    place: Path
    before: int = 0
    begun: Path | None = None
    taught: Path | None = None


def _steps(ready: Ready, leg: Leg, progress: Progress, say: Say, company: Company) -> int:
    """Takes what steps of a method are left; how many are done now."""
    stage, begun, folder = leg.stage, leg.begun, ready.folder
    done = checkpoint.step_of(begun) if begun else 0
    if done >= stage.steps:
        return stage.steps
    write_json(folder / "recipe.json", to_plain(ready.recipe))
    going_on = f", going on after {done:,}" if begun else ""
    say(f"{ready.id}: {stage.method}, {stage.count:,} rows, {stage.steps:,} steps{going_on}")
    trainer, plan = assemble(ready, leg, say, company.load_model)
    watched = Metrics(folder, after=leg.before + done)
    with Stop().listening() as stop:
        course = Course(stage.method, leg.before, ready.steps, ready.recipe.logging.every)
        trainer.add_callback(Watch(watched, progress, stop, lambda: trainer.tokens, plan.device, course))
        if company.callback:
            trainer.add_callback(company.callback(trainer, leg.before))
        trainer.train(resume_from_checkpoint=str(begun) if begun else None)
    return int(trainer.state.global_step)


def assemble(
    ready: Ready, leg: Leg, say: Say, load_model: backends.Load | None = None
) -> tuple[Any, backends.Plan]:
    """The trainer of a method, its model loaded, and what was decided for this machine."""
    from transformers import AutoTokenizer
    from transformers.trainer_callback import PrinterCallback

    stage = leg.stage
    machine.limit_threads(machine.is_small(ready.base.values, stage.tokens_at_once))
    backend, plan = plan_for(stage.recipe, ready.base, stage.width, say)
    model = (load_model or backends.loader(backend))(stage.recipe, ready.base, plan)
    if leg.taught:
        model.load_adapter(str(leg.taught), model.active_adapter, is_trainable=True)
    tokenizer = AutoTokenizer.from_pretrained(ready.base.folder, local_files_only=True)
    method = import_module("training.sft" if stage.method == "sft" else "training.preference")
    trainer = method.make_trainer(stage, plan, model, tokenizer, leg.place)
    if ready.start and stage.method != "sft":
        trainer.refer_to(ready.start.folder)
    trainer.remove_callback(PrinterCallback)
    return trainer, plan


def plan_for(recipe: Recipe, base: Base, width: int, say: Say) -> tuple[str, backends.Plan]:
    """The backend's name and what is used on this machine; each choice is said with its reason."""
    device = machine.device()
    backend, why_backend = backends.choose(recipe, device)
    values = base.values
    stored = str(base.config.get("dtype") or base.config.get("torch_dtype") or "float32")
    numbers = machine.numbers(recipe.precision, device, stored, values)
    config = _model_config(base)
    held = values * torch.finfo(numbers.hold).bits // 8
    tight = machine.is_tight(device, values)
    needed = held + bytes_of_step(config, recipe.batch.size * width, width, tight)
    twice, why_twice = checkpoints_layers(recipe.gradient_checkpointing, needed, device)
    say(f"backend {backend}: {why_backend}")
    say(f"precision {_name(numbers.compute)} on {device}: {numbers.why}")
    say(f"gradient checkpointing {'on' if twice else 'off'}: {why_twice}")
    return backend, backends.Plan(device, numbers, twice)


def _finish(ready: Ready, folder: Path, parts: Path) -> None:
    """The adapter of the last checkpoint, the picture, and the card, which says that all is there."""
    trained = [place for stage, place in zip(ready.stages, ready.places(parts), strict=True) if stage.steps]
    last = checkpoint.checkpoints(trained[-1])[-1]
    for name in ADAPTER:
        with writing(folder / name) as file:
            file.write((last / name).read_bytes())
    rows = read_metrics(folder)
    draw_loss(rows, folder / "loss.png", ready.id)
    write_text(folder / "data.txt", "".join(f"{line}\n" for line in ready.told()))
    card = Card(
        kind="run",
        id=ready.id,
        inputs=ready.inputs,
        recipe=to_plain(ready.recipe),
        seed=ready.recipe.seed,
        metrics=summary(ready.stages, rows),
    )
    write_card(folder, card, LIBRARIES)


# ---- around them


def _perplexity(base: Base, renderer: Renderer) -> Callable[[Any], float]:
    """How surprised the base is by an answer; it is loaded for this alone, before it is taught."""
    from transformers import AutoModelForCausalLM

    from training.data.perplexity import answers_perplexity

    model = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32, local_files_only=True)
    return answers_perplexity(model.eval(), renderer.template)


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
