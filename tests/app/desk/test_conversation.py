"""What the history switch lets through, what the quiet line says, what a form may hold."""

from typing import Any

import pytest

from app.desk.conversation import BOUNDS, Controls, sent_facts, title, to_send
from app.desk.transcript import Message
from backtalk.errors import WordsError


def path(turns: int) -> list[Message]:
    said = [(role, f"{role} {turn}") for turn in range(turns) for role in ("user", "assistant")]
    return [
        Message(f"m{n}", "c", "", role, text, "") for n, (role, text) in enumerate([*said, ("user", "now")])
    ]


@pytest.mark.parametrize(
    ("history", "last_n", "sent"),
    [
        ("full", 3, ["user 0", "assistant 0", "user 1", "assistant 1", "now"]),
        ("last_n", 1, ["user 1", "assistant 1", "now"]),
        ("last_n", 2, ["user 0", "assistant 0", "user 1", "assistant 1", "now"]),
        ("last_n", 9, ["user 0", "assistant 0", "user 1", "assistant 1", "now"]),
        ("off", 3, ["now"]),
    ],
)
def test_the_history_switch_decides_which_turns_are_sent(history: str, last_n: int, sent: list[str]) -> None:
    controls = Controls(history=history, last_n=last_n)
    assert [message.text for message in to_send(path(2), controls)] == sent


def answer(**changes: Any) -> Message:
    sent = {"earlier_turns": 3, "truncated_turns": 0, "prompt_tokens": 412, **changes.pop("sent", {})}
    model = {"name": "mini", "round": 0, "gguf_sha256": "1a2b3c4d5e6f", **changes.pop("model", {})}
    ending = {"finish_reason": "stop", "tokens_per_second": 812.3, **changes.pop("ending", {})}
    return Message("a", "c", "q", "assistant", "text", "", model=model, sent=sent, ending=ending)


FACTS = {
    "turns": 3, "tokens": 412, "left_out": 0, "model": "mini", "round": 0, "sha": "1a2b3c4d", "speed": 812,
    "end": "stop",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({}, {}),
        ({"sent": {"earlier_turns": 0}}, {"turns": 0}),
        ({"sent": {"truncated_turns": 2}}, {"left_out": 2}),
        (
            {"model": {"round": 3}, "ending": {"finish_reason": "cancelled", "tokens_per_second": 0}},
            {"round": 3, "end": "cancelled", "speed": 0},
        ),
        ({"ending": {"finish_reason": "length"}}, {"end": "length"}),
        (
            {"model": {"name": "far", "gguf_sha256": ""}, "sent": {"prompt_tokens": 0}},
            {"model": "far", "sha": "", "round": None, "tokens": 0},
        ),
    ],
)
def test_the_quiet_line_tells_what_was_sent_and_who_answered(
    changes: dict[str, Any], facts: dict[str, Any]
) -> None:
    assert sent_facts(answer(**changes)) == FACTS | facts


@pytest.mark.parametrize(
    "values",
    [
        {"history": "some"},
        {"history": 5},
        {"temperature": 3},
        {"temperature": "hot"},
        {"temperature": float("nan")},
        {"top_p": 0},
        {"max_tokens": 10**9},
        {"max_tokens": True},
        {"last_n": 0},
        {"seed": -2},
        {"seed": None},
        {"system_prompt": "x" * 5_000},
        {"system_prompt": ["x"]},
        {"temprature": 1},
    ],
)
def test_a_setting_out_of_bounds_is_one_sentence(values: dict[str, Any]) -> None:
    with pytest.raises(WordsError):
        Controls.from_form(**values)


def test_every_bound_itself_is_allowed() -> None:
    for end in (0, 1):
        controls = Controls.from_form(**{name: bounds[end] for name, bounds in BOUNDS.items()})
        assert isinstance(controls.max_tokens, int)


@pytest.mark.parametrize(
    ("first", "name"),
    [
        ("where is my order", "where is my order"),
        ("word " * 30, "word word word word word word word word word…"),
        ("x" * 100, "x" * 48 + "…"),
    ],
)
def test_a_conversation_is_called_by_its_first_question(first: str, name: str) -> None:
    assert title([Message("m", "c", "", "user", first, "")]) == name
    assert title([]) == "New conversation"
