"""A GGUF as it is served: same engine, same prompt, greedy. A small one is loaded once for each core."""

import math
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from backtalk.engine import FULL, Sampling
from backtalk.engine.likelihood import MeasuringEngine
from backtalk.engine.llama import ONE_THREAD_BYTES
from backtalk.engine.machine import usable_cores
from backtalk.errors import ContextError
from backtalk.models import Model
from backtalk.prompt import Prompt
from training.evaluation.items import Item
from training.evaluation.scores import Answer
from training.evaluation.subject import placed

CONTEXT = 8192  # tokens; as the app serves
GROUP = 32  # items that are asked side by side
FEW = 64  # items that are done before a second process would have loaded the model

Work = Callable[[MeasuringEngine, Sequence[Item]], Iterator[tuple[Item, Any]]]


class Served:
    """See training.evaluation.subject.Subject."""

    def __init__(self, model: Model) -> None:
        self.gguf: Model | None = model
        self._model = model
        self.name = model.name
        size = model.path.stat().st_size
        self.inputs = [
            {"role": "model", **_place(model), "path": model.path.name, "sha256": model.sha256, "bytes": size}
        ]
        self._workers = usable_cores() if size < ONE_THREAD_BYTES else 1
        self._engine: MeasuringEngine | None = None

    def ask(self, items: Sequence[Item], most: int) -> Iterator[tuple[Item, Answer]]:
        yield from self._each(_Asking(most), items)

    def read(self, items: Sequence[Item]) -> Iterator[tuple[Item, float]]:
        yield from self._each(_read, items)

    def close(self) -> None:
        if self._engine:
            self._engine.close()
            self._engine = None

    def _each(self, work: Work, items: Sequence[Item]) -> Iterator[tuple[Item, Any]]:
        groups = [items[first : first + GROUP] for first in range(0, len(items), GROUP)]
        if self._workers == 1 or len(items) < FEW:
            self._engine = self._engine or MeasuringEngine(self._model, CONTEXT, threads=0)
            for group in groups:
                yield from work(self._engine, group)
            return
        begin = multiprocessing.get_context("spawn")  # a fork would copy torch's threads half
        with ProcessPoolExecutor(
            self._workers, begin, initializer=_start, initargs=(self._model,)
        ) as workers:
            try:
                for done in workers.map(_work, ((work, group) for group in groups)):
                    yield from done
            except BaseException:
                workers.shutdown(wait=True, cancel_futures=True)
                raise


def _place(model: Model) -> dict[str, str]:
    if model.repo:
        return {"repo": model.repo, "revision": model.revision}
    return {"folder": str(model.path.parent)}


class _Asking:
    """Asks a group of items side by side."""

    def __init__(self, most: int) -> None:
        self._most = most

    def __call__(self, engine: MeasuringEngine, items: Sequence[Item]) -> Iterator[tuple[Item, Answer]]:
        prompts = [self._prompt(engine, item) for item in items]
        answers = engine.together(prompts, Sampling(temperature=0, max_tokens=self._most))
        for item, prompt, (text, ending) in zip(items, prompts, answers, strict=True):
            ended = ending.finish_reason != FULL
            yield item, Answer(text, ending.completion_tokens, ended, prompt.dropped_turns)

    def _prompt(self, engine: MeasuringEngine, item: Item) -> Prompt:
        try:
            return engine.prompt(item.messages, self._most)
        except ContextError as fault:
            raise placed(item, fault) from fault


def _read(engine: MeasuringEngine, items: Sequence[Item]) -> Iterator[tuple[Item, float]]:
    for item in items:
        try:
            prompt = engine.whole(item.messages) if item.messages else engine.opening
            yield item, engine.surprise(prompt, item.reference) / math.log(2)
        except ContextError as fault:
            raise placed(item, fault) from fault


_engine: MeasuringEngine  # a worker's own


def _start(model: Model) -> None:
    global _engine
    _engine = MeasuringEngine(model, CONTEXT, threads=1)


def _work(task: tuple[Work, Sequence[Item]]) -> list[tuple[Item, Any]]:
    work, group = task
    return list(work(_engine, group))
