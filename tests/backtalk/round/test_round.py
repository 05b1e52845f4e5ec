"""A whole round on the bundled model: from flags to a report, interrupted anywhere, the same in the end.

Command: python -m pytest tests/backtalk/round/test_round.py
Promise: kill -9 in every act changes neither the model's sha256 nor the verdict; nothing is promoted without
evidence; the round can be traced to its flags and back; the same flags are not taught twice.
"""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from backtalk import cli
from backtalk.card import read_card
from backtalk.files import read_json, read_jsonl, write_json
from backtalk.round.acts import Round
from backtalk.round.ahead import ahead
from backtalk.round.child import Done
from backtalk.round.recipe import read_round_recipe
from backtalk.round.state import Rounds
from export.verify import HELD_OUT
from feedback.rights.trace import trace
from feedback.schema import FlagEvent
from tests.feedback.events import flag, segment

ROOT = Path(__file__).resolve().parents[3]
ITEMS = ROOT / "training" / "mini" / "evaluation"
HOLD_ON = 600.0  # seconds until a test gives up
KILLED_IN = ("replay", "curate", "train", "export", "evaluate")
DAYS = ("45", "60", "75")
THINGS = ("tent", "stove", "rope", "map", "lamp", "boot", "sock", "cup", "pan", "knife")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps, few questions: enough to go through every act."""
    place = tmp_path_factory.mktemp("recipe")
    for name, many in (("small_talk", 8), ("copy", 4)):
        lines = (ITEMS / f"{name}.jsonl").read_text().splitlines(keepends=True)[:many]
        (place / f"{name}.jsonl").write_text("".join(lines))
    lines = HELD_OUT.read_text().splitlines(keepends=True)[:4]
    (place / "texts.jsonl").write_text("".join(lines))
    knobs = {"schedule.steps": 2, "schedule.epochs": None, "batch.size": 2, "checkpoints.every": 1}
    given = {
        "include": "all",
        "train": {"recipe": "recipes/mini_feedback.yaml", "knobs": knobs},
        "replay": {"source": "mini", "share": 0.5, "pool": 60},
        "rules": {"pairs": None},
        "gate": {"task": [str(place / "small_talk.jsonl")], "general": [str(place / "copy.jsonl")],
                 "max_tokens": 24},
        "export": {"quant": "Q8_0", "texts": str(place / "texts.jsonl")},
    }  # fmt: skip
    (place / "round.yaml").write_text(yaml.safe_dump(given))
    return place / "round.yaml"


@cache
def corrections(count: int) -> tuple[FlagEvent, ...]:
    """So many people each correct one answer; the same events, with their ids and times, in every home."""
    return tuple(
        flag(
            f"visitor-{number}",
            "bad",
            ["factual_error"],
            f"You can return a {thing} within {days} days.",
            question=f"Until when may I return the {thing} that {days} friends gave me?",
            answer=f"You can return a {thing} within 30 days.",
        )
        for number in range(count)
        for thing, days in [(THINGS[number % 10], DAYS[number // 10 % 3])]
    )


def collect(home: Path, count: int = 30) -> None:
    (home / "segments").mkdir(parents=True, exist_ok=True)
    segment(home / "segments" / "flags.jsonl", corrections(count))


def run(recipe: Path, home: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """The command to its end: exit code and JSON line."""
    command = [sys.executable, "-m", "backtalk", "round", str(recipe), "--json", *words]
    environment = {**os.environ, "BACKTALK_HOME": str(home)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def killed_in(act: str, recipe: Path, home: Path) -> None:
    """Kills the command, as soon as the act's verb is under way, in a way that nothing can catch."""
    environment = {**os.environ, "BACKTALK_HOME": str(home)}
    command = [sys.executable, "-m", "backtalk", "round", str(recipe)]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=quiet, stderr=quiet)
    log = home / "rounds" / "1" / f"{act}.log"
    end = time.monotonic() + HOLD_ON
    while not log.exists():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


