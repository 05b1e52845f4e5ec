"""The models of this machine and which of them is served: the table, promote, and roll back.

    table()                                         every exported file, what was measured of it, its verdict
    promote(maintainer, "shop-3/shop-3-Q8_0.gguf", why)
    rollback(maintainer, "9c1f0a77", why)

Read from the cards of exports and rounds and from promoted.json; moved by `backtalk promote` and `backtalk
rollback` as processes, which look at the files themselves. The gate is not overruled from the page.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.desk.serving import NAME as SERVING
from app.maintain.maintainer import Maintainer
from backtalk import hub
from backtalk.card import NAME as CARD
from backtalk.card import read_card
from backtalk.errors import BacktalkError, WordsError
from backtalk.files import read_json
from backtalk.home import home
from backtalk.models import MINI, POINTER, POINTER_ON_HUB
from feedback.review.flags import escaped

Json = dict[str, Any]

VERDICT = "verdict.json"
PROMOTE = "PROMOTE"
LONGEST_WHY = 500
PATIENCE_SECONDS = 5.0  # for a pointer on the Hub: somebody waits, and asks again
KEYS = ("name", "file", "sha256", "bytes", "quant", "round", "who", "why", "when")


def table() -> Json:
    """Every file that could be served, the newest first; the pointer; and what answers at this moment."""
    pointer = _pointer()
    files = sorted(_files(), key=lambda row: row["at"], reverse=True)
    for row in files:
        row["served"] = bool(row["sha256"]) and row["sha256"] == pointer["served"]["sha256"]
    return {"files": files, **pointer, "answers": _answers()}


def promote(maintainer: Maintainer, file: str, why: str) -> Json:
    """Makes a file the served one; returns what the pointer says. Raises where the gate said no PROMOTE."""
    row = next((row for row in _files() if row["file"] == file), None)
    if row is None:
        raise WordsError(f"There is no exported file '{file[:80]}' here.")
    words = ["promote", str(home() / "exports" / file), *_on_hub(), *_said(maintainer, why)]
    return _entry(maintainer.run(words))


def rollback(maintainer: Maintainer, to: str, why: str) -> Json:
    """Serves an earlier model again, named by its sha256, else by its name; returns what the pointer says."""
    known = {one["sha256"] or one["name"] for one in _pointer()["earlier"]}
    if to not in known:
        raise WordsError("That model is not among the earlier ones any more. Look at the list again.")
    return _entry(maintainer.run(["rollback", f"--to={to}", *_on_hub(), *_said(maintainer, why)]))


def _said(maintainer: Maintainer, why: str) -> list[str]:
    if not why.strip() or len(why) > LONGEST_WHY:
        raise WordsError(f"Say why, in at most {LONGEST_WHY} characters: it is kept beside the model.")
    return [f"--why={why.strip()}", f"--by={maintainer.name}"]


def _files() -> Iterator[Json]:
    """A row for each GGUF of a finished export."""
    rounds = _rounds()
    for folder in sorted((home() / "exports").glob("*/")):
        if not (folder / CARD).is_file():
            continue
        card = read_card(folder)
        verdict = read_json(folder / VERDICT) if (folder / VERDICT).is_file() else {}
        for quant, row in _measured(card.metrics):
            for path in folder.glob(f"*{quant}.gguf"):
                yield _row(path, card.created_at, row, verdict, rounds.get(folder.name, 0))


def _row(path: Path, at: str, row: Mapping[str, Any], verdict: Mapping[str, Any], number: int) -> Json:
    is_about = verdict.get("gguf_sha256") == row.get("sha256")
    return {
        "name": path.stem,
        "file": f"{path.parent.name}/{path.name}",
        "at": at,
        "sha256": str(row.get("sha256", "")),
        "bytes": row.get("bytes", 0),
        "quant": path.stem.rpartition("-")[2],
        "speed": row.get("tokens_per_second"),
        "passed": row.get("passed") is True,
        "failed": [str(bound) for bound in row.get("failed", ())],
        "verdict": str(verdict.get("verdict", "")) if is_about else "",
        "why": escaped(str(verdict.get("why", ""))) if is_about else "",
        "round": number,
    }


def _measured(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The rows of single files in an export's card, by quantization."""
    for quant, row in metrics.items():
        if isinstance(row, dict) and "sha256" in row:
            yield quant, row


def _rounds() -> dict[str, int]:
    """Which round made which export."""
    made = {}
    for path in (home() / "rounds").glob("*/round.json"):
        told = read_json(path)
        export = told.get("acts", {}).get("export", {}).get("said", {}).get("path", "")
        if export:
            made[Path(export).name] = int(told.get("number", 0))
    return made


def _pointer() -> Json:
    """What is served and what was before it, from the pointer that the chat follows."""
    raw, place = _raw_pointer()
    entries = [raw, *raw.get("earlier", ())] if raw else [{}]
    served, *earlier = [_entry(one) for one in entries]
    return {"served": served, "earlier": earlier, "place": place, "left": raw.get("rolled_back", {})}


def _raw_pointer() -> tuple[Json, str]:
    repo = _repo()
    if repo:
        head = hub.head(repo, PATIENCE_SECONDS, kind="model")
        if head is None:
            raise BacktalkError(f"The Hub has no model repository {repo} that may be seen from here.")
        content = hub.read(repo, POINTER, head.commit, PATIENCE_SECONDS, kind="model")
        return dict(json.loads(content)), f"hf://{repo}"
    path = home() / POINTER
    return (dict(read_json(path)) if path.is_file() else {}), ""


def _entry(raw: Mapping[str, Any]) -> Json:
    """One model as a pointer names it; without a file it is the bundled one."""
    if not raw.get("file"):
        size = MINI.stat().st_size if MINI.is_file() else 0
        return {**dict.fromkeys(KEYS, ""), "name": "mini", "bytes": size, "round": 0, "verdict": ""}
    verdict = str(dict(raw.get("verdict") or {}).get("verdict", ""))
    shown = {name: raw.get(name, "") for name in KEYS}
    return {**shown, "who": escaped(str(shown["who"])), "why": escaped(str(shown["why"])), "verdict": verdict}


def _answers() -> Json:
    """What serving.json says: the model that answers, and why what is promoted is not it."""
    path = home() / SERVING
    told = read_json(path) if path.is_file() else {}
    return {
        "name": told.get("model", {}).get("name", ""),
        "sha256": told.get("model", {}).get("sha256", ""),
        "refused": told.get("refused", {}).get("why", ""),
    }


def _repo() -> str:
    """The repository whose pointer the chat follows; empty where it is the one of the state folder."""
    path = home() / SERVING
    follows = str(read_json(path).get("follows", "")) if path.is_file() else ""
    on_hub = POINTER_ON_HUB.fullmatch(follows)
    return on_hub["repo"] if on_hub and not on_hub["revision"] else ""


def _on_hub() -> list[str]:
    return [f"--repo={repo}"] if (repo := _repo()) else []
