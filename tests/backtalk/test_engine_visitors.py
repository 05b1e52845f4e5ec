"""Many visitors at one engine: nothing is mixed, nothing is read twice, nobody is starved.

Command: .venv/bin/python -m pytest tests/backtalk/test_engine_visitors.py
Promise: what others ask changes neither an answer nor what the engine remembers of a conversation.
"""

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import pytest

from backtalk.engine import CANCELLED, FULL, LATE, Engine, Limits, Sampling, Stream, load, pace
from backtalk.engine.prometheus import as_text
from backtalk.engine.schedule import Worker
from backtalk.errors import BusyError
from backtalk.models import resolve

GREEDY = Sampling(temperature=0, max_tokens=64)
ENDLESS = Sampling(temperature=20, top_p=1, top_k=0, max_tokens=512, seed=3)  # noise hardly ever ends
QUESTIONS = [
    "hello",
    "where is my order 4821?",
    "do you ship to france",
    "thanks",
    "how long is the warranty of a tent?",
    "my parcel is broken",
    "what is the capital of peru?",
    "can I pay by invoice?",
]


def say(*texts: str) -> list[dict[str, str]]:
    """A conversation, the user speaking first."""
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


def ask(
    engine: Engine, messages: Sequence[dict[str, str]], sampling: Sampling = GREEDY, visitor: str = ""
) -> Stream:
    return engine.stream(engine.prompt(messages, sampling.max_tokens), sampling, visitor)


def answer(
    engine: Engine, messages: Sequence[dict[str, str]], sampling: Sampling = GREEDY
) -> tuple[str, Stream]:
    stream = ask(engine, messages, sampling)
    return "".join(stream), stream


@pytest.fixture
def small() -> Iterator[Engine]:
    """Two answers at once in one short context: whoever pauses has to move to RAM."""
    with closing(
        load(resolve("mini"), context=512, limits=Limits(live=2, queue=2, idle_bytes=2**26))
    ) as engine:
        yield engine


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=1, seed=5, max_tokens=64)])
def test_answers_amid_seven_others_are_those_given_alone(engine: Engine, sampling: Sampling) -> None:
    alone = [answer(engine, say(question), sampling)[0] for question in QUESTIONS]
    streams = [ask(engine, say(question), sampling) for question in QUESTIONS]
    assert ["".join(stream) for stream in streams] == alone


def test_a_system_prompt_is_read_once_for_all(engine: Engine) -> None:
    opening = {"role": "system", "content": "You answer the customers of a shop for tents. " * 4}
    counts = [answer(engine, [opening, *say(question)])[1].ending for question in QUESTIONS[:4]]
    assert [ending.cached_tokens > 30 for ending in counts] == [False, True, True, True]


def test_another_answer_and_an_edit_keep_what_stands_before_them(engine: Engine) -> None:
    first, _ = answer(engine, say("is the lodge tent waterproof?"))
    talk = say("is the lodge tent waterproof?", first, "and how heavy is it?")
    _, stream = answer(engine, talk)
    length = stream.ending.prompt_tokens
    again = answer(engine, talk, replace(GREEDY, temperature=1, seed=2))[1].ending
    assert again.cached_tokens == length - 1
    edited = answer(engine, say("is the lodge tent waterproof?", first, "and what does it cost?"))[1].ending
    assert edited.cached_tokens >= length - 12
    back = answer(engine, talk)[1].ending
    assert back.cached_tokens == length - 1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_answer_is_known_however_oddly_it_was_written(engine: Engine, seed: int) -> None:
    odd = replace(ENDLESS, temperature=5, top_k=100, max_tokens=60, seed=seed)
    text, stream = answer(engine, say(f"tell me {seed} things"), odd)
    again = [*engine.prompt(say(f"tell me {seed} things"), 64).tokens]
    follow = engine.prompt(say(f"tell me {seed} things", text, "and now?"), 64)
    assert follow.tokens[: len(again)] == again
    ending = answer(engine, follow.messages)[1].ending
    assert ending.cached_tokens >= stream.ending.prompt_tokens + stream.ending.completion_tokens - 1


def test_history_switched_off_and_on_again_reads_nothing_twice(engine: Engine) -> None:
    first, _ = answer(engine, say("where is order 7713?"))
    whole = say("where is order 7713?", first, "please send it to my office")
    answer(engine, whole)
    answer(engine, whole[-1:])
    assert answer(engine, whole)[1].ending.cached_tokens == len(engine.prompt(whole, 64).tokens) - 1


