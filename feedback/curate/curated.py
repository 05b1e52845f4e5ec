"""The curated set on disk: sft, kto, dpo and eval, the manifest of every event, and last the card.

    folder, card = write_set(curated, gathered, recipe, inputs)

The manifest has a line for each event: the rows that it is used in, or the one reason why it is not, and in
`withheld` what else it could have taught. docs/contracts.md explains the words.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from backtalk.card import NAME as CARD
from backtalk.card import Card, write_card
from backtalk.files import canonical_json, write_jsonl
from backtalk.home import home
from feedback.curate.agreement import CONFLICT, NEW
from feedback.curate.gather import Gathered
from feedback.curate.replay import Replayed
from feedback.curate.rows import FILES, Rows

UNUSED: dict[str, Any] = {
    "event_id": "", "flag_id": "", "revision": 0, "state": "", "used": False,
    "rows": [], "reason": "", "withheld": [], "detail": "",
}  # fmt: skip


@dataclass
class Fates:
    """What becomes of each flag: left out for one reason, or its rows and what it could not teach."""

    state: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    rows: Mapping[str, list[str]] = field(default_factory=dict)
    withheld: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


@dataclass
class Curated:
    """A set before it is written."""

    rows: Rows
    replayed: list[Replayed]
    fates: Fates
    mended: list[Replayed] = field(default_factory=list)
    """Rows of the source whose answer is the flags' correction now: they are taught."""
    not_replayed: dict[str, int] = field(default_factory=dict)
    """Rows of the source that may not be replayed, by reason."""


def write_set(
    curated: Curated, gathered: Gathered, recipe: dict[str, Any], inputs: list[dict[str, Any]]
) -> tuple[Path, Card]:
    """Writes the set under an id that follows from recipe and content; writing it again changes nothing."""
    replayed = [row.id for row in (*curated.replayed, *curated.mended)]
    name = sha256(canonical_json([recipe, gathered.digest, replayed])).hexdigest()[:12]
    folder = home() / "curated" / name
    (folder / CARD).unlink(missing_ok=True)  # not finished until the card is written anew
    for file in FILES:
        mended, more = ([row.line for row in rows] for rows in (curated.mended, curated.replayed))
        lines = list(curated.rows.lines(file))
        write_jsonl(folder / f"{file}.jsonl", _mixed([*lines, *mended], more) if file == "sft" else lines)
    count: Counter[str] = Counter()
    write_jsonl(folder / "manifest.jsonl", _manifest(gathered, curated.fates, count))
    metrics = _metrics(curated, gathered, count)
    card = Card("curated set", name, inputs=inputs, recipe=recipe, seed=recipe["seed"], metrics=metrics)
    write_card(folder, card, libraries=["rensa"])
    return folder, card


def kto_weights(good: int, bad: int) -> dict[str, float]:
    """Weights that give both labels the same say; only the rarer one's differs from 1."""
    if not good or not bad:
        return {"desirable_weight": 1.0, "undesirable_weight": 1.0}
    return {
        "desirable_weight": round(max(1.0, bad / good), 4),
        "undesirable_weight": round(max(1.0, good / bad), 4),
    }


def _mixed(lines: list[dict[str, Any]], more: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Replayed rows among the others, evenly, so that no part of an epoch is without them."""
    spread = [(place / max(1, len(lines)), 0, line) for place, line in enumerate(lines)]
    spread += [(place / max(1, len(more)), 1, line) for place, line in enumerate(more)]
    return [line for _, _, line in sorted(spread, key=lambda entry: entry[:2])]


def _manifest(gathered: Gathered, fates: Fates, count: Counter[str]) -> Iterator[dict[str, Any]]:
    """A line for every event, in the order of flags and revisions, then one for every line that is none."""
    events = [(flag.flag_id, flag.revision, flag.event_id) for flag in gathered.standing.values()]
    events += [event[:3] for event in gathered.earlier]
    for name, revision, event in sorted(events):
        last = gathered.standing[name]
        if event == last.event_id:
            line = _fate(name, fates)
        else:
            line = {"reason": "retracted" if last.op == "retract" else "superseded"}
        line = {**UNUSED, "event_id": event, "flag_id": name, "revision": revision, **line}
        count[line["reason"] or "used"] += 1
        yield line
    for refused in sorted(gathered.refused):
        count["malformed"] += 1
        yield {**UNUSED, "reason": "malformed", "detail": f"{refused.place}: {refused.why}"}


def _fate(name: str, fates: Fates) -> dict[str, Any]:
    rows = sorted(fates.rows.get(name, []))
    withheld = sorted(set(fates.withheld.get(name, [])))
    reason = fates.left_out.get(name, "")
    if not rows and not reason:
        reason = withheld[0].partition(":")[2] if withheld else "nothing_to_learn"
    return {
        "state": fates.state.get(name, NEW),
        "used": bool(rows),
        "rows": rows,
        "reason": reason,
        "withheld": withheld,
    }


def _metrics(curated: Curated, gathered: Gathered, manifest: Counter[str]) -> dict[str, Any]:
    good, bad = curated.rows.labels()
    return {
        "events": gathered.events,
        "flags": len(gathered.standing),
        "rows": {name: curated.rows.count(name) for name in FILES},
        "replayed": len(curated.replayed),
        "mended": len(curated.mended),
        "not_replayed": curated.not_replayed,
        "used": manifest["used"],
        "unused": {reason: count for reason, count in sorted(manifest.items()) if reason != "used"},
        "states": dict(sorted(Counter(curated.fates.state.values()).items())),
        "conflicts": sum(state == CONFLICT for state in curated.fates.state.values()),
        "kto": {"good": good, "bad": bad, **kto_weights(good, bad)},
        "events_sha256": gathered.digest,
    }
