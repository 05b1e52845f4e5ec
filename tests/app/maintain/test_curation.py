"""The preview of a curated set, and the set that `backtalk curate` then makes.

Command: python -m pytest tests/app/maintain/test_curation.py
Promise: the counts by file and the reasons are those of the set, whatever is included; nothing is written.
"""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from app.maintain.curation import preview
from backtalk.cli import main
from backtalk.errors import WordsError
from backtalk.files import read_json
from backtalk.home import home
from feedback.schema import Consent
from feedback.store.decisions import Decisions, Review, matter_of
from feedback.store.outbox import NAME, Outbox
from tests.feedback.events import CORRECTION, flag


@pytest.fixture
def flags() -> None:
    """Agreed, alone, accepted, without consent, and in conflict."""
    events = [flag(f"who{n}", "bad", ["outdated"], CORRECTION) for n in range(3)]
    events += [flag("lone", "bad", ["factual_error"], "At nine.", question="When do you open?")]
    events += [flag("shy", "bad", ["factual_error"], "Red.", question="Which colour?", consent=Consent())]
    events += [flag(f"c{n}", "bad", [], f"It costs {n} euros.", question="How much is it?") for n in range(2)]
    events += [flag(f"good{n}", "good", [], question=f"Is {n} a number?") for n in range(4)]
    outbox = Outbox(home() / NAME)
    for event in events:
        outbox.save(replace(event, revision=0))
    stored = list(outbox.standing())
    outbox.close()
    lone = next(event for event in stored if event.correction.text == "At nine.")
    Decisions.at_home().decide(
        Review(flag_id=lone.flag_id, state="accepted", by="ada", matter=matter_of(lone))
    )


@pytest.mark.parametrize("include", ["accepted", "agreed", "all"])
def test_the_preview_is_what_curate_then_makes(
    flags: None, include: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = preview(include)
    assert not (home() / "curated").exists()
    assert main(["curate", "--include", include, "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    metrics = read_json(Path(said["folder"]) / "card.json")["metrics"]
    assert (shown["rows"], shown["used"], shown["flags"]) == (
        metrics["rows"],
        metrics["used"],
        metrics["flags"],
    )
    assert shown["unused"] == dict(Counter(metrics["unused"]))
    assert shown["used"] + sum(shown["unused"].values()) == shown["flags"]


def test_a_decision_changes_the_preview_at_once(flags: None) -> None:
    assert preview("accepted")["used"] == 1
    outbox = Outbox(home() / NAME)
    for event in outbox.standing():
        if event.correction.text == CORRECTION:
            draft = Review(flag_id=event.flag_id, state="accepted", by="ada", matter=matter_of(event))
            Decisions.at_home().decide(draft)
    outbox.close()
    assert preview("accepted")["used"] > 1


def test_without_flags_there_is_nothing_to_count() -> None:
    assert (preview("all")["flags"], preview("all")["rows"]["sft"]) == (0, 0)


def test_an_unknown_choice_is_a_sentence() -> None:
    with pytest.raises(WordsError, match="There are accepted, agreed, all"):
        preview("--from=/etc")