def run_here(recipe: Path, home: Path, until: str = "") -> tuple[int, dict[str, Any]]:
    """The command without a process for each verb, as far as this act: the libraries are loaded here already.

    Its exit code and JSON line; that one is empty where it was interrupted.
    """

    def run_verb(
        words: Sequence[str], log: Path, report: Callable[[str], None], given: Any, **ahead: Any
    ) -> Done:
        if ahead:
            return Done()  # what is asked ahead is asked again
        if log.stem == until:
            raise KeyboardInterrupt
        with redirect_stdout(io.StringIO()) as out:
            code = cli.main(list(words))
        return Done(code, json.loads(out.getvalue().splitlines()[-1]))

    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as out:
        patch.setenv("BACKTALK_HOME", str(home))
        patch.setattr("backtalk.round.acts.run_verb", run_verb)
        patch.setattr("backtalk.round.ahead.run_verb", run_verb)
        code = cli.main(["round", str(recipe), "--json"])
    return code, {} if code == cli.INTERRUPTED else json.loads(out.getvalue().splitlines()[-1])


@pytest.fixture(scope="module")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, dict[str, Any]]:
    """The state folder of an uninterrupted round, its exit code and what it said."""
    home = tmp_path_factory.mktemp("whole")
    collect(home)
    return home, *run_here(recipe, home)


def test_two_steps_are_no_evidence_and_nothing_is_promoted(whole: tuple[Path, int, dict[str, Any]]) -> None:
    home, code, said = whole
    assert (code, said["verdict"], said["promoted"]) == (3, "HOLD", False)
    assert not (home / "promoted.json").exists()


def test_a_round_leaves_its_report_its_verdict_and_its_card(whole: tuple[Path, int, dict[str, Any]]) -> None:
    home, _, said = whole
    folder = home / "rounds" / "1"
    card = read_card(folder)
    assert (card.kind, card.id) == ("round", "round1")
    assert {"REPORT.md", "changes.png", "loss.png", "verdict.json", "fixed.jsonl"} <= {
        one["path"] for one in card.outputs
    }
    assert read_json(folder / "verdict.json")["gguf_sha256"] == said["sha256"]
    report = (folder / "REPORT.md").read_text()
    assert report.startswith("# Round 1: HOLD") and "| flags held out |" in report
    held_out = {flag for item in read_jsonl(folder / "fixed.jsonl") for flag in [item["flag_id"]]}
    assert held_out and held_out <= {line["flag_id"] for line in read_jsonl(manifest(home)) if line["used"]}


