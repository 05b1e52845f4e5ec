"""The last act: what a round leaves behind. REPORT.md on one page, its pictures, what became of each flag,
and the card, which is written last.

    REPORT.md      verdict, what changed, what was fixed, what broke, what was left out
    changes.png    shares of right answers before and after; loss.png is the run's
    fixed.jsonl    a line for each flag that can be judged: what was answered then and now, what became of it
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from backtalk.card import Card, write_card
from backtalk.files import read_jsonl, sha256_of, write_jsonl, write_text
from backtalk.home import home
from backtalk.round.acts import TAUGHT, Round
from backtalk.round.picture import Row, draw_changes

REPORT, FIXED, CHANGES, LOSS = "REPORT.md", "fixed.jsonl", "changes.png", "loss.png"
MOST_SHOWN = 8
CHANGED = ("fixed", "still_wrong", "newly_broken")
PARTS = {
    "primary": "flags held out",
    "earlier": "earlier rounds",
    "task": "task test",
    "general": "general text",
}
METRICS = {"right": "share right", "rougeL": "ROUGE-L", "bits_per_byte": "bits per byte"}

Item = Mapping[str, Any]


def finish(work: Round) -> Card:
    """Writes everything and returns the card."""
    folder = work.state.folder
    evaluation = Path(work.state.said("evaluate")["folder"])
    items = list(read_jsonl(evaluation / "items.jsonl"))
    rows = list(_shares(items))
    draw_changes(rows, folder / CHANGES, f"round {work.state.number}")
    shutil.copyfile(Path(work.state.said("train")["folder"]) / LOSS, folder / LOSS)
    write_jsonl(folder / FIXED, _fates(work, items))
    write_text(folder / REPORT, "\n".join(_page(work, items, rows)) + "\n")
    card = _card(work, evaluation)
    write_card(folder, card)
    return card


def _fates(work: Round, items: Sequence[Item]) -> Iterator[dict[str, Any]]:
    """What the person who flagged is told; of texts only what the two models answer."""
    held_out = work.curated / "eval.jsonl"  # a purge deletes it, also of a round that only lacks its card
    flags = {item["id"]: item["flags"] for item in (read_jsonl(held_out) if held_out.is_file() else ())}
    again = work.state.said("taught").get("folder")
    if again:
        flags |= {item["id"]: item["flags"] for item in read_jsonl(work.state.folder / TAUGHT)}
        items = [*items, *read_jsonl(Path(again) / "items.jsonl")]
    for item in items:
        if item["part"] == "primary" and item.get("change") in CHANGED:
            for flag in flags.get(item["id"], ()):
                yield {
                    "flag_id": flag,
                    "round": work.state.number,
                    "then": item["baseline"]["answer"],
                    "now": item["model"]["answer"],
                    "status": item["change"],
                }


def _shares(items: Sequence[Item]) -> Iterator[Row]:
    """Share right of each kind of question, the flags first."""
    kinds: dict[str, list[Item]] = {}
    for item in items:
        if item.get("change"):
            kinds.setdefault(_kind(item), []).append(item)
    for kind in sorted(kinds, key=lambda kind: (kind not in PARTS.values(), kind)):
        own = kinds[kind]
        before, after = (sum(one[role]["right"] for one in own) / len(own) for role in ("baseline", "model"))
        yield kind, len(own), before, after


def _kind(item: Item) -> str:
    """Items of a task test are told apart by the first word of ids such as facts/001."""
    word, slash, _ = str(item["id"]).partition("/")
    return word.replace("_", " ") if slash and item["part"] == "task" else PARTS[item["part"]]


def _card(work: Round, evaluation: Path) -> Card:
    state = work.state
    metrics, judged = state.said("curate")["metrics"], state.said("evaluate")["metrics"]
    run = Path(state.said("train")["folder"])
    verdict = work.verdict
    said = {name: verdict[name] for name in ("verdict", "why", "more_items")}
    return Card(
        kind="round",
        id=work.name,
        inputs=[
            _input("curated set", work.curated / "manifest.jsonl"),
            _input("run", run / "adapter_model.safetensors"),
            _input("export", work.gguf),
            _input("evaluation", evaluation / "items.jsonl"),
        ],
        recipe={**state.recipe, "round": state.number},
        seed=work.recipe.seed,
        metrics={
            "curated": work.curated.name,
            "run": run.name,
            "export": work.gguf.parent.name,
            "evaluation": evaluation.name,
            "sha256": verdict["gguf_sha256"],
            "current": state.current,
            "promoted": state.said("promote").get("sha256", "") == verdict["gguf_sha256"],
            "by": state.by,
            "methods": work.choice.methods,
            "why": work.choice.why,
            "flags": metrics["flags"],
            "used": metrics["used"],
            "unused": metrics["unused"],
            "rows": metrics["rows"],
            "replayed": metrics["replayed"],
            "events_sha256": metrics["events_sha256"],
            "differences": judged["differences"],
            "changes": judged["changes"],
            "seconds": {name: act["seconds"] for name, act in state.acts.items()},
        },
        verdicts=[said | {"evaluation": evaluation.name}],
    )


def _input(role: str, path: Path) -> dict[str, Any]:
    place = path.relative_to(home()) if path.is_relative_to(home()) else path
    return {"role": role, "path": str(place), "sha256": sha256_of(path), "bytes": path.stat().st_size}


def _page(work: Round, items: Sequence[Item], rows: Sequence[Row]) -> Iterator[str]:
    verdict, state = work.verdict, work.state
    yield f"# Round {state.number}: {verdict['verdict']}\n"
    yield f"{verdict['why']}\n"
    served = state.said("promote").get("name", "")
    now = f"{served} is served from now on" if served else f"{state.current['name']} is served as before"
    yield f"Judged was `{work.gguf.name}`, as it is served, against {state.current['name']}; {now}.\n"
    yield from _conditions(verdict)
    yield from _what_changed(work, rows)
    yield from _examples("Fixed", "fixed", items)
    yield from _examples("Broke", "newly_broken", items)
    yield from _taught(work)
    yield "## How long it took\n"
    yield ", ".join(f"{name} {act['seconds']:.0f} s" for name, act in state.acts.items()) + "."


def _conditions(verdict: Mapping[str, Any]) -> Iterator[str]:
    yield "| condition | stands | why |\n|---|---|---|"
    for one in verdict["conditions"]:
        yield f"| {one['name']} | {one['standing']} | {one['why'].partition(': ')[2]} |"
    yield ""


def _what_changed(work: Round, rows: Sequence[Row]) -> Iterator[str]:
    yield "## What changed\n\n![before and after](changes.png)\n"
    yield "| asked | items | before | after |\n|---|---|---|---|"
    for name, count, before, after in rows:
        yield f"| {name} | {count:,} | {before:.1%} | {after:.1%} |"
    yield "\n| part | metric | difference | 95 % interval |\n|---|---|---|---|"
    for one in work.state.said("evaluate")["metrics"]["differences"]:
        if one["metric"] in METRICS:
            ends = "none" if one["low"] is None else f"{one['low']:+.4f} to {one['high']:+.4f}"
            yield f"| {PARTS[one['part']]} | {METRICS[one['metric']]} | {one['value']:+.4f} | {ends} |"
    alone = work.state.said("earlier").get("difference")
    if alone:
        yield f"\nItems of earlier rounds by themselves: {alone['value']:+.1%} on {alone['items']} items."
    yield ""


def _examples(title: str, change: str, items: Sequence[Item]) -> Iterator[str]:
    own = [item for item in items if item.get("change") == change]
    yield f"## {title}: {len(own)}\n"
    for item in own[:MOST_SHOWN]:
        asked = item["messages"][-1]["content"]
        yield f"- {_line(asked)}\n  - then: {_line(item['baseline']['answer'])}"
        yield f"  - now: {_line(item['model']['answer'])}"
    if len(own) > MOST_SHOWN:
        yield f"- and {len(own) - MOST_SHOWN} more, in the evaluation's items.jsonl"
    yield ""


def _taught(work: Round) -> Iterator[str]:
    metrics = work.state.said("curate")["metrics"]
    yield "## What was taught\n\n![loss](loss.png)\n"
    used = f"{metrics['used']} of {metrics['flags']} flags ({work.recipe.include})"
    yield f"{used}, {metrics['replayed']} rows replayed.\n"
    yield from (f"- {line}" for line in work.choice.why)
    unused = Counter(metrics["unused"])
    told = ", ".join(f"{reason} {count}" for reason, count in unused.most_common()) or "none"
    yield f"\nLeft out, by reason: {told}.\n"


def _line(text: str, most: int = 160) -> str:
    """A text of a visitor or a model as one line that no Markdown is read in."""
    line = " ".join(text.split())
    line = line if len(line) <= most else f"{line[: most - 1]}…"
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]<>#|!" else sign for sign in line) or "(empty)"
