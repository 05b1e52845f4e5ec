"""`backtalk flags review`: one key each, plain text, nothing lost when somebody else decides."""

import io
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from backtalk.cli import main
from backtalk.home import home
from feedback.review.triage import Desk
from feedback.store.decisions import Decisions, Review, content_of, matter_of
from feedback.store.outbox import NAME, Outbox
from tests.feedback.events import CORRECTION, flag


@pytest.fixture
def outbox() -> Iterator[Outbox]:
    with closing(Outbox(home() / NAME)) as opened:
        for n, severity in enumerate(["critical", "major", "minor"]):
            event = flag(f"who{n}", question=f"Question {n}?", correction=CORRECTION, severity=severity)
            opened.save(replace(event, revision=0))
        yield opened


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def states() -> list[str]:
    standing = Decisions.at_home().standing().values()
    return [review.state for review in sorted(standing, key=lambda one: (one.at, one.review_id))]


def test_one_key_decides_and_the_end_of_input_is_a_farewell(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, "a", "r")
    assert main(["flags", "review", "--by", "ada", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"decided": 2}
    assert states() == ["accepted", "rejected"]


def test_undo_and_later_and_own_words(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "r", "u", "?", " ", "w", "In 60 days.", "q")
    main(["flags", "review", "--by", "ada"])
    (last,) = [review for review in Decisions.at_home().standing().values() if review.state == "accepted"]
    assert (last.correction, last.by) == ("In 60 days.", "ada")
    assert states().count("new") == 1


def test_a_decision_made_elsewhere_is_told_and_not_overwritten(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = Desk.decide

    def slow_decide(desk: Desk, *words: object, **more: object) -> None:
        monkeypatch.setattr(Desk, "decide", real)
        other = Desk(outbox, Decisions.at_home(), "bob")
        other.decide(other.queue()[0], "needs_reference")
        real(desk, *words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Desk, "decide", slow_decide)
    typed(monkeypatch, "a", "a")
    main(["flags", "review", "--by", "ada"])
    assert "was decided while you looked at it: needs_reference by bob" in capsys.readouterr().out
    assert sorted(states()) == ["accepted", "needs_reference"]


def test_flags_on_which_two_decided_apart_come_first_and_are_settled_by_one_more_decision(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    here, elsewhere = Decisions.at_home(), Decisions(tmp_path / "elsewhere" / "reviews.jsonl")
    minor = next(flag for flag in outbox.standing() if flag.severity == "minor")
    draft = Review(flag_id=minor.flag_id, state="accepted", by="bob", matter=matter_of(minor))
    (first,) = here.decide(draft)
    other = elsewhere.decide(replace(draft, state="rejected", by="cy", note="\x1b[2J it is wrong"))
    here.keep("flags", "data/reviews/v1/x.jsonl", content_of(other))
    typed(monkeypatch, "r", "q")
    main(["flags", "review", "--by", "ada"])
    shown = capsys.readouterr().out
    assert "3 waiting" in shown and "note: two maintainers decided apart" in shown
    assert f"stands: accepted by bob, {first.at}" in shown
    assert f"overtaken: rejected by cy, {other[0].at} | \\x1b[2J it is wrong" in shown
    last = here.last(minor.flag_id)
    assert last and (last.state, last.by, last.after) == ("rejected", "ada", first.review_id)
    assert not here.conflicts()


def test_what_visitors_wrote_cannot_steer_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Outbox(home() / NAME)) as opened:
        opened.save(replace(flag(correction="\x1b[2Jgone \u202e![x](http://x.example/y.png)"), revision=0))
    typed(monkeypatch, "q")
    main(["flags", "review", "--by", "ada"])
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\u202e" not in shown
    assert "![x](http://x.example/y.png)" in shown


def test_without_flags_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flags", "review"]) == 1
    assert "no flags to review" in capsys.readouterr().err
