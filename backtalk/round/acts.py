"""The acts of a round, in order. Each says what it chose and why, runs a verb, and is noted when it is done.

sync      flags of others, and ours to the Hub
replay    rows of the base's own corpus, to draw from
curate    all usable flags to date
train     from the recipe's base, by the methods that follow from the set
export    merge, quantize, verify
earlier   what earlier rounds were asked, as far as it is still held out
evaluate  the file as it is served against the one that is served now, and the gate
publish   where there is a repository, and the gate said PROMOTE
promote   where the gate said PROMOTE
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from backtalk.config import read_yaml
from backtalk.errors import BacktalkError
from backtalk.files import read_json, read_jsonl, write_json, write_jsonl, write_text
from backtalk.home import home
from backtalk.round.child import run_verb
from backtalk.round.earlier import enough_groups, items_of_earlier
from backtalk.round.judge import ALONE, PROMOTE, lost_any, named, together, with_condition
from backtalk.round.recipe import RoundRecipe, found
from backtalk.round.rules import Choice, choose
from backtalk.round.served import current_of
from backtalk.round.start import start_of
from backtalk.round.state import Rounds, State
from backtalk.round.taught import items_of_taught

Said = dict[str, Any]
"""What an act leaves in round.json."""

Act = Callable[["Round"], Said]

BROKEN, ITEMS = "broken", "items.jsonl"
GATE_SAID_NO = 3
VERDICT, EARLIER, TAUGHT = "verdict.json", "earlier.jsonl", "taught.jsonl"
DATASET = "BACKTALK_FLAGS_DATASET"


@dataclass
class Round:
    """A round under way, and who is told of it."""

    state: State
    recipe: RoundRecipe
    rounds: Rounds
    say: Callable[[str], None]
    report: Callable[[str], None]
    offline: bool = False
    words: list[str] = field(default_factory=list)
    """The commands of the act under way."""

    def go_on(self, acts: Sequence[tuple[str, Act]]) -> None:
        """Does every act that is not done, and writes each down when all of it is done."""
        for name, act in acts:
            if not self.state.done(name):
                self.state.note(name, **self.do(act))

    def do(self, act: Act) -> dict[str, Any]:
        """Does an act and returns what there is to note of it: said, words, seconds."""
        self.words, began = [], time.monotonic()
        said = act(self)
        return {"said": said, "words": self.words, "seconds": time.monotonic() - began}

    def run(self, act: str, words: Sequence[str], *also: int) -> dict[str, Any]:
        """Runs a verb of the act and returns what it said.

        `also`: exit codes besides 0 that are no fault. Raises BacktalkError with the verb's own sentence.
        """
        log = self.state.folder / f"{act}.log"
        self.words.append(" ".join(words))
        told = [*words, "--json"]
        done = run_verb(told, log, lambda line: self.report(f"{act}: {line}"), self.environment())
        if done.code not in (0, *also) or (done.code and not done.said):
            raise BacktalkError(
                f"Round {self.state.number} stopped in the act '{act}'. {done.fault} All that it said is in "
                f"{log}; the same command goes on there."
            )
        return done.said

    def environment(self) -> dict[str, str]:
        """Of the round's verbs."""
        more = {"HF_HUB_OFFLINE": "1"} if self.offline else {}
        dataset = {DATASET: self.recipe.hub.dataset} if self.recipe.hub.dataset else {}
        return {**os.environ, **more, **dataset}

    @property
    def name(self) -> str:
        """What the round's files are called."""
        return f"{self.recipe.name}{self.state.number}"

    @property
    def curated(self) -> Path:
        return Path(self.state.said("curate")["folder"])

    @property
    def choice(self) -> Choice:
        return choose(self.state.said("curate")["metrics"], self.recipe.rules)

    @property
    def gguf(self) -> Path:
        """The candidate as it would be served."""
        return Path(self.state.said("export")["path"]) / f"{self.name}-{self.recipe.export.quant}.gguf"

    @property
    def candidate(self) -> str:
        """The candidate's sha256; empty before it was judged."""
        return str(self.verdict["gguf_sha256"]) if self.state.done("evaluate") else ""

    @property
    def verdict(self) -> dict[str, Any]:
        return dict(read_json(self.state.folder / VERDICT))


def sync(work: Round) -> Said:
    dataset = work.recipe.hub.dataset or os.environ.get(DATASET, "")
    if not dataset or work.offline:
        why = "the network is not to be used" if dataset else "no dataset is named"
        work.say(f"sync: skipped, {why}; the flags are those of {home()}.")
        return {}
    work.say(f"sync: flags from {dataset}, and ours to it.")
    return work.run("sync", ["flags", "sync"])


def replay(work: Round) -> Said:
    wanted = work.recipe.replay
    if wanted.source != "mini":
        return {"source": str(found(Path(wanted.source))) if wanted.source else ""}
    file = work.state.folder / "replay.jsonl"
    work.say(f"replay: {wanted.pool:,} rows of the base's own corpus to draw from.")
    words = ["mini", "replay", str(file), "--rows", str(wanted.pool), "--seed", str(work.recipe.seed)]
    return {**work.run("replay", words), "source": str(file)}


