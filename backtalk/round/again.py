"""What is looked at again where a round goes on: time has passed since it was interrupted.

Flags may have been withdrawn or corrected anew: a set that they are in is not taught. Another model may be
served: the candidate has to beat that one. Where nothing has changed, every act that is done stays done.
"""

from pathlib import Path

from backtalk.round.acts import JUDGING, RECALLING, TEACHING, Round, curate, sync
from backtalk.round.served import current_of
from backtalk.round.start import used_flags

ROWS = ("sft", "kto", "dpo", "eval")


def look_again(work: Round) -> None:
    """Takes back the acts that no longer hold, before the round goes on."""
    current = current_of(work.recipe, work.offline)
    if work.state.done("promote") or (work.candidate and work.candidate == current["sha256"]):
        return  # all that is lacking is to write it down
    _flags_again(work)
    if current["sha256"] != work.state.current["sha256"]:
        work.say(f"round: {current['name']} is served by now; that one has to be beaten.")
        work.state.current = current
        work.state.take_back(*(name for name, _ in (*RECALLING, *JUDGING)))


def _flags_again(work: Round) -> None:
    """Curates once more. The noted set stays while every flag that it uses still counts, and its rows are
    there: flags that have come since are for the next round.
    """
    if not work.state.done("curate"):
        work.state.take_back("sync")
        return
    noted = work.curated
    whole = all((noted / f"{name}.jsonl").is_file() for name in ROWS)  # a purge deletes them
    work.do(sync)
    fresh = work.do(curate)
    if fresh["said"]["folder"] == str(noted):
        return
    gone = used_flags(noted) - used_flags(Path(fresh["said"]["folder"]))
    if gone or not whole:
        work.say(
            f"round: {len(gone)} flags of its set no longer count; it is taught from the set without them."
        )
        work.state.take_back(*(name for name, _ in (*TEACHING, *RECALLING, *JUDGING)))
        work.state.note("curate", **fresh)