def test_a_flag_is_traced_to_its_round_and_a_round_to_its_flags(
    whole: tuple[Path, int, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = whole[0]
    monkeypatch.setenv("BACKTALK_HOME", str(home))
    used = sorted(line["flag_id"] for line in read_jsonl(manifest(home)) if line["used"])
    assert "round" in [made.card.kind for made in trace(used[0]).forth]
    assert trace("rounds/1").flags == used


def test_the_same_flags_are_not_taught_again(recipe: Path, whole: tuple[Path, int, dict[str, Any]]) -> None:
    home, code, said = whole
    again, told = run(recipe, home)
    assert (again, told["round"], told["new"], told["sha256"]) == (code, 1, False, said["sha256"])
    assert [place.name for place in (home / "rounds").iterdir() if place.is_dir()] == ["1"]


def test_a_model_that_passed_is_served_and_its_round_is_not_repeated(
    recipe: Path, whole: tuple[Path, int, dict[str, Any]], tmp_path: Path
) -> None:
    """The round goes on at its last acts, as if the gate had said PROMOTE: all else stays as it was made."""
    home = tmp_path / "home"
    shutil.copytree(whole[0], home)
    folder = home / "rounds" / "1"
    moved = json.loads((folder / "round.json").read_text().replace(str(whole[0]), str(home)))
    moved["acts"] = {name: act for name, act in moved["acts"].items() if name not in ("publish", "promote")}
    write_json(folder / "round.json", moved)
    write_json(folder / "verdict.json", read_json(folder / "verdict.json") | {"verdict": "PROMOTE"})
    (folder / "card.json").unlink()
    code, said = run(recipe, home, "--by", "ann")
    assert (code, said["verdict"], said["promoted"]) == (0, "PROMOTE", True)
    pointer = read_json(home / "promoted.json")
    assert (pointer["sha256"], pointer["round"], pointer["why"]) == (said["sha256"], 1, "round 1")
    assert "is served from now on" in (folder / "REPORT.md").read_text()
    code, again = run(recipe, home)
    assert (code, again["round"], again["new"]) == (0, 1, False)


@pytest.mark.timeout(900)  # a round, and six processes that begin to go on with it, one of them to the end
def test_a_round_killed_in_every_act_ends_like_one_that_was_not(
    recipe: Path, whole: tuple[Path, int, dict[str, Any]], tmp_path: Path
) -> None:
    home = tmp_path / "killed"
    collect(home)
    for act in KILLED_IN:
        assert run_here(recipe, home, until=act)[0] == cli.INTERRUPTED
        killed_in(act, recipe, home)
    code, said = run(recipe, home)
    assert (code, said["sha256"], said["verdict"], said["why"]) == (
        whole[1],
        *(whole[2][key] for key in ("sha256", "verdict", "why")),
    )


def test_what_is_served_now_has_answered_when_the_candidate_is_made(
    recipe: Path, whole: tuple[Path, int, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    shutil.copytree(whole[0], home, ignore=shutil.ignore_patterns("evaluations", "answers"))
    monkeypatch.setenv("BACKTALK_HOME", str(home))
    folder = home / "rounds" / "1"
    begun = json.loads((folder / "round.json").read_text().replace(str(whole[0]), str(home)))
    begun["acts"] = {name: begun["acts"][name] for name in ("sync", "replay", "curate")}
    write_json(folder / "round.json", begun)
    (folder / "card.json").unlink()
    state = Rounds().unfinished()
    assert state
    with ahead(Round(state, read_round_recipe(recipe, {}), Rounds(), print, print)):
        end = time.monotonic() + HOLD_ON
        while not any((home / "answers").glob("*.jsonl")):
            assert time.monotonic() < end, (folder / "ahead.log").read_text()
            time.sleep(0.05)
    (known,) = (home / "answers").glob("*.jsonl")
    kinds = [what for _, what, _ in read_jsonl(known)]
    assert (kinds.count("answer"), kinds.count("bits")) == (8, 4), (folder / "ahead.log").read_text()


def test_too_few_flags_are_only_collected(
    recipe: Path, state_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collect(state_folder, 5)
    assert cli.main(["round", str(recipe)]) == 0
    assert "5 usable flags, and 20 are wanted" in capsys.readouterr().out
    assert not any(place.is_dir() for place in (state_folder / "rounds").iterdir())


def test_without_any_flag_nothing_is_begun(
    recipe: Path, state_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["round", str(recipe)]) == 0
    assert "There are no flags yet." in capsys.readouterr().out


def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    recipe: Path, state_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collect(state_folder)
    assert cli.main(["round", str(recipe), "--dry-run", "--json"]) == 0
    acts = json.loads(capsys.readouterr().out.splitlines()[-1])["acts"]
    assert [one["act"] for one in acts][:3] == ["sync", "replay", "curate"]
    assert not any((state_folder / "rounds").glob("*/*"))


def test_an_unfinished_round_is_not_mixed_with_another_recipe(
    recipe: Path, state_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    collect(state_folder)
    monkeypatch.setattr("backtalk.round.acts.run_verb", interrupted)
    assert cli.main(["round", str(recipe)]) == cli.INTERRUPTED
    assert cli.main(["round", str(recipe), "--seed", "7"]) == 2
    assert "was begun with another recipe or base" in capsys.readouterr().err


def interrupted(*words: Any) -> Any:
    raise KeyboardInterrupt


def manifest(home: Path) -> Path:
    return home / "curated" / read_card(home / "rounds" / "1").metrics["curated"] / "manifest.jsonl"