def test_idle_conversations_come_back_from_ram_as_they_were(small: Engine) -> None:
    talks = [say(f"{question} " * 30) for question in QUESTIONS]
    firsts = [answer(small, talk)[0] for talk in talks]
    followed = [[*talk, *say("", first, "thanks")[1:]] for talk, first in zip(talks, firsts, strict=True)]
    for talk, follow in zip(talks, followed, strict=True):
        ending = answer(small, follow)[1].ending
        assert ending.cached_tokens >= len(small.prompt(talk, 64).tokens)
    metrics = small.metrics()
    assert metrics.restored > 0
    assert metrics.dropped == 0
    assert metrics.idle_bytes > 0


def test_what_came_back_from_ram_answers_as_before(small: Engine) -> None:
    talk = say("where is my order 4821? " * 8)
    before, _ = answer(small, talk)
    for question in QUESTIONS:
        answer(small, say(f"{question} " * 20))
    again, stream = answer(small, talk)
    assert (again, stream.ending.cached_tokens) == (before, stream.ending.prompt_tokens - 1)


def test_without_memory_for_idle_conversations_they_are_read_again() -> None:
    with closing(load(resolve("mini"), context=512, limits=Limits(live=1, idle_bytes=0))) as engine:
        answer(engine, say("hello " * 200))
        for question in QUESTIONS:
            answer(engine, say(f"{question} " * 30))
        _, stream = answer(engine, say("hello " * 200))
        assert stream.ending.cached_tokens < 100
        assert engine.metrics().dropped > 0


def test_words_go_on_while_a_long_prompt_is_read(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "READ_SECONDS", 0.0)  # however fast this machine is
    writing = ask(engine, say("hello"), ENDLESS)
    pieces = iter(writing)
    next(pieces)
    before = engine.metrics()
    long = ask(engine, say("tent " * 1500), replace(GREEDY, max_tokens=1))
    list(long)
    after = engine.metrics()
    writing.cancel()
    list(pieces)
    assert after.read - before.read > 1400
    assert after.steps - before.steps >= 1400 // pace.WORTH_READING
    assert after.written - before.written >= 1400 // pace.WORTH_READING


def test_who_cancels_leaves_the_others_alone(engine: Engine) -> None:
    usual, _ = answer(engine, say(QUESTIONS[1]))
    streams = [ask(engine, say(f"{question}!"), ENDLESS) for question in QUESTIONS[2:6]]
    other = ask(engine, say(QUESTIONS[1]))
    for stream in streams:
        next(iter(stream))
        stream.cancel()
    assert [("".join(stream), stream.ending.finish_reason)[1] for stream in streams] == [CANCELLED] * 4
    assert "".join(other) == usual


def test_those_who_are_answered_close_up_when_one_leaves_and_go_on_as_if_alone(engine: Engine) -> None:
    usual, _ = answer(engine, say(QUESTIONS[1]))
    streams = [ask(engine, say(f"{question} please"), ENDLESS) for question in QUESTIONS[:3]]
    for stream in streams:
        next(iter(stream))
    last = ask(engine, say(QUESTIONS[1]))
    pieces = iter(last)
    begun = next(pieces)
    streams[0].cancel()
    list(streams[0])
    assert begun + "".join(pieces) == usual
    steps = engine.metrics().steps
    while engine.metrics().steps < steps + 3:
        pass
    places = engine._sequences._places  # type: ignore[attr-defined]
    assert sorted(place.number for place in places) == [0, 1]
    for stream in streams[1:]:
        stream.cancel()
        list(stream)


def test_a_full_line_refuses_in_one_sentence_and_says_when_to_come_back(small: Engine) -> None:
    streams = [ask(small, say(question), replace(ENDLESS, max_tokens=100)) for question in QUESTIONS[:4]]
    with pytest.raises(BusyError, match="2 questions are waiting already.*Ask again in"):
        ask(small, say("hello"))
    for stream in streams:
        stream.cancel()
        list(stream)
    assert answer(small, say("hello"))[0]


def test_who_waits_knows_the_place_in_line(small: Engine) -> None:
    streams = [ask(small, say(question), replace(ENDLESS, max_tokens=100)) for question in QUESTIONS[:4]]
    next(iter(streams[0]))
    assert [stream.place and stream.place.position for stream in streams] == [None, None, 1, 2]
    for stream in streams:
        stream.cancel()
        list(stream)
    assert streams[3].place is None


