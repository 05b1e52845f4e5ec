"""What is served now answers the gate's questions while the candidate is being made, on cores that are idle.

    with ahead(work):
        ...                    until the two are compared; then its answers are waited for

An evaluation knows what a file answered in earlier ones (training/evaluation/known.py), so this one makes the
act `evaluate` shorter and changes nothing else: where it fails (this is said) or is killed, that act asks for
itself. A model that was the candidate of an earlier round has answered already.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from backtalk.memory import free_bytes, serving_bytes
from backtalk.round.acts import Round, measured_as, sets_of_gate
from backtalk.round.child import run_verb

CONTEXT = 8192  # tokens; as an evaluation serves it
PART = 8  # of the free memory, what a second model may take beside a training


@contextmanager
def ahead(work: Round) -> Iterator[None]:
    """One evaluation beside the block, where it is of use and the machine has room."""
    asking = _asking(work)
    if asking:
        asking.start()
    yield
    if asking:
        work.report("evaluate: waiting for what is served now to answer")
        asking.join()


def _asking(work: Round) -> Thread | None:
    served = Path(work.state.current["ref"])
    if work.state.done("evaluate") or not served.is_file() or not _has_room(served):
        return None
    words = ["evaluate", str(served), "--data", str(work.curated / "eval.jsonl")]
    words += [*sets_of_gate(work.recipe), *measured_as(work.recipe)]
    log = work.state.folder / "ahead.log"

    def ask() -> None:
        done = run_verb(words, log, lambda line: None, work.environment(), idle=True)
        if done.code:
            work.say(f"evaluate: what is served now was not asked ahead, and is asked later. {done.fault}")

    return Thread(target=ask, daemon=True)  # where the round is interrupted, nobody waits


def _has_room(model: Path) -> bool:
    free = free_bytes()
    return free is None or PART * serving_bytes(model, CONTEXT) < free
