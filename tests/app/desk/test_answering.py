"""Answers at the desk: signed, recorded whole, stopped at once, refused calmly."""

from pathlib import Path
from threading import Event
from typing import Any

import llama_cpp
import pytest

from app.desk.answering import FAILED, Desk
from app.desk.conversation import Controls
from app.desk.transcript import verify
from backtalk.engine import Limits, load
from backtalk.errors import BusyError, ContextError, ModelError, WordsError
from backtalk.files import sha256_of
from backtalk.models import MINI, resolve

GREEDY = Controls(temperature=0)
VISITOR, HERE = "visitor1", "conversation1"


def question_of(desk: Desk, share: float) -> str:
    """A question that takes at least this share of the context."""
    engine, text = desk.engine, "tent "
    while len(engine.prompt([{"role": "user", "content": text}], 256).tokens) < share * engine.context:
        text += "tent " * 50
    return text


def test_question_and_answer_come_back_signed_and_linked(talk: Any) -> None:
    path = talk("hello", "where is my order 4821?")
    assert verify([message.to_json() for message in path], VISITOR, HERE) == path
    assert [message.role for message in path] == ["user", "assistant", "user", "assistant"]


def test_an_answer_records_model_sampling_and_what_was_sent(talk: Any) -> None:
    path = talk("hello", "thanks", controls=Controls(temperature=0, system_prompt="Answer in one sentence."))
    answer = path[-1]
    assert answer.model["gguf_sha256"] == sha256_of(MINI)
    assert answer.sampling["temperature"] == 0
    assert answer.sent["message_ids"] == [message.id for message in path[:-1]]
    assert answer.sent["earlier_turns"] == 1
    assert answer.sent["system_prompt"] == "Answer in one sentence."
    assert answer.ending["completion_tokens"] > 0


def test_with_history_off_the_model_never_sees_the_earlier_turn(talk: Any, desk: Desk) -> None:
    said = talk("hello")
    off = talk("thanks", after=said, controls=Controls(temperature=0, history="off"))[-1]
    alone = talk("thanks")[-1]
    assert off.sent["message_ids"] == [off.parent]
    assert (off.text, off.sent["prompt_tokens"]) == (alone.text, alone.sent["prompt_tokens"])


def test_regenerating_answers_the_same_question_and_remembers_the_earlier_answers(
    desk: Desk, talk: Any
) -> None:
    path = talk("hello")
    for _ in range(2):
        again = desk.ask(VISITOR, HERE, path, None, GREEDY)
        list(again)
        path = [path[0], again.message]
    assert again.question == path[0]
    assert len(again.message.sent["siblings"]) == 2


def test_a_fixed_seed_repeats_an_answer_and_is_recorded(talk: Any) -> None:
    warm = Controls(temperature=1.5, top_p=1, seed=11)
    first, second = talk("hello", controls=warm)[-1], talk("hello", controls=warm)[-1]
    assert (first.text, first.sampling) == (second.text, second.sampling)
    assert first.sampling["seed"] == 11


def test_a_stopped_answer_keeps_what_was_written_and_says_so(desk: Desk) -> None:
    answer = desk.ask(VISITOR, HERE, [], "hi " * 400, Controls(temperature=2, top_p=1, max_tokens=1024))
    answer.cancel()
    *_, text = answer
    assert answer.message.text == text
    assert answer.message.ending["finish_reason"] == "cancelled"


def test_oldest_turns_that_do_not_fit_are_counted(talk: Any, desk: Desk) -> None:
    half = question_of(desk, share=0.5)
    path = talk("hello", half)
    answer = talk(half, after=path)[-1]
    assert answer.sent["truncated_turns"] == 2
    assert answer.sent["message_ids"] == [answer.parent]


@pytest.mark.parametrize("question", ["", "   \n ", "\x00", 5, ["hello"], "x" * 1_000_000])
def test_a_question_that_is_none_is_one_sentence(desk: Desk, question: Any) -> None:
    with pytest.raises(WordsError):
        desk.ask(VISITOR, HERE, [], question, GREEDY)


def test_nothing_to_answer_again_is_one_sentence(desk: Desk) -> None:
    with pytest.raises(WordsError, match="no question"):
        desk.ask(VISITOR, HERE, [], None, GREEDY)


def test_a_question_longer_than_the_context_is_one_sentence(desk: Desk) -> None:
    with pytest.raises(ContextError, match="shorten"):
        desk.ask(VISITOR, HERE, [], "a b c d e f g h " * 1_900, GREEDY)


@pytest.mark.parametrize(
    "odd", ["שלום", "<script>alert(1)</script>", "a\x00b\ud800", "![x](http://x/y.png)", "🙂" * 50]
)
def test_odd_text_is_answered(talk: Any, odd: str) -> None:
    assert talk(odd)[-1].text


def test_a_broken_model_file_fails_with_a_sentence_and_the_desk_keeps_saying_it(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"not a model")
    desk = Desk.for_model(str(broken), context=2048, threads=1).start()
    desk.wait(10)
    assert desk.state == FAILED
    with pytest.raises(ModelError, match="a GGUF model was wanted"):
        desk.ask(VISITOR, HERE, [], "hello", GREEDY)


def test_who_has_to_wait_is_told_the_place_in_line_and_who_is_too_many_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_compute, compute = Event(), llama_cpp.llama_decode
    monkeypatch.setattr(llama_cpp, "llama_decode", lambda *call: may_compute.wait(60) and compute(*call))
    desk = Desk(lambda: load(resolve("mini"), 512, 1, Limits(live=1, queue=1))).start()
    assert desk.wait(60), desk.reason
    first = desk.ask(VISITOR, HERE, [], "hi", GREEDY)
    second = desk.ask("visitor2", HERE, [], "hello", GREEDY)
    places = second.in_line()
    assert next(places).position == 1
    with pytest.raises(BusyError, match="waiting already"):
        desk.ask("visitor3", HERE, [], "hello", GREEDY)
    may_compute.set()
    list(first)
    assert {place.position for place in places} <= {1}
    *_, text = second
    assert text and second.message.ending["finish_reason"] == "stop"
    desk.close()
