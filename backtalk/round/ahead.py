"""What is served now answers the gate's questions while the candidate is being made, on cores that are idle.

    with ahead(work):
        ...                    until the two are compared

An evaluation knows what a file answered in earlier ones (training/evaluation/known.py), so this one makes the
act `evaluate` shorter and changes nothing else: what it did not come to, that act asks for itself, at a
priority that a busy machine does not starve. A model that was the candidate of an earlier round has answered
already.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

from backtalk.engine import Limits
from backtalk.memory import free_bytes, serving_bytes
from backtalk.round.acts import Round, measured_as, sets_of_gate
from backtalk.round.child import run_verb

CONTEXT = 8192  # tokens; as an evaluation serves it
LEAVING_SECONDS = 30.0  # on a busy machine it takes a while to write down what was answered
PART = 8  # of the free memory, what a second model may take beside a training


@contextmanager
def ahead(work: Round) -> Iterator[None]:
    """One evaluation beside the block, where it is of use and the machine has room."""
    enough = Event()
    asking = _asking(work, enough)
    if asking:
        asking.start()
    yield
    if asking:
        enough.set()
        asking.join(LEAVING_SECONDS)


def _asking(work: Round, enough: Event) -> Thread | None:
    served = Path(work.state.current["ref"])
    if work.state.done("evaluate") or not served.is_file() or not _has_room(served):
        return None
    words = ["evaluate", str(served), "--data", str(work.curated / "eval.jsonl")]
    words += [*sets_of_gate(work.recipe), *measured_as(work.recipe)]
    log = work.state.folder / "ahead.log"

    def ask() -> None:
        with suppress(KeyboardInterrupt):  # it was told that it is enough
            done = run_verb(words, log, lambda line: None, work.environment(), idle=True, enough=enough)
            if done.code:
                work.say(
                    f"evaluate: what is served now was not asked ahead, and is asked later. {done.fault}"
                )

    return Thread(target=ask, daemon=True)  # where the round is interrupted, nobody waits


def _has_room(model: Path) -> bool:
    free = free_bytes()
    return free is None or PART * serving_bytes(model, CONTEXT, Limits.live) < free