def test_one_visitor_does_not_take_every_place(small: Engine) -> None:
    greedy = [
        ask(small, say(question), replace(ENDLESS, max_tokens=100), "ada") for question in QUESTIONS[:3]
    ]
    next(iter(greedy[0]))
    other = ask(small, say("hello"), visitor="bob")
    order: list[str] = []
    waits = [
        threading.Thread(target=lambda: (next(iter(greedy[2]), ""), order.append("ada"))),
        threading.Thread(target=lambda: (next(iter(other), ""), order.append("bob"))),
    ]
    for thread in waits:
        thread.start()
    greedy[0].cancel()
    for thread in waits:
        thread.join()
    assert order[0] == "bob"
    for stream in greedy:
        stream.cancel()


def test_who_asks_more_at_once_than_one_may_knows_the_place_in_line() -> None:
    with closing(load(resolve("mini"), context=512, limits=Limits(live=4))) as engine:
        streams = [ask(engine, say("hello"), ENDLESS, visitor="ada") for _ in range(3)]
        assert [bool(stream.place and stream.place.position == 1) for stream in streams] == [
            False,
            False,
            True,
        ]
        for stream in streams:
            stream.cancel()


def test_newcomers_let_those_go_first_who_are_in_a_conversation() -> None:
    with closing(load(resolve("mini"), context=512, limits=Limits(live=1))) as engine:
        list(ask(engine, say("hello"), visitor="ada"))
        running = ask(engine, say("hello"), ENDLESS, visitor="eve")
        next(iter(running))
        streams = {name: ask(engine, say("thanks"), visitor=name) for name in ("bob", "ada")}
        order: list[str] = []
        waits = [
            threading.Thread(target=lambda name=name: (next(iter(streams[name])), order.append(name)))
            for name in streams
        ]
        for thread in waits:
            thread.start()
        running.cancel()
        for thread in waits:
            thread.join()
        assert order[0] == "ada"


def test_an_answer_that_takes_too_long_ends_and_says_so() -> None:
    limits = Limits(live=1, answer_seconds=0.0)
    with closing(load(resolve("mini"), context=512, limits=limits)) as engine:
        assert answer(engine, say("hello"))[1].ending.finish_reason == LATE


def test_who_waits_too_long_is_told(engine: Engine) -> None:
    with closing(load(resolve("mini"), context=512, limits=Limits(live=1, wait_seconds=0.0))) as engine:
        first = ask(engine, say("hello"), ENDLESS)
        with pytest.raises(BusyError, match="Nobody was free"):
            list(ask(engine, say("thanks")))
        first.cancel()


def test_a_fault_while_nobody_is_answered_reaches_those_who_wait(
    small: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Worker) -> None:
        raise RuntimeError("no room was found")

    monkeypatch.setattr(Worker, "_send_away", fail)
    streams = [ask(small, say(question)) for question in QUESTIONS[:3]]
    for stream in streams:
        with pytest.raises(RuntimeError, match="no room was found"):
            list(stream)
    monkeypatch.undo()
    assert answer(small, say("hello"))[0]


def test_a_stop_string_ends_an_answer_before_it(engine: Engine) -> None:
    whole, _ = answer(engine, say("hello"))
    word = whole.split()[2]
    cut, stream = answer(engine, say("hello"), replace(GREEDY, stop=(word,)))
    assert cut == whole[: whole.index(word)]
    assert stream.ending.completion_tokens < 64


def test_random_turns_edits_and_cancels_leak_nothing(small: Engine) -> None:
    chance = random.Random(7)
    talks: list[list[dict[str, str]]] = [[] for _ in range(5)]
    expected: dict[str, str] = {}
    for _ in range(40):
        talk = chance.choice(talks)
        if len(talk) >= 2 and chance.random() < 0.3:
            del talk[-2:]
        sent = [*talk[-4:], *say(chance.choice(QUESTIONS))]
        stream = ask(small, sent)
        if chance.random() < 0.3:
            next(iter(stream), "")
            stream.cancel()
            list(stream)
            continue
        text = "".join(stream)
        assert expected.setdefault(repr(sent), text) == text
        talk[:] = [*sent, {"role": "assistant", "content": text}]
    metrics = small.metrics()
    assert (metrics.active, metrics.queued) == (0, 0)
    sequences = small._sequences  # type: ignore[attr-defined]
    assert len(sequences._free) + len(sequences._places) == sequences.numbers


def test_the_numbers_are_there_for_prometheus(engine: Engine) -> None:
    answer(engine, say("hello"), replace(GREEDY, max_tokens=2))
    metrics, text = engine.metrics(), as_text(engine.metrics())
    assert metrics.ended[FULL] >= 1
    assert f"\nbacktalk_completion_tokens_total {metrics.written}\n" in text
    assert f"\nbacktalk_first_token_seconds_count {sum(metrics.first_token.counts)}\n" in text
