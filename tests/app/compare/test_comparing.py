"""Two models, one question: blind until the vote, and the vote is what curation learns from.

Command: .venv/bin/python -m pytest tests/app/compare/test_comparing.py
Promise: the real engine answers twice; what the browser holds tells nothing of who is who and is not forged.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app.access.seal import seal, unseal
from app.compare.comparing import PURPOSE, Comparing, Pairing
from app.compare.contenders import Contender, contenders
from app.compare.side_desk import SideDesk
from app.compare.tally import Side, Tallies
from app.desk.conversation import Controls
from app.flags.flagging import Flagging
from backtalk.engine import STOPPED, Ending
from backtalk.errors import FlagError, TranscriptError, WordsError
from backtalk.files import read_jsonl, sha256_of
from backtalk.home import home
from backtalk.models import MINI, Model
from backtalk.prompt import Prompt
from feedback.curate.curate import Curation, curate
from feedback.schema import FlagEvent
from feedback.store.decisions import Decisions, Review, matter_of
from feedback.store.outbox import NAME, Outbox

VISITOR, STRANGER = "visitor1", "visitor2"
QUESTION = "How long can I return things?"
YES = {"version": "c1", "scope": "flag_only", "training": True, "at": "2026-11-21T09:00:00+00:00"}
GREEDY = Controls(temperature=0, max_tokens=24)


@pytest.fixture
def flagging() -> Iterator[Flagging]:
    with closing(Flagging.at_home()) as flagging:
        yield flagging


@pytest.fixture
def comparing(desk: Any, flagging: Flagging) -> Iterator[Comparing]:
    with closing(SideDesk(desk, context=1024)) as side_desk:
        yield Comparing(side_desk, flagging)


@pytest.fixture
def pair(desk: Any, tmp_path: Path) -> list[Contender]:
    """The model that answers, and the same weights as the file of a later round."""
    path = tmp_path / "later-Q8_0.gguf"
    path.write_bytes(MINI.read_bytes())
    later = Contender("later", "export", "later-Q8_0", 4, "", lambda: Model("", path, "9" * 64))
    return [contenders(desk.engine.model)[0], later]


def read(pairing: Pairing) -> dict[str, str]:
    return {side: step for side, step in pairing if isinstance(step, str)}


def events() -> list[FlagEvent]:
    with closing(Outbox(home() / NAME)) as outbox:
        return list(outbox.standing())


def test_both_models_answer_and_the_order_is_drawn(comparing: Comparing, pair: list[Contender]) -> None:
    first = set()
    for _ in range(12):
        pairing = comparing.begin(VISITOR, pair, QUESTION, GREEDY)
        texts = read(pairing)
        assert texts["a"] and texts["a"] == texts["b"]  # the same weights, the same seed
        told = comparing.vote(VISITOR, pairing.sealed, {"choice": "tie_good"})
        assert {one["name"] for one in told["names"].values()} == {"mini", "later-Q8_0"}
        first.add(told["names"]["a"]["name"])
    assert first == {"mini", "later-Q8_0"}


def test_nothing_that_the_browser_gets_before_the_vote_names_a_model(
    comparing: Comparing, pair: list[Contender]
) -> None:
    pairing = comparing.begin(VISITOR, pair, QUESTION, GREEDY)
    steps = list(pairing)
    told = f"{steps} {pairing.sealed}"
    assert not [word for word in ("mini", "later", "9" * 8) if word in told]


def test_a_vote_is_two_flags_that_name_each_other(comparing: Comparing, pair: list[Contender]) -> None:
    pairing = comparing.begin(VISITOR, pair, QUESTION, GREEDY)
    texts = read(pairing)
    choice = {"choice": "a_better", "reasons": {"a": ["clear"], "b": ["too_long"]}, "consent": YES}
    told = comparing.vote(VISITOR, pairing.sealed, choice)
    by_side = {event.extras.comparison.position: event for event in events()}
    a, b = by_side["a"], by_side["b"]
    assert (a.extras.comparison.other_message_id, b.extras.comparison.other_message_id) == (
        b.message_id,
        a.message_id,
    )
    assert {one.extras.comparison.choice for one in (a, b)} == {"a_better"}
    assert a.extras.comparison.blind and (a.answer.text, b.answer.text) == (texts["a"], texts["b"])
    assert [reason.id for reason in a.reasons] == ["clear"]
    assert [reason.id for reason in b.reasons] == ["too_long"]
    assert a.model.name == told["names"]["a"]["name"]
    assert a.shown.messages[-1].content == QUESTION
    assert told["saved"] == "Saved on this machine."
    assert told["tally"]["first"] == 1 and 0.2 < told["tally"]["from"] < 1 == told["tally"]["to"]


def test_a_changed_vote_amends_and_counts_as_blind_no_more(
    comparing: Comparing, flagging: Flagging, pair: list[Contender]
) -> None:
    pairing = comparing.begin(VISITOR, pair, QUESTION, GREEDY)
    read(pairing)
    comparing.vote(VISITOR, pairing.sealed, {"choice": "a_better"})
    again = comparing.vote(VISITOR, pairing.sealed, {"choice": "a_better", "reasons": {"a": ["clear"]}})
    assert again["tally"]["first"] == 1
    changed = comparing.vote(VISITOR, pairing.sealed, {"choice": "b_better"})
    assert len(events()) == 2 and not events()[0].extras.comparison.blind
    assert (changed["tally"]["first"], changed["tally"]["second"]) == (0, 0)
    comparing.vote(VISITOR, pairing.sealed, {"choice": ""})
    assert events() == []
    comparing.vote(VISITOR, pairing.sealed, {"choice": "a_better"})
    assert not events()[0].extras.comparison.blind


def test_a_tally_is_the_same_from_either_side_and_after_a_restart(
    comparing: Comparing, flagging: Flagging, pair: list[Contender]
) -> None:
    for _ in range(4):
        pairing = comparing.begin(VISITOR, pair, QUESTION, GREEDY)
        read(pairing)
        answer = pairing.sealed
        told = comparing.vote(VISITOR, answer, {"choice": "tie_good"})
        better = "a_better" if told["names"]["a"]["name"] == "mini" else "b_better"
        comparing.vote("somebody-else", _resealed(answer), {"choice": better})
    mini, later = Side.read(str(Side("mini", 0, _sha_of_mini()))), Side("later-Q8_0", 4, "9" * 8)
    assert mini is not None
    for tallies in (comparing.tallies, Tallies(flagging.outbox)):
        there, back = tallies.of(mini, later), tallies.of(later, mini)
        assert (there.first, there.second, there.both) == (4, 0, 4) == (back.second, back.first, back.both)


def _sha_of_mini() -> str:
    return sha256_of(MINI)[:8]


def _resealed(text: str) -> str:
    """The same comparison as another visitor would have got it."""
    return seal(PURPOSE, "somebody-else", unseal(PURPOSE, VISITOR, text))


@pytest.mark.parametrize(
    "choice",
    [
        None,
        [],
        {},
        {"choice": "c_better"},
        {"choice": "a_better", "extras": {}},
        {"choice": "a_better", "reasons": {"c": []}},
        {"choice": "a_better", "reasons": {"a": "clear"}},
        {"choice": "tie_good", "reasons": {"a": ["outdated"]}},
    ],
)
def test_a_vote_in_another_form_is_refused_and_nothing_of_it_is_stored(
    comparing: Comparing, pair: list[Contender], choice: Any
) -> None:
    pairing = comparing.begin(VISITOR, pair, QUESTION, GREEDY)
    read(pairing)
    with pytest.raises(FlagError):
        comparing.vote(VISITOR, pairing.sealed, choice)
    assert events() == []


def test_another_visitors_comparison_is_not_voted_on(comparing: Comparing, pair: list[Contender]) -> None:
    pairing = comparing.begin(VISITOR, pair, QUESTION, GREEDY)
    read(pairing)
    with pytest.raises(TranscriptError):
        comparing.vote(STRANGER, pairing.sealed, {"choice": "a_better"})
    assert events() == []


def test_an_empty_question_is_refused(comparing: Comparing, pair: list[Contender]) -> None:
    with pytest.raises(WordsError, match="empty"):
        comparing.begin(VISITOR, pair, "  ", GREEDY)


def test_a_stopped_comparison_ends_and_lets_go_of_both_models(
    comparing: Comparing, pair: list[Contender], desk: Any
) -> None:
    pairing = comparing.begin(VISITOR, pair, QUESTION, Controls(temperature=1, max_tokens=1024))
    pairing.cancel()
    read(pairing)
    shift = desk.hold()
    shift.end()
    assert shift.owed == 0


class Terse:
    """An engine that gives one answer to everything."""

    name, threads, context, template_sha256 = "scripted", 1, 1024, "0" * 64
    place = None
    ending = Ending(STOPPED, 10, 0, 6, 1.5, 100.0)

    def __init__(self, model: Model):
        self.model = model

    def prompt(self, messages: Any, max_tokens: int) -> Prompt:
        return Prompt([1], list(messages), 0)

    def stream(self, prompt: Prompt, sampling: Any, visitor: str = "") -> "Terse":
        return self

    def __iter__(self) -> Iterator[str]:
        yield "You have 45 days for that."

    def cancel(self) -> None: ...

    def close(self) -> None: ...


def decide(event: FlagEvent, state: str) -> None:
    Decisions.at_home().decide(Review(flag_id=event.flag_id, state=state, by="ann", matter=matter_of(event)))


@pytest.mark.parametrize("choice", ["a_better", "b_better", "tie_good", "both_bad"])
@pytest.mark.parametrize("accepted", [["a"], ["a", "b"]])
def test_curation_makes_rows_of_a_vote_once_a_maintainer_accepts_one_side(
    desk: Any, flagging: Flagging, pair: list[Contender], choice: str, accepted: list[str]
) -> None:
    side_desk = SideDesk(desk, context=1024, open_engine=lambda model, *_: Terse(model))
    comparing = Comparing(side_desk, flagging)
    pairing = comparing.begin(VISITOR, pair, QUESTION, Controls(temperature=0))
    texts = read(pairing)
    comparing.vote(VISITOR, pairing.sealed, {"choice": choice, "consent": YES})
    for event in events():
        if event.extras.comparison.position in accepted:
            decide(event, "accepted")
    folder, card = curate(Curation(eval_share=0.0), [home() / NAME])
    rows = {name: list(read_jsonl(folder / f"{name}.jsonl")) for name in ("sft", "kto", "dpo")}
    assert card.metrics["used"] == 2 and not rows["sft"]
    if choice in ("a_better", "b_better"):
        better, other = choice[0], "ba"["ab".index(choice[0])]
        [row] = rows["dpo"]
        assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == (texts[better], texts[other])
        assert row["prompt"] == [{"role": "user", "content": QUESTION}]
        assert len(row["flags"]) == 2 and not rows["kto"]
    else:
        assert [row["label"] for row in rows["kto"]] == [choice == "tie_good"] * 2
        assert {row["completion"][0]["content"] for row in rows["kto"]} == set(texts.values())


def test_a_rejected_side_leaves_the_vote_out(desk: Any, flagging: Flagging, pair: list[Contender]) -> None:
    comparing = Comparing(SideDesk(desk, 1024, open_engine=lambda model, *_: Terse(model)), flagging)
    pairing = comparing.begin(VISITOR, pair, QUESTION, Controls(temperature=0))
    read(pairing)
    comparing.vote(VISITOR, pairing.sealed, {"choice": "a_better", "consent": YES})
    for event in events():
        state = "accepted" if event.extras.comparison.position == "a" else "rejected"
        decide(event, state)
    _, card = curate(Curation(eval_share=0.0), [home() / NAME])
    assert card.metrics["used"] == 0 and card.metrics["rows"]["dpo"] == 0


def test_whoever_changes_the_vote_asks_for_another_decision(
    comparing: Comparing, pair: list[Contender]
) -> None:
    pairing = comparing.begin(VISITOR, pair, QUESTION, GREEDY)
    read(pairing)
    matters = set()
    for choice in ("a_better", "b_better"):
        comparing.vote(VISITOR, pairing.sealed, {"choice": choice})
        matters |= {matter_of(event) for event in events() if event.extras.comparison.position == "a"}
    assert len(matters) == 2
