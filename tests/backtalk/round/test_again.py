"""A round that goes on looks again: at the flags it teaches, and at the model that it has to beat.

Command: python -m pytest tests/backtalk/round/test_again.py
Promise: what was withdrawn since is not taught; nothing is promoted that did not beat what is served.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from backtalk import cli
from backtalk.errors import BacktalkError
from backtalk.files import read_json, read_jsonl, sha256_of, write_json
from backtalk.models import MINI
from backtalk.round import acts, child
from backtalk.round.recipe import Hub, RoundRecipe
from backtalk.round.state import Rounds
from feedback.schema import FlagEvent
from tests.feedback.events import flag, segment

pytest_plugins = ["tests.hub.local"]

ITEMS = Path(__file__).resolve().parents[3] / "training" / "mini" / "evaluation"
THINGS = ("tent", "stove", "rope", "map", "lamp", "boot", "sock", "cup", "pan", "knife")


def corrected(thing: str, days: int, **more: Any) -> FlagEvent:
    return flag(
        f"visitor-{thing}-{days}",
        "bad",
        ["factual_error"],
        f"You can return a {thing} within {days} days.",
        question=f"Until when may I return the {thing} that {days} friends gave me?",
        answer=f"You can return a {thing} within 30 days.",
        **more,
    )


FLAGS = {(thing, days): corrected(thing, days) for thing in THINGS for days in (45, 60, 75)}


@pytest.fixture
def home(state_folder: Path) -> Path:
    (state_folder / "segments").mkdir(parents=True)
    segment(state_folder / "segments" / "flags.jsonl", FLAGS.values())
    return state_folder


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    given = {"include": "all", "gate": {"task": [str(ITEMS / "summaries.jsonl")]}}
    (tmp_path / "round.yaml").write_text(yaml.safe_dump(given))
    return str(tmp_path / "round.yaml")


@pytest.fixture
def until(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Interrupts rounds where they would begin this verb."""

    def set_end(verb: str) -> None:
        def run_verb(words: Any, *more: Any) -> child.Done:
            if words[0] == verb:
                raise KeyboardInterrupt
            return child.run_verb(words, *more)

        monkeypatch.setattr(acts, "run_verb", run_verb)
        monkeypatch.setattr("backtalk.round.ahead._has_room", lambda model: False)

    return set_end


def state_in(home: Path) -> Any:
    return read_json(home / "rounds" / "1" / "round.json")


def used(state: Any) -> set[str]:
    manifest = Path(state["acts"]["curate"]["said"]["folder"]) / "manifest.jsonl"
    return {line["flag_id"] for line in read_jsonl(manifest) if line["used"]}


def test_a_flag_that_is_withdrawn_while_a_round_is_interrupted_is_not_taught(
    home: Path, recipe: str, until: Callable[[str], None]
) -> None:
    until("train")
    assert cli.main(["round", recipe]) == cli.INTERRUPTED
    first = state_in(home)
    segment(home / "segments" / "more.jsonl", [corrected("stool", 90)])
    assert cli.main(["round", recipe]) == cli.INTERRUPTED
    assert state_in(home)["acts"]["curate"] == first["acts"]["curate"]  # what is new waits for the next round
    about, gone = next((about, event) for about, event in FLAGS.items() if event.flag_id in used(first))
    withdrawn = corrected(*about, last=gone, retract=True)
    segment(home / "segments" / "most.jsonl", [withdrawn])
    assert cli.main(["round", recipe]) == cli.INTERRUPTED
    assert gone.flag_id not in used(state_in(home))
    assert state_in(home)["acts"]["curate"]["said"]["id"] in (
        (home / "rounds" / "1" / "training.yaml").read_text()
    )


def test_a_candidate_is_judged_anew_where_another_model_is_served_by_now(
    home: Path, recipe: str, until: Callable[[str], None]
) -> None:
    until("train")
    assert cli.main(["round", recipe]) == cli.INTERRUPTED
    state = state_in(home)
    for act in ("train", "export", "earlier", "taught", "evaluate"):
        state["acts"][act] = {"words": [], "seconds": 1, "said": {"path": "nowhere", "items": 7}}
    write_json(home / "rounds" / "1" / "round.json", state)
    write_json(home / "rounds" / "1" / "verdict.json", {"verdict": "PROMOTE", "gguf_sha256": "candidate"})
    serve(home, "other")
    until("evaluate")
    assert cli.main(["round", recipe]) == cli.INTERRUPTED
    after = state_in(home)
    assert after["current"]["name"] == "other"
    assert list(after["acts"])[-3:] == ["train", "export", "earlier"]
    assert after["acts"]["earlier"]["said"]["items"] == 0


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("act", [acts.promote, acts.publish])
def test_nothing_is_promoted_that_was_judged_against_a_model_of_before(
    home: Path, act: acts.Act, until: Callable[[str], None]
) -> None:
    state = Rounds().begin({}, {"name": "mini", "sha256": "before", "round": 0}, "ann")
    state.note("export", {"path": "exports/one"})
    state.note("evaluate", {})
    write_json(state.folder / "verdict.json", {"verdict": "PROMOTE", "gguf_sha256": "candidate"})
    given = RoundRecipe(hub=Hub(model="shop/desk")) if act is acts.publish else RoundRecipe()
    until(act.__name__)
    with pytest.raises(
        BacktalkError, match="mini is served by now, and round1-Q4_K_M.gguf was judged against"
    ):
        act(acts.Round(state, given, Rounds(), print, print))


def serve(home: Path, name: str) -> None:
    """Another model becomes the served one."""
    (home / f"{name}.gguf").write_bytes(MINI.read_bytes() + b"\0")
    sha256 = sha256_of(home / f"{name}.gguf")
    write_json(home / "promoted.json", {"file": f"{name}.gguf", "sha256": sha256, "name": name})


def test_what_was_begun_fresh_goes_on_and_what_cannot_be_read_is_begun_anew(
    home: Path, recipe: str, until: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    until("train")
    assert cli.main(["round", recipe]) == cli.INTERRUPTED
    assert not state_in(home)["fresh"]
    assert cli.main(["round", recipe, "--fresh"]) == cli.INTERRUPTED
    begun = state_in(home)
    assert begun["fresh"]
    assert cli.main(["round", recipe, "--fresh"]) == cli.INTERRUPTED
    assert state_in(home) == begun
    (home / "rounds" / "1" / "round.json").write_text('{"format": "rou')
    capsys.readouterr()
    assert cli.main(["round", recipe]) == 1
    assert "round.json cannot be read. Begin the round anew with --fresh." in capsys.readouterr().err
    assert cli.main(["round", recipe, "--fresh"]) == cli.INTERRUPTED
    assert state_in(home)["fresh"]