def curate(work: Round) -> Said:
    recipe, source = work.recipe, work.state.said("replay").get("source", "")
    words = ["curate", "--include", recipe.include, "--eval-share", str(recipe.eval_share)]
    words += ["--most-per-contributor", str(recipe.most_per_contributor), "--seed", str(recipe.seed)]
    if source:
        wanted = recipe.replay
        much = ["--replay-rows", str(wanted.rows)] if wanted.rows else ["--replay", str(wanted.share)]
        words += [*much, "--replay-from", source, "--drop-leaks"]
    said = work.run("curate", words)
    metrics = said["metrics"]
    rows = ", ".join(f"{name} {count}" for name, count in metrics["rows"].items())
    work.say(f"curate: {metrics['used']} of {metrics['flags']} flags are used ({recipe.include}): {rows}.")
    if metrics["replayed"]:
        work.say(f"curate: {metrics['replayed']} rows are replayed beside the corrections.")
    return said


def train(work: Round) -> Said:
    file = work.state.folder / "training.yaml"
    given, why = _training(work)
    write_text(file, yaml.safe_dump(given, sort_keys=False))
    work.say(f"train: {why}")
    said = work.run("train", ["train", str(file), *(["--offline"] if work.offline else [])])
    metrics = said["metrics"]
    work.say(f"train: {metrics['steps']} steps, loss {metrics['loss_of_last_tenth']:.3f} at the end.")
    return said


def _training(work: Round) -> tuple[dict[str, Any], str]:
    """The training recipe as this round has it, and what it begins with in words."""
    given = read_yaml(found(work.recipe.train.recipe))
    start, why = start_of(
        work.recipe.start, work.curated, work.rounds.finished(), work.state.current["sha256"]
    )
    data = given.setdefault("data", {})
    data["sources"] = [_with_set(source, work.curated.name) for source in data.get("sources", [])]
    given |= {"name": work.name, "round": work.state.number, "method": work.choice.methods}
    given |= {"seed": work.recipe.seed, **({"start": start} if start else {})}
    for key, value in work.recipe.train.knobs.items():
        _put(given, key, value)
    return given, why


def _with_set(source: Any, curated: str) -> Any:
    """`curated/newest` is this round's set, even where somebody curates another one meanwhile."""
    if source == "curated/newest":
        return f"curated/{curated}"
    if isinstance(source, Mapping) and source.get("path") == "curated/newest":
        return {**source, "path": f"curated/{curated}"}
    return source


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for name in sections:
        values = values.setdefault(name, {})
    values[last] = value


def export(work: Round) -> Said:
    wanted = work.recipe.export
    words = ["export", work.state.said("train")["id"], "--quants", wanted.quant, "--name", work.name]
    how = wanted.quant
    if wanted.imatrix:
        words += ["--imatrix", str(work.curated / "sft.jsonl")]
        how += " with an importance matrix of the taught rows"
    if wanted.texts:
        words += ["--texts", str(found(wanted.texts))]
    work.say(f"export: {how}, the one file that is judged and served.")
    said = work.run("export", words, 1)
    row = said["quants"][wanted.quant]
    failed = ", ".join(row["failed"])
    work.say(f"export: {row['bytes'] / 1e6:,.1f} MB, {f'failed: {failed}' if failed else 'verified'}.")
    return said


def earlier(work: Round) -> Said:
    """Too few items for a condition of their own are judged alone, then with the task test: judge.py."""
    items, dropped = items_of_earlier(work.rounds.finished(), work.curated)
    if not items:
        work.say("earlier: no items of earlier rounds.")
        return {"items": 0, "dropped": dropped}
    file = work.state.folder / EARLIER
    write_jsonl(file, items)
    left_out = ", ".join(f"{count} {why}" for why, count in dropped.items() if count)
    work.say(f"earlier: {len(items)} items of earlier rounds (left out: {left_out or 'none'}).")
    own = enough_groups(items)
    said: Said = {"items": len(items), "dropped": dropped, "own_condition": own}
    if own:
        return said
    judged = _measured(work, "earlier", file)
    conditions = read_json(Path(judged["folder"]) / VERDICT)["conditions"]
    alone = next(one for one in conditions if one["name"] == "primary set")
    difference = primary(judged["metrics"])
    lost = lost_any(judged["metrics"])
    where = " and with the task test" if lost else ""
    work.say(f"earlier: too few for a condition of their own, so judged alone{where}: {alone['why']}")
    return said | {"alone": alone, "difference": difference, "folder": judged["folder"], "lost": lost}


def _measured(work: Round, act: str, data: Path, *more: str) -> Said:
    """The candidate against what is served now, on `data`."""
    words = ["evaluate", str(work.gguf), "--baseline", work.state.current["ref"], "--data", str(data)]
    return work.run(act, [*words, *more, *measured_as(work.recipe)], GATE_SAID_NO)


