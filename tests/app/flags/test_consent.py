"""Nothing leaves without consent to the text of today; who flags in haste is saved and not trained on."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from app.flags.consent import Haste, agreed, version
from app.flags.flagging import Flagging
from app.flags.receipts import HERE, HUB, WAITING
from backtalk.errors import FlagError
from backtalk.home import home
from feedback.hub.sync import Sync
from feedback.revisions import fold
from feedback.schema import Consent, FlagEvent, from_row
from feedback.store.outbox import NAME, Outbox
from tests.hub.server import Hub

pytest_plugins = ["tests.hub.local"]

VISITOR = "visitor1"
AT = "2026-11-21T10:00:00.000Z"
DATASET = "somebody/flags"


def says(scope: str = "flag_only", training: bool = True, **more: Any) -> dict[str, Any]:
    return {"version": version(), "scope": scope, "training": training, "at": AT, **more}


@pytest.fixture
def flagging(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flagging]:
    monkeypatch.setenv("BACKTALK_FLAGS_DATASET", DATASET)
    flagging = Flagging.at_home()
    yield flagging
    flagging.close()


@pytest.fixture
def path(talk_of: Callable[..., list[Any]]) -> list[Any]:
    return talk_of("My order is 4821.", "Where is it? Write to ada@example.org")


def send() -> None:
    with closing(Outbox(home() / NAME)) as outbox:
        Sync(outbox).flush()


def stored(message_id: str) -> FlagEvent:
    with closing(Outbox(home() / NAME)) as outbox:
        return next(event for event in outbox.standing() if event.message_id == message_id)


def on_the_hub(hub: Hub) -> bytes:
    repo = hub.store.repo("dataset", DATASET)
    head = repo.commit("main")
    return b"".join(repo.read(head, name) for name in sorted(head.tree) if name.startswith("data/"))


def test_a_consent_says_which_text_was_answered_and_when() -> None:
    assert agreed(None) is None
    assert agreed(says("flag+thread", training=False)) == Consent(version(), "flag+thread", at=AT)
    assert agreed(says("")) == Consent()


def test_an_answer_to_an_older_text_is_no_consent() -> None:
    assert agreed(says(version="c0")) == Consent()


@pytest.mark.parametrize(
    "wrong",
    [
        "yes",
        {},
        says("everything"),
        says(training="yes"),
        says(at="today"),
        says(at=5),
        says(at="2026-11-21T10:00:00"),
        says(license="any"),
        {**says(), "scope": ["flag_only"]},
    ],
)
def test_a_consent_of_another_form_is_refused(wrong: Any) -> None:
    with pytest.raises(FlagError, match="nothing was sent"):
        agreed(wrong)


def sent_events(hub: Hub) -> list[FlagEvent]:
    return sorted(map(from_row, on_the_hub(hub).splitlines()), key=lambda event: event.revision)


def test_without_consent_a_flag_stays_here_and_with_it_reaches_the_hub(
    flagging: Flagging, hub: Hub, path: list[Any]
) -> None:
    answer = path[-1].id
    flagging.save(VISITOR, path, answer, {"verdict": "bad"})
    send()
    assert flagging.receipts(VISITOR, [answer])[answer]["state"] == HERE
    assert not hub.requests
    flagging.save(VISITOR, path, answer, {"verdict": "bad", "consent": says()})
    assert flagging.receipts(VISITOR, [answer])[answer]["state"] == WAITING
    send()
    receipt = flagging.receipts(VISITOR, [answer])[answer]
    head = hub.store.repo("dataset", DATASET).commit("main").oid
    assert (receipt["state"], receipt["commit"]) == (HUB, head[:7])
    assert b"order is 4821" not in on_the_hub(hub)


def test_saying_yes_reaches_the_earlier_flags_of_the_conversation(
    flagging: Flagging, path: list[Any]
) -> None:
    first, last = path[1].id, path[3].id
    flagging.save(VISITOR, path, first, {"verdict": "bad", "comment": "too old"})
    flagging.save(VISITOR, path, last, {"verdict": "good"})
    assert flagging.agree(VISITOR, path, says("flag+thread")) == 2
    assert stored(first).consent.scope == stored(last).consent.scope == "flag+thread"
    assert (stored(first).comment, stored(first).revision) == ("too old", 2)
    flagging.agree(VISITOR, path, says("flag+thread"))
    assert stored(first).revision == 2


def test_earlier_turns_are_stored_once_a_consent_covers_them_and_stay_while_it_does(
    flagging: Flagging, path: list[Any]
) -> None:
    answer = path[-1].id

    def texts_after(choice: dict[str, Any]) -> list[str]:
        flagging.save(VISITOR, path, answer, {"verdict": "bad", **choice})
        return [message.content for message in stored(answer).shown.messages]

    question = ["Where is it? Write to [email]"]
    assert texts_after({}) == question
    assert texts_after({"consent": says()}) == question
    whole = ["My order is 4821.", "This is an answer.", *question]
    assert texts_after({"consent": says("flag+thread")}) == whole
    assert stored(answer).shown.omitted == 0
    assert texts_after({"comment": "too old"}) == whole
    assert texts_after({"consent": says("")}) == question
    assert stored(answer).shown.omitted == 2


def test_a_change_reaches_the_flags_of_other_conversations_and_adds_no_unseen_turns(
    flagging: Flagging, talk_of: Callable[..., list[Any]]
) -> None:
    here, elsewhere = talk_of("One.", "Two."), talk_of("Three.", "Four.")
    strangers = talk_of("Five.", visitor="visitor2")
    for path in (here, elsewhere):
        flagging.save(VISITOR, path, path[-1].id, {"verdict": "bad", "comment": "old", "consent": says()})
    flagging.save("visitor2", strangers, strangers[-1].id, {"verdict": "bad", "consent": says()})
    assert flagging.agree(VISITOR, here, says("flag+thread", training=False), everywhere=True) == 2
    near, far, other = (stored(path[-1].id) for path in (here, elsewhere, strangers))
    assert (near.consent.scope, len(near.shown.messages)) == ("flag+thread", 3)
    assert (far.consent.scope, len(far.shown.messages), far.comment) == ("flag_only", 1, "old")
    assert not near.consent.training and not far.consent.training
    assert other.consent.training and other.revision == 1
    assert flagging.agree(VISITOR, here, says("flag+thread", training=False), everywhere=True) == 0


def test_what_was_not_sent_yet_is_sent_as_the_changed_consent_says(
    flagging: Flagging, hub: Hub, path: list[Any]
) -> None:
    answer = path[-1].id
    flagging.save(VISITOR, path, answer, {"verdict": "bad", "consent": says("flag+thread")})
    assert flagging.agree(VISITOR, [], says("flag_only", training=False), everywhere=True) == 1
    send()
    [event] = sent_events(hub)
    assert (event.consent.scope, event.consent.training) == ("flag_only", False)
    assert b"order is 4821" not in on_the_hub(hub)
    assert [(found.where, found.count) for found in event.redactions] == [("shown.messages.content", 1)]


@pytest.mark.parametrize(
    ("said", "scope", "training"),
    [
        (says("flag_only"), "flag_only", True),
        (says("flag+thread", training=False), "flag+thread", False),
        (says(""), "flag_only", False),
    ],
    ids=["narrower", "not for training", "kept here"],
)
def test_what_was_sent_is_amended_by_a_new_event(
    flagging: Flagging, hub: Hub, path: list[Any], said: dict[str, Any], scope: str, training: bool
) -> None:
    answer = path[-1].id
    flagging.save(VISITOR, path, answer, {"verdict": "bad", "consent": says("flag+thread")})
    send()
    assert flagging.agree(VISITOR, [], said, everywhere=True) == 1
    send()
    first, second = sent_events(hub)
    assert first.consent.training and len(first.shown.messages) == 3
    assert (second.op, second.consent.scope, second.consent.training) == ("amend", scope, training)
    assert len(second.shown.messages) == (3 if scope == "flag+thread" else 1)
    assert fold([first, second])[second.flag_id] == second
    assert flagging.agree(VISITOR, [], said, everywhere=True) == 0


def test_a_change_of_consent_by_somebody_in_haste_is_not_for_training(
    flagging: Flagging, path: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flagging, "_haste", Haste(most=1))
    for answer in (path[1].id, path[3].id):
        flagging.save(VISITOR, path, answer, {"verdict": "bad", "consent": says()})
    flagging.agree(VISITOR, [], says("flag_only"), everywhere=True)
    assert not stored(path[3].id).consent.training


def test_saying_no_before_it_was_sent_keeps_it_here(flagging: Flagging, hub: Hub, path: list[Any]) -> None:
    answer = path[-1].id
    flagging.save(VISITOR, path, answer, {"verdict": "bad", "consent": says("flag+thread")})
    flagging.agree(VISITOR, path, says(""))
    send()
    assert not hub.requests
    assert flagging.receipts(VISITOR, [answer])[answer]["state"] == HERE


def test_a_preview_shows_what_is_stored_afterwards_and_stores_nothing(
    flagging: Flagging, path: list[Any]
) -> None:
    answer = path[-1].id
    choice = {"verdict": "bad", "comment": "ask bob@example.org", "consent": says("flag+thread")}
    shown = flagging.preview(VISITOR, path, answer, choice)
    assert flagging.standing(VISITOR, path) == {}
    texts = {text["part"]: text["pieces"] for text in shown["texts"]}
    assert texts["comment"] == [{"text": "ask ", "mask": False}, {"text": "[email]", "mask": True}]
    assert texts["question"][-1] == {"text": "[email]", "mask": True}
    assert [text["part"] for text in shown["texts"]][-2:] == ["user", "assistant"]
    flagging.save(VISITOR, path, answer, {**choice, "preview_shown": True})
    event = stored(answer)
    assert event.comment == "".join(piece["text"] for piece in texts["comment"])
    assert event.preview_shown and shown["masked"] == sum(found.count for found in event.redactions)


def test_a_preview_of_this_answer_only_leaves_the_earlier_turns_out(
    flagging: Flagging, path: list[Any]
) -> None:
    shown = flagging.preview(VISITOR, path, path[-1].id, {"verdict": "bad", "consent": says()})
    assert {text["part"] for text in shown["texts"]} == {"question", "answer"}


def test_taking_back_what_was_sent_says_what_remains_and_reaches_the_hub(
    flagging: Flagging, hub: Hub, path: list[Any]
) -> None:
    answer = path[-1].id
    flagging.save(VISITOR, path, answer, {"verdict": "bad", "consent": says()})
    send()
    sent_at = flagging.receipts(VISITOR, [answer])[answer]["commit"]
    taken_back = flagging.save(VISITOR, path, answer, {"verdict": ""})
    assert taken_back["left"] == sent_at
    receipt = flagging.receipts(VISITOR, [answer])[answer]
    assert (receipt["state"], receipt["withdrawn"]) == (WAITING, True)
    send()
    assert flagging.receipts(VISITOR, [answer])[answer]["state"] == HUB
    assert b'"op":"retract"' in on_the_hub(hub)


def test_what_waits_says_why(flagging: Flagging, path: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    flagging.save(VISITOR, path, path[-1].id, {"verdict": "bad", "consent": says()})
    receipt = flagging.receipts(VISITOR, [path[-1].id])[path[-1].id]
    assert receipt["state"] == WAITING and "HF_TOKEN is not set" in receipt["reason"]
    assert receipt["name"] == "no_token" and "/" in receipt["gaps"]["dataset"]


def test_nobody_sees_the_receipts_of_another_visitor(flagging: Flagging, path: list[Any]) -> None:
    flagging.save(VISITOR, path, path[-1].id, {"verdict": "bad"})
    assert flagging.receipts("visitor2", [path[-1].id]) == {}


def test_the_end_of_the_app_sends_what_is_left(flagging: Flagging, hub: Hub, path: list[Any]) -> None:
    sending = Flagging.at_home().start_sending()
    sending.save(VISITOR, path, path[-1].id, {"verdict": "bad", "consent": says()})
    sending.close()
    assert path[-1].id.encode() in on_the_hub(hub)


def test_who_flags_in_haste_is_saved_and_not_trained_on(
    flagging: Flagging, path: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flagging, "_haste", Haste(most=1))
    for answer in (path[1].id, path[3].id):
        flagging.save(VISITOR, path, answer, {"verdict": "bad", "consent": says()})
    assert stored(path[1].id).consent.training
    assert stored(path[3].id).consent.scope == "flag_only" and not stored(path[3].id).consent.training


def test_haste_ends_with_the_hour_and_is_everybodys_own() -> None:
    moment = 0.0
    haste = Haste(most=2, clock=lambda: moment)
    assert [haste.in_haste("ada", flag) for flag in ("1", "2", "2", "3")] == [False, False, False, True]
    assert not haste.in_haste("bob", "1")
    moment = 3601.0
    assert not haste.in_haste("ada", "4")
