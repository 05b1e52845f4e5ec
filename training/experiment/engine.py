"""All configurations advance together: whoever is least far takes the next chunk, until all are done.

Who takes it, this process or one beside it, is in crew.py.

    engine = Engine(asked, folder, preparation, progress, stop)
    engine.enter(prepared)            each configuration
    engine.recall(split)              what people did in an earlier process
    engine.run()

Between two chunks, and only then, it is looked whether somebody asked for a stop, a resume or a clone. After
a kill everything is found again: checkpoints say where each configuration is, history.jsonl what people did,
metrics.jsonl what was compared.
"""

import math
import time
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from backtalk.malloc import give_back_what_is_free, share_one_arena
from backtalk.progress import Progress
from training.activations import SPARE
from training.experiment.baton import libraries_set_aside
from training.experiment.board import Board
from training.experiment.crew import Beside, Here, all_small, crew
from training.experiment.early import Halving
from training.experiment.engines.task import News
from training.experiment.entrant import Entrant
from training.experiment.expand import Configuration
from training.experiment.items import Split
from training.experiment.judge import Judge
from training.experiment.points import Point, Points
from training.experiment.prepare import Preparation, Prepared
from training.experiment.recipe import Asked
from training.experiment.sampler import Sampler
from training.experiment.state import Line, State, write_state
from training.experiment.wishes import Wishes
from training.machine import device, free_memory, limit_threads
from training.watch import Stop