def sets_of_gate(recipe: RoundRecipe) -> list[str]:
    """What the gate asks beside the flags, as words of `backtalk evaluate`."""
    sets = {"--task": recipe.gate.task, "--general": recipe.gate.general}
    named = {flag: [str(found(path)) for path in paths] for flag, paths in sets.items() if paths}
    return [word for flag, paths in named.items() for word in (flag, *paths)]


def measured_as(recipe: RoundRecipe) -> list[str]:
    """How the gate has every model asked."""
    return ["--bits", "general", "--max-tokens", str(recipe.gate.max_tokens)]


def taught(work: Round) -> Said:
    items = items_of_taught(work.curated)
    if not items:
        return {"items": 0}
    file = work.state.folder / TAUGHT
    write_jsonl(file, items)
    work.say(f"taught: {len(items)} questions that were taught, asked again; they say nothing to the gate.")
    said = _measured(work, "taught", file)
    return {"items": len(items), "folder": said["folder"], "changes": said["metrics"]["changes"]}


def primary(metrics: Mapping[str, Any]) -> Said:
    """The difference on the primary set, in what is right where items say so."""
    rows = [row for row in metrics["differences"] if row["part"] == "primary"]
    return dict(min(rows, key=lambda row: row["metric"] != "right"))


def evaluate(work: Round) -> Said:
    current, asked = work.state.current, work.state.said("earlier")
    words = ["--earlier", str(work.state.folder / EARLIER)] if asked.get("own_condition") else []
    work.say(f"evaluate: {work.gguf.name} against {current['name']}, on flags that were held out.")
    said = _measured(work, "evaluate", work.curated / "eval.jsonl", *words, *sets_of_gate(work.recipe))
    verdict = _judged(work, Path(said["folder"]))
    write_json(work.state.folder / VERDICT, verdict)
    write_json(work.gguf.parent / VERDICT, verdict)  # there promote looks for it, whoever calls it
    work.say(f"evaluate: {verdict['verdict']}. {verdict['why']}")
    return said


def _judged(work: Round, evaluation: Path) -> Said:
    """The gate's verdict, with what too few items of earlier rounds have to say to it."""
    verdict = read_json(evaluation / VERDICT) | {"round": work.state.number}
    asked = work.state.said("earlier")
    if asked.get("alone", {}).get("standing") == BROKEN:
        verdict = with_condition(verdict, named(ALONE, asked["alone"]))
    if asked.get("lost"):
        task = [row for row in read_jsonl(evaluation / ITEMS) if row["part"] == "task"]
        condition, more = together(task, list(read_jsonl(Path(asked["folder"]) / ITEMS)))
        verdict = with_condition(verdict, condition)
        verdict["more_items"] = max(verdict["more_items"], more)
    return verdict


def publish(work: Round) -> Said:
    repo = work.recipe.hub.model
    if not repo or work.verdict["verdict"] != PROMOTE or work.offline:
        work.say("publish: skipped, " + (_no(work) if repo else "no model repository is named."))
        return {}
    _expect_current(work)
    words = ["publish", work.gguf.parent.name, "--repo", repo, *_verdict(work)]
    said = work.run("publish", words + (["--public"] if work.recipe.hub.public else []))
    work.say(f"publish: {repo} is at {said['commit'][:7]}.")
    moved = work.run("publish", ["promote", str(work.gguf), "--repo", repo, *_verdict(work), *_who(work)])
    return said | {"promoted": moved}


def promote(work: Round) -> Said:
    if work.verdict["verdict"] != PROMOTE:
        work.say(f"promote: {_no(work)}")
        return {}
    _expect_current(work)
    said = work.run("promote", ["promote", str(work.gguf), *_verdict(work), *_who(work)])
    work.say(f"promote: {work.gguf.name} is served from now on. Back: backtalk rollback")
    return said


def _expect_current(work: Round) -> None:
    """Raises BacktalkError where by now another model is served than the one that was beaten."""
    now, beaten = current_of(work.recipe, work.offline), work.state.current
    if now["sha256"] not in (beaten["sha256"], work.candidate):
        raise BacktalkError(
            f"{now['name']} is served by now, and {work.gguf.name} was judged against {beaten['name']}, "
            "so it was not promoted. The same command judges it anew."
        )


def _no(work: Round) -> str:
    if work.verdict["verdict"] == PROMOTE:
        return "the network is not to be used."
    return f"the gate said {work.verdict['verdict']}; {work.state.current['name']} stays."


def _verdict(work: Round) -> list[str]:
    return ["--verdict", str(work.state.folder / VERDICT)]


def _who(work: Round) -> list[str]:
    return ["--why", f"round {work.state.number}", *(["--by", work.state.by] if work.state.by else [])]


GATHERING: tuple[tuple[str, Act], ...] = (("sync", sync), ("replay", replay), ("curate", curate))
TEACHING: tuple[tuple[str, Act], ...] = (("train", train), ("export", export))
RECALLING: tuple[tuple[str, Act], ...] = (("earlier", earlier), ("taught", taught))
JUDGING: tuple[tuple[str, Act], ...] = (("evaluate", evaluate), ("publish", publish), ("promote", promote))
"""These, and what is recalled, depend on which model is served."""

ACTS = (*GATHERING, *TEACHING, *RECALLING, *JUDGING)
