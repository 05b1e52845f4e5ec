"""Rounds as the page shows them: the list, and one of them act by act, with its log and its verdict.

    listed()            every round here, the newest first
    look(3)             its acts, what the act under way says, its verdict with intervals, its report

Everything is read from BACKTALK_HOME/rounds, where the round writes it; `running.py` starts and stops one.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.maintain.running import LOG, Started, is_running
from backtalk.card import NAME as CARD
from backtalk.card import read_card
from backtalk.errors import BacktalkError, WordsError
from backtalk.files import read_json
from backtalk.home import home
from backtalk.round.acts import ACTS as ALL_ACTS
from backtalk.round.acts import VERDICT
from backtalk.round.report import METRICS, REPORT
from backtalk.round.state import NAME as STATE
from feedback.review.flags import escaped

Json = dict[str, Any]

ACTS = tuple(name for name, _ in ALL_ACTS)
MOST_LOG = 8_000  # bytes of a log that are shown: its end
WAITS, RUNS, STOPPED, DONE = "waits", "runs", "stopped", "done"


def listed() -> list[Json]:
    """Every round, the newest first. `state`: done, runs, or stopped where it could go on."""
    runs = is_running()
    return [_row(number, runs) for number in reversed(_numbers())]


def look(number: int) -> Json:
    """One round. Raises WordsError where there is none of that number."""
    if number not in _numbers():
        raise WordsError(f"There is no round {number} here.")
    runs, folder = is_running(), _folder(number)
    acts = list(_acts(folder, runs))
    under_way = next((act["name"] for act in acts if act["state"] in (RUNS, STOPPED)), "")
    return {
        **_row(number, runs),
        "acts": acts,
        "log": _end_of(folder / f"{under_way}.log") if under_way else "",
        "verdict": _verdict(folder),
        "differences": list(_differences(folder)),
        "report": _text(folder / REPORT),
    }


def started() -> Json:
    """The round that was started from the page last, and the end of what it says; empty where none was."""
    last = Started.read(home() / "rounds")
    return {**last.as_json(), "runs": is_running(), "log": _end_of(home() / "rounds" / LOG)} if last else {}


def _numbers() -> list[int]:
    folder = home() / "rounds"
    found = [place.name for place in folder.iterdir() if place.is_dir()] if folder.is_dir() else []
    return sorted(int(name) for name in found if name.isdecimal() and _begun(folder / name))


def _begun(folder: Path) -> bool:
    return (folder / STATE).is_file() or (folder / CARD).is_file()


def _folder(number: int) -> Path:
    return home() / "rounds" / str(number)


def _row(number: int, runs: bool) -> Json:
    folder = _folder(number)
    card = read_card(folder) if (folder / CARD).is_file() else None
    state = _state(folder)
    said: Mapping[str, Any] = card.verdicts[0] if card and card.verdicts else {}
    metrics = card.metrics if card else {}
    return {
        "number": number,
        "state": DONE if card else RUNS if runs else STOPPED,
        "verdict": said.get("verdict", ""),
        "why": escaped(str(said.get("why", ""))),
        "promoted": bool(metrics.get("promoted")),
        "at": card.created_at if card else "",
        "by": escaped(str(state.get("by", ""))),
        "beaten": escaped(str(state.get("current", {}).get("name", ""))),
        "used": metrics.get("used"),
        "flags": metrics.get("flags"),
        "seconds": sum(act["seconds"] for act in state.get("acts", {}).values()),
    }


def _acts(folder: Path, runs: bool) -> Iterator[Json]:
    """Each act and how it stands: done, under way, or still to come."""
    known, ended = _state(folder).get("acts", {}), (folder / CARD).is_file()
    is_next = not ended
    for name in ACTS:
        if name in known:
            act = known[name]
            yield {"name": name, "state": DONE, "seconds": act["seconds"], "skipped": not act["words"]}
        elif not ended:
            standing = (RUNS if runs else STOPPED) if is_next else WAITS
            is_next = False
            yield {"name": name, "state": standing, "seconds": None, "skipped": False}


def _verdict(folder: Path) -> Json:
    if not (folder / VERDICT).is_file():
        return {}
    told = read_json(folder / VERDICT)
    return {name: told.get(name) for name in ("verdict", "why", "more_items", "conditions")}


def _differences(folder: Path) -> Iterator[Json]:
    """Model less baseline, with its interval, in the metrics that the report names."""
    judged = _state(folder).get("acts", {}).get("evaluate", {}).get("said", {})
    for one in judged.get("metrics", {}).get("differences", ()):
        if one["metric"] in METRICS:
            yield {name: one.get(name) for name in ("part", "metric", "value", "low", "high", "items")}


def _state(folder: Path) -> Json:
    """round.json; empty for a moment at most, since it is written whole."""
    try:
        return dict(read_json(folder / STATE))
    except (BacktalkError, OSError):
        return {}


def _text(path: Path) -> str:
    try:
        return escaped(path.read_text(encoding="utf-8"))
    except OSError:
        return ""


def _end_of(path: Path) -> str:
    """The last whole lines of a log."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - MOST_LOG))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return escaped(text if size <= MOST_LOG else text.partition("\n")[2])