class Engine:
    """One experiment in this process."""

    def __init__(
        self, asked: Asked, folder: Path, preparation: Preparation, progress: Progress, stop: Stop
    ) -> None:
        self.asked, self.folder, self.progress, self.stop = asked, folder, progress, stop
        self.points = Points(folder)
        self.judge = Judge(asked.search, folder, preparation, self.points, self.keep)
        share_one_arena()
        self.entrants: list[Entrant] = []
        self.wishes = Wishes(self)
        wanted = (asked.plain.get("logging") or {}).get("tensorboard")
        self._board = Board(folder) if wanted else None
        self.first_comparison: float | None = None
        self.was_compared = False
        """Whether all had been compared in an earlier process: then nothing is said of how soon."""
        self.preparation = preparation
        self._began, self._started_at = time.monotonic(), _now()
        self._halving = Halving(asked.search.first_rung, asked.search.early_keep)

    def enter(self, prepared: Prepared) -> Entrant:
        """Adds a configuration."""
        entrant = Entrant(
            prepared, self.judge.bases, self.asked.search, self.stop, self.progress, self.judge.compare
        )
        self.entrants.append(entrant)
        return entrant

    def recall(self, split: Split) -> None:
        """What people did so far holds again: clones are there, who was stopped stays so."""
        self.judge.split = split
        self.wishes.recall()

    def run(self) -> bool:
        """Trains until nobody may take a step; False where it was interrupted before."""
        self.was_compared = self._all_are_compared()
        limit_threads(all_small([one.prepared for one in self.entrants]))
        with libraries_set_aside(), crew(self) as hands:
            if not self._take_steps(hands):
                return False
        self._leave_behind()
        self._measure_bases()
        self._make_up()
        return True

    def _take_steps(self, hands: Here | Beside) -> bool:
        """Chunk by chunk; False where somebody interrupted."""
        while True:
            self.wishes.grant(lambda name: name not in hands.busy)
            if self.stop.asked:
                hands.leave()
                self.tell("interrupted")
                return False
            while least_far := self._next(hands):
                hands.begin(least_far)
            if not hands.busy:
                if self._name_more():
                    continue
                return True
            if self.was_compared or self.first_comparison is not None:
                self._measure_bases()
            hands.wait()
            self._note_first_comparison()
            self.tell("training")

    def hear(self, news: News) -> None:
        """Writes down what a chunk brought that was taken in another process."""
        for point in news.points:
            self.keep(point)
        for entrant in self.entrants:
            if entrant.name == news.name:
                entrant.standing, entrant.why = news.standing, news.why

    def tell(self, phase: str, **more: Any) -> None:
        """Writes down how things stand."""
        baselines = [
            Line(name, {}, told, "baseline", 0, 0, point.bits_per_byte)
            for name, told in self.baselines()
            if (point := self.points.at(name, 0))
        ]
        lines = [self._line(entrant) for entrant in self.entrants]
        state = State(
            self.folder.name, self.asked.name, phase, (*baselines, *lines), self._started_at,
            self.first_comparison, more,
        )  # fmt: skip
        write_state(self.folder, state)

    def baselines(self) -> list[tuple[str, str]]:
        """Name and description of each untaught base under each prompt."""
        if not self.asked.search.baselines:
            return []
        return [(f"zero-{number}", _untaught(one)) for number, one in enumerate(self.readings(), start=1)]

    def readings(self) -> list[Prepared]:
        """One configuration for each way in which rows are read: a base with a prompt."""
        found: dict[str, Prepared] = {}
        for one in self.entrants:
            found.setdefault(one.prepared.reading, one.prepared)
        return list(found.values())

    # ---- turns

    def _next(self, hands: Here | Beside) -> Entrant | None:
        """Who is least far of those that the hands take; those that wait at a rung only if they pass it."""
        able = [one for one in self.entrants if one.live and not self._waits_at_rung(one)]
        if not able and not hands.busy:
            return self._last_hope()
        able = [one for one in able if hands.takes(one)]
        if not able:
            return None
        if not self._fits:  # then base after base, each with all of its configurations
            folder = able[0].prepared.ready.base.folder
            able = [one for one in able if one.prepared.ready.base.folder == folder]
            self.judge.bases.keep_only(folder)
        return min(able, key=lambda one: one.step)

    def _last_hope(self) -> Entrant | None:
        """Where all wait at a rung and nobody has finished, the furthest and best goes on."""
        waiting_ones = [one for one in self.entrants if one.live]
        if not waiting_ones or any(one.finished for one in self.entrants):
            return None
        furthest = max(one.step for one in waiting_ones)
        reached = {one: self.points.at(one.name, furthest) for one in waiting_ones if one.step == furthest}
        return min(reached, key=lambda one: point.bits_per_byte if (point := reached[one]) else math.inf)

    @cached_property
    def _fits(self) -> bool:
        """Whether all bases may be in memory at once."""
        bases = {one.prepared.ready.base.folder: one.prepared.ready.base for one in self.entrants}
        return len(bases) == 1 or 4 * sum(one.values for one in bases.values()) < SPARE * free_memory(
            device()
        )

    def _waits_at_rung(self, entrant: Entrant) -> bool:
        step = entrant.step
        if self.asked.search.early_stop == "off" or entrant.exempt or not self._halving.is_rung(step):
            return False
        reached = {
            one.name: point.bits_per_byte
            for one in self.entrants
            if (point := self.points.at(one.name, step))
        }
        return entrant.name in reached and not self._halving.passes(entrant.name, reached)

    def _name_more(self) -> bool:
        """Where Optuna names configurations: the next few, after it was told how the others did.

        The study begins anew each time and hears everything again, so that a kill changes nothing of it.
        """
        search = self.asked.search
        named = [one for one in self.entrants if not one.configuration.parent]
        if search.search != "optuna" or len(named) >= search.trials:
            return False
        sampler, told = Sampler(self.asked), 0
        while told < len(named):
            few = min(search.at_once, len(named) - told)
            sampler.ask(few)
            for number in range(told, told + few):
                point = self.points.last(named[number].name) if named[number].finished else None
                sampler.tell(number, point.bits_per_byte if point else None)
            told += few
        for changes in sampler.ask(min(search.at_once, search.trials - told)):
            made = self.preparation.add(Configuration(self.wishes.free_name(), changes))
            self.judge.split = self.preparation.extend(self.judge.split, made)
            self.enter(made)
            self.wishes.recall_known()
        return True

    def _leave_behind(self) -> None:
        """Who still waits at a rung stays there."""
        for entrant in self.entrants:
            if entrant.live:
                entrant.leave()
                entrant.standing = "stopped early"
                entrant.why = (
                    f"not among the best of 1 in {self.asked.search.early_keep} at step {entrant.step}"
                )

    # ---- comparing

    def keep(self, point: Point) -> None:
        """A comparison that was made, on disk at once."""
        self.points.add(point)
        if self._board:
            self._board.add(point)

    def _measure_bases(self) -> None:
        """Those untaught bases that are not measured yet: a clone may read rows in words of its own."""
        names = [name for name, _ in self.baselines()]
        for name, prepared in zip(names, self.readings(), strict=False):
            if not self.points.at(name, 0):
                self.progress.report(f"{name}: comparing the untaught base")
                self.judge.measure(name, prepared, self.judge.view(prepared), 0, None, 0.0)
                give_back_what_is_free()

    def _make_up(self) -> None:
        """A process that was killed at the very end of a run left its last comparison out."""
        for entrant in self.entrants:
            if entrant.finished and not self.points.at(entrant.name, entrant.prepared.ready.steps):
                self.judge.compare(entrant, self.judge.taught(entrant.prepared), entrant.prepared.ready.steps)

    def _note_first_comparison(self) -> None:
        if self.first_comparison is None and not self.was_compared and self._all_are_compared():
            self.first_comparison = round(time.monotonic() - self._began, 2)
            self.progress.done(
                f"First comparison of all {len(self.entrants)} after {self.first_comparison:.1f} s"
            )

    def _all_are_compared(self) -> bool:
        return all(one.standing == "failed" or self.points.last(one.name) for one in self.entrants)

    def _line(self, entrant: Entrant) -> Line:
        point = self.points.last(entrant.name)
        return entrant.line(point.bits_per_byte if point else None, point.seconds if point else 0.0)


def _untaught(prepared: Prepared) -> str:
    prompts = dict.fromkeys(one.prompt for one in prepared.recipe.data.sources if one.prompt)
    words = f", {' and '.join(prompts)}" if prompts else ""
    return f"{prepared.ready.base.repo or prepared.ready.base.folder.name} untaught{words}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
