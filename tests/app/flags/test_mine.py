"""My flags: one's own, whole and nobody else's; changed and taken back without the conversation.

Command: .venv/bin/python -m pytest tests/app/flags/test_mine.py
Promise: a stranger who knows every id hears what somebody hears who guesses.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from app.flags.flagging import Flagging
from app.flags.mine import UNKNOWN, Mine
from backtalk.errors import FlagError
from backtalk.files import write_json, write_jsonl
from backtalk.home import home
from feedback.schema import Extras, SideBySide
from feedback.store.decisions import Decisions, Review, matter_of
from feedback.store.outbox import NAME, Outbox

VISITOR, STRANGER = "visitor1", "visitor2"


@pytest.fixture
def flagging() -> Iterator[Flagging]:
    with closing(Flagging.at_home()) as flagging:
        yield flagging


@pytest.fixture
def mine(flagging: Flagging) -> Mine:
    return Mine(flagging)


def flags(mine: Mine, visitor: str = VISITOR, served: int = 0) -> list[dict[str, Any]]:
    return mine.page(visitor, 0, served)["flags"]


def events(outbox: Outbox) -> list[Any]:
    return list(outbox.events())


def test_my_flags_are_listed_newest_first_and_nobody_elses(
    mine: Mine, flagging: Flagging, talk_of: Any
) -> None:
    path, others = talk_of("First?", "Second?"), talk_of("Theirs?", visitor=STRANGER)
    flagging.save(VISITOR, path, path[1].id, {"verdict": "good"})
    flagging.save(STRANGER, others, others[1].id, {"verdict": "bad"})
    flagging.save(VISITOR, path, path[3].id, {"verdict": "bad", "comment": "No."})
    assert [flag["question"] for flag in flags(mine)] == ["Second?", "First?"]
    assert flags(mine)[0]["comment"] == "No." and flags(mine)[0]["answer"] == "This is an answer."
    assert flags(mine)[0]["receipt"]["state"] == "here"
    assert [flag["question"] for flag in flags(mine, STRANGER)] == ["Theirs?"]


def test_whoever_names_another_ones_flag_hears_what_whoever_guesses_hears(
    mine: Mine, flagging: Flagging, talk_of: Any
) -> None:
    path = talk_of("Mine?")
    flagging.save(VISITOR, path, path[1].id, {"verdict": "bad", "comment": "a secret"})
    [flag] = flags(mine)
    said = set()
    for name in (flag["flag_id"], flag["flag_id"][:-1] + "0", "guessed", "", None, 7, ["x"]):
        for act in (
            lambda name: mine.amend(STRANGER, name, {"verdict": "good"}),
            lambda name: mine.preview(STRANGER, name, {"verdict": "good"}),
            lambda name: mine.withdraw(STRANGER, name),
        ):
            with pytest.raises(FlagError) as fault:
                act(name)
            said.add(str(fault.value))
    assert said == {UNKNOWN}
    assert flags(mine) == [flag]
    assert list(mine.lines(STRANGER)) == [] and mine.page(STRANGER, 0, 0)["count"] == 0


def test_a_flag_is_amended_without_its_conversation_and_its_masks_stay(
    mine: Mine, flagging: Flagging, talk_of: Any
) -> None:
    path = talk_of("Write to ann@example.org?")
    flagging.save(VISITOR, path, path[1].id, {"verdict": "bad", "comment": "Call 030 1234567."})
    [flag] = flags(mine)
    shown = mine.preview(VISITOR, flag["flag_id"], {"verdict": "bad", "comment": "Ask bob@example.org."})
    assert any(piece["mask"] for text in shown["texts"] for piece in text["pieces"])
    done = mine.amend(VISITOR, flag["flag_id"], {"verdict": "bad", "comment": "Ask bob@example.org."})
    assert done["saved"] == "Saved on this machine."
    assert done["flag"]["comment"] == "Ask [email]." and done["flag"]["revision"] == 2
    last = events(flagging.outbox)[-1]
    assert last.shown.messages[-1].content == "Write to [email]?"
    where = {(one.where, one.kind): one.count for one in last.redactions}
    assert where == {("comment", "email"): 1, ("shown.messages.content", "email"): 1}


def test_amending_keeps_the_consent_that_was_given_and_adds_no_earlier_turns(
    mine: Mine, flagging: Flagging, talk_of: Any
) -> None:
    yes = {"version": "c1", "scope": "flag_only", "training": True, "at": "2026-11-21T09:00:00+00:00"}
    path = talk_of("First?", "Second?")
    flagging.save(VISITOR, path, path[3].id, {"verdict": "bad", "consent": yes})
    [flag] = flags(mine)
    more = {**yes, "scope": "flag+thread", "training": False}
    mine.amend(VISITOR, flag["flag_id"], {"verdict": "bad", "reasons": ["outdated"], "consent": more})
    last = events(flagging.outbox)[-1]
    assert (last.consent.scope, last.consent.training) == ("flag_only", True)
    assert [message.content for message in last.shown.messages] == ["Second?"] and last.shown.omitted == 2


def test_a_withdrawn_flag_is_gone_from_the_list_and_its_events_are_in_the_download(
    mine: Mine, flagging: Flagging, talk_of: Any
) -> None:
    path = talk_of("Mine?")
    flagging.save(VISITOR, path, path[1].id, {"verdict": "bad"})
    [flag] = flags(mine)
    done = mine.withdraw(VISITOR, flag["flag_id"])
    assert done == {"saved": "Withdrawn.", "left": "", "gone": [flag["flag_id"]]}
    assert flags(mine) == []
    assert [json.loads(line)["op"] for line in mine.lines(VISITOR)] == ["create", "retract"]
    with pytest.raises(FlagError):
        mine.withdraw(VISITOR, flag["flag_id"])


def test_a_vote_between_two_answers_is_one_entry_and_goes_as_a_whole(
    mine: Mine, flagging: Flagging, talk_of: Any
) -> None:
    path = talk_of("Which?", "And which?")
    first, second = path[1].id, path[3].id
    for side, own, other in (("a", first, second), ("b", second, first)):
        beside = SideBySide(other, "mini, round 1, 00000000", "a_better", True, side)
        flagging.save(VISITOR, path, own, {"verdict": "mixed"}, Extras(comparison=beside))
    [flag] = flags(mine)
    assert (flag["choice"], flag["message"]) == ("a_better", first)
    with pytest.raises(FlagError, match="compare again"):
        mine.amend(VISITOR, flag["flag_id"], {"verdict": "good"})
    assert len(mine.withdraw(VISITOR, flag["flag_id"])["gone"]) == 2
    assert list(flagging.outbox.standing()) == []


def test_what_became_of_a_flag_is_told_review_round_and_fix(
    mine: Mine, flagging: Flagging, talk_of: Any
) -> None:
    path = talk_of("Mine?")
    flagging.save(VISITOR, path, path[1].id, {"verdict": "bad"})
    [event] = flagging.outbox.standing()
    decided = Review(flag_id=event.flag_id, state="accepted", by="ann", matter=matter_of(event))
    Decisions.at_home().decide(decided)
    write_json(
        home() / "rounds" / "2" / "card.json", {"metrics": {"curated": "set", "current": {"round": 0}}}
    )
    write_jsonl(home() / "curated" / "set" / "manifest.jsonl", [{"flag_id": event.flag_id, "used": True}])
    row = {"flag_id": event.flag_id, "round": 2, "status": "fixed", "then": "30 days", "now": "45 days"}
    write_jsonl(home() / "rounds" / "2" / "fixed.jsonl", [row])
    [flag] = flags(mine, served=2)
    assert (flag["review"], flag["taught"], flag["fix"]["now"]) == ("accepted", 2, "45 days")
    [flag] = flags(mine, served=0)
    assert (flag["review"], flag["taught"], flag["fix"]) == ("accepted", 0, None)


def test_what_this_disk_does_not_know_is_named_and_what_it_knows_is_not(
    mine: Mine, flagging: Flagging, talk_of: Any
) -> None:
    path = talk_of("Mine?", "Taken back?")
    for message in (path[1], path[3]):
        flagging.save(VISITOR, path, message.id, {"verdict": "bad"})
    flagging.save(VISITOR, path, path[3].id, {"verdict": ""})
    assert mine.missing(VISITOR, [path[1].id, path[3].id, "lost-message"]) == ["lost-message"]
    assert mine.missing(STRANGER, [path[1].id]) == [path[1].id]


def test_pages_hold_fifty_and_go_on(mine: Mine, flagging: Flagging, talk_of: Any) -> None:
    path = talk_of(*(f"Question {number}?" for number in range(51)))
    for message in path[1::2]:
        flagging.save(VISITOR, path, message.id, {"verdict": "good"})
    assert len(flags(mine)) == 50 and mine.page(VISITOR, 0, 0)["count"] == 51
    assert [flag["question"] for flag in mine.page(VISITOR, 50, 0)["flags"]] == ["Question 0?"]
    assert Outbox(home() / NAME).counts().flags == 51
