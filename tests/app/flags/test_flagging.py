"""A click becomes an event that holds the whole truth of the answer, and nothing that the page made up."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.desk.conversation import Controls
from app.desk.transcript import Message
from app.flags.flagging import Flagging
from backtalk.errors import FlagError
from backtalk.home import home
from feedback.schema import FlagEvent
from feedback.store.outbox import NAME, Outbox

VISITOR = "visitor1"


@pytest.fixture
def flagging() -> Iterator[Flagging]:
    flagging = Flagging.at_home()
    yield flagging
    flagging.close()


def only_event() -> FlagEvent:
    (event,) = Outbox(home() / NAME).standing()
    return event


def test_a_flag_records_model_sampling_shown_and_sent(flagging: Flagging, talk: Any) -> None:
    said = talk("my name is Ada", "hello")
    path = talk(
        "thanks", after=said, controls=Controls(temperature=0, history="off", system_prompt="Be kind.")
    )
    receipt = flagging.save(
        VISITOR, path, path[-1].id, {"verdict": "bad", "reasons": ["outdated", "too_long"]}
    )
    event, answer = only_event(), path[-1]
    assert receipt == {"saved": "Saved on this machine.", "left": ""}
    assert [message.id for message in event.shown.messages] == [path[-2].id]
    assert event.shown.omitted == len(path) - 2
    assert event.sent.message_ids == (answer.parent,)
    assert (event.sent.history_mode, event.sent.system_prompt) == ("off", "Be kind.")
    assert event.model.gguf_sha256 == answer.model["gguf_sha256"]
    assert event.sampling.seed == answer.sampling["seed"]
    assert event.answer.text == answer.text
    assert event.turn_index == 2
    assert event.consent.scope == ""


def test_before_consent_earlier_turns_are_ids_and_a_number_and_no_text(
    flagging: Flagging, talk_of: Any
) -> None:
    path = talk_of("My order is 4821.", "Where is it?", "And the tent?")
    flagging.save(VISITOR, path, path[-1].id, {"verdict": "bad"})
    flagging.save(VISITOR, path, path[-1].id, {"verdict": "bad", "comment": "No."})
    event = only_event()
    assert b"4821" not in b"".join(file.read_bytes() for file in home().glob(NAME + "*"))
    assert (event.shown.omitted, event.sent.message_ids) == (4, tuple(one.id for one in path[:-1]))
    assert event.sent.prompt_tokens == path[-1].sent["prompt_tokens"] and event.sent.prompt_sha256 == ""
    assert [message.content for message in event.shown.messages] == ["And the tent?"]
    assert event.answer.text == path[-1].text


def test_a_second_vote_amends_and_the_panel_shows_it_again(flagging: Flagging, talk: Any) -> None:
    path = talk("hello")
    answer = path[-1].id
    flagging.save(VISITOR, path, answer, {"verdict": "good"})
    details = {"reasons": ["outdated"], "severity": "major", "comment": "old", "correction": "It is 45 days."}
    flagging.save(VISITOR, path, answer, {"verdict": "bad", **details})
    flagging.save(VISITOR, path, answer, {"verdict": "bad"})
    shown = Flagging.at_home().standing(VISITOR, path)[answer]
    assert {name: shown[name] for name in details} == details
    assert shown["verdict"] == "bad"
    assert len(list(Outbox(home() / NAME).standing())) == 1


def test_un_clicking_withdraws_the_flag(flagging: Flagging, talk: Any) -> None:
    path = talk("hello")
    flagging.save(VISITOR, path, path[-1].id, {"verdict": "good"})
    assert flagging.save(VISITOR, path, path[-1].id, {"verdict": ""})["saved"] == "Withdrawn."
    assert flagging.standing(VISITOR, path) == {}


def test_another_visitor_does_not_see_the_flag(flagging: Flagging, talk: Any) -> None:
    path = talk("hello")
    flagging.save(VISITOR, path, path[-1].id, {"verdict": "good"})
    assert flagging.standing("visitor2", path) == {}


def test_personal_data_is_masked_before_the_row_is_written(flagging: Flagging, talk: Any) -> None:
    path = talk("write to ada@example.org")
    choice = {"verdict": "bad", "reasons": ["other"], "comment": "call +49 151 23456789 or ada@example.org"}
    flagging.save(VISITOR, path, path[-1].id, choice)
    assert b"ada@example.org" not in b"".join(file.read_bytes() for file in home().glob(NAME + "*"))
    assert "23456789" not in only_event().comment


@pytest.mark.parametrize(
    "choice",
    [
        None,
        [],
        "good",
        {"verdict": "great"},
        {"verdict": 5},
        {"verdict": "good", "reasons": "outdated"},
        {"verdict": "good", "reasons": ["outdated"]},
        {"verdict": "bad", "reasons": ["no_such_reason"]},
        {"verdict": "bad", "reasons": [5]},
        {"verdict": "bad", "comment": 5},
        {"verdict": "bad", "comment": "x" * 1_000_000},
        {"verdict": "bad", "correction": ["x"]},
        {"verdict": "bad", "severity": "huge"},
        {"verdict": "bad", "model": "another"},
        {"verdict": "bad", "seen_revision": "1"},
    ],
)
def test_a_choice_that_cannot_be_is_refused_and_nothing_is_stored(
    flagging: Flagging, talk: Any, choice: Any
) -> None:
    path = talk("hello")
    with pytest.raises(FlagError):
        flagging.save(VISITOR, path, path[-1].id, choice)
    assert list(Outbox(home() / NAME).events()) == []


def test_only_an_answer_of_the_conversation_can_be_flagged(flagging: Flagging, talk: Any) -> None:
    path: list[Message] = talk("hello")
    for message in (path[0].id, "no-such-message", ""):
        with pytest.raises(FlagError, match="not part of the conversation"):
            flagging.save(VISITOR, path, message, {"verdict": "good"})


def test_on_a_space_without_a_secret_flagging_is_off_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, talk: Any
) -> None:
    monkeypatch.setenv("SPACE_ID", "owner/space")
    monkeypatch.delenv("BACKTALK_SECRET", raising=False)
    flagging = Flagging.at_home()
    assert not flagging.state["allowed"]
    assert "BACKTALK_SECRET" in flagging.state["reason"] and flagging.state["name"] == "flagging_off"
    with pytest.raises(FlagError, match="BACKTALK_SECRET"):
        flagging.save(VISITOR, [], "message1", {"verdict": "good"})
    assert flagging.standing(VISITOR, []) == {}


def test_an_outbox_that_cannot_be_opened_switches_flagging_off_and_not_the_chat(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (home() / NAME).mkdir()
    state = Flagging.at_home().state
    assert not state["allowed"] and state["reason"].startswith("Flagging is off:")
    assert state["name"] == "not_kept" and state["reason"] in capsys.readouterr().err


@pytest.mark.parametrize(("part", "longest"), [("comment", 4_000), ("correction", 16_000)])
def test_a_text_that_does_not_fit_is_refused_with_both_numbers(
    flagging: Flagging, talk_of: Any, part: str, longest: int
) -> None:
    path = talk_of("hello")
    flagging.save(VISITOR, path, path[-1].id, {"verdict": "bad", part: "x" * longest})
    with pytest.raises(FlagError, match="Please shorten it") as refused:
        flagging.save(VISITOR, path, path[-1].id, {"verdict": "bad", part: "x" * (longest + 1)})
    assert refused.value.words["gaps"] == {"length": longest + 1, "longest": longest}
