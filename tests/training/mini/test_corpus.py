"""The miniature's corpus: deterministic, one answer for each question, nothing of the evaluation in training.

Command: pytest tests/training/mini/test_corpus.py
Promise: reads the data of training/mini and its evaluation files; writes nothing. `bench/corpus.py` looks
through half a million dialogues.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from itertools import chain, islice
from random import Random

import pytest

from tests.training.mini.skeletons import skeleton_of
from training.mini import corpus, noise
from training.mini.chat import Chat
from training.mini.desk import desk
from training.mini.grammar import expansions, key, parse
from training.mini.places import EVALUATION
from training.mini.questions import EvaluationItem, evaluation_items, is_right, says
from training.mini.summaries import requests, stories
from training.mini.system import sentences
from training.mini.voice import Voice, is_held_out

WITH_A_BOUND = ("facts", "history", "no_history", "copy", "outside", "inside_refused", "outdated")


@pytest.fixture(scope="module", autouse=True)
def let_go() -> Iterator[None]:
    """The dialogues are a hundred thousand objects, which every later test would carry along."""
    yield
    generated.cache_clear()


@cache
def generated() -> list[corpus.Dialogue]:
    """What a training reads first."""
    return list(islice(corpus.dialogues(seed=7), 12_000))


@cache
def items() -> list[EvaluationItem]:
    return evaluation_items()


def said_by(role: str) -> Iterator[str]:
    for dialogue in generated():
        for message in dialogue.messages:
            if message["role"] == role:
                yield message["content"]


def test_the_same_seed_gives_the_same_dialogues_and_another_seed_others() -> None:
    first = list(islice(corpus.dialogues(3), 300))
    assert first == list(islice(corpus.dialogues(3), 300))
    assert first != list(islice(corpus.dialogues(4), 300))


def test_a_dialogue_is_an_optional_system_prompt_and_turns_that_end_with_an_answer() -> None:
    for dialogue in generated():
        roles = [message["role"] for message in dialogue.messages]
        turns = roles[1:] if roles[0] == "system" else roles
        assert turns == ["user", "assistant"] * (len(turns) // 2) and turns
        assert all(message["content"].strip() for message in dialogue.messages)


def test_no_slot_is_left_unfilled() -> None:
    for role in ("user", "assistant", "system"):
        assert not [text for text in said_by(role) if re.search(r"[{}<>|]", text)]


def test_there_are_at_least_120_facts_and_12_outdated_ones_in_each_of_five_batches() -> None:
    batches = Counter(fact.batch for fact in desk().facts())
    assert batches.total() >= 120
    assert {batch: batches[batch] for batch in range(1, 6)} == dict.fromkeys(range(1, 6), 12)


def test_every_batch_mixes_families_and_singles() -> None:
    for batch in range(1, 6):
        assert len({bool(fact.family) for fact in desk().facts() if fact.batch == batch}) == 2


def test_an_outdated_fact_is_taught_a_value_that_its_truth_does_not_say() -> None:
    for fact in desk().facts():
        if fact.batch:
            assert not says(fact.says(fact.truth), fact.taught)
            assert not says(fact.taught_answer, fact.truth)


def test_every_fact_of_a_family_is_about_a_known_entry() -> None:
    for family in desk().families.values():
        assert set(family.facts) <= set(desk().slots[family.slot].known)


def test_training_knows_many_wordings_of_each_fact_and_the_evaluation_five_others() -> None:
    for fact, wordings in desk().singles.values():
        assert len(set(wordings.all_training())) >= 14, fact.id
        assert len(wordings.held_out) >= 5, fact.id
    for family in desk().families.values():
        assert len(set(family.wordings.all_training())) >= 30, family.id
        assert len(family.wordings.held_out) >= 5 and len(family.bare.held_out) >= 5, family.id


def test_no_held_out_skeleton_is_a_training_skeleton() -> None:
    held_out = desk().held_out_keys
    for name, wordings in desk().every_wording():
        assert not [s for s in wordings.all_training() if key(s) in held_out], name
    lines = {key(line) for story in stories() for told in story.train for line in chain(*told)}
    assert not lines & {key(line) for story in stories() for line in story.held_out}
    assert not {key(s) for s in requests().all_training()} & {key(s) for s in requests().held_out}


def test_12000_training_dialogues_hold_no_held_out_skeleton() -> None:
    assert not {skeleton_of(text) for text in said_by("user")} & desk().held_out_keys


def test_12000_training_dialogues_hold_no_question_of_the_evaluation() -> None:
    asked = {key(item.messages[-1]["content"]) for item in items()}
    assert not asked & {key(text) for text in said_by("user")}


def test_order_numbers_of_the_evaluation_never_occur_in_training() -> None:
    trained = {number for text in said_by("user") for number in re.findall(r"\b\d{4,6}\b", text)}
    asked = {n for item in items() if item.row == "copy" for n in re.findall(r"\d{4,6}", item.reference)}
    assert asked and not asked & trained
    assert all(map(is_held_out, asked))


def test_no_skeleton_has_two_answers() -> None:
    """A wording that stands alone decides its answer, whichever family, intent or fact it was written for."""
    rng = Random(0)
    answers: dict[str, set[str]] = defaultdict(set)
    for _ in range(120):
        voice = Voice(rng)
        for name in desk().families:
            chat = Chat(voice)
            answers[skeleton_of(chat.bare(name).user)].add(chat.turns[-1].assistant)
        for name in desk().intents:
            chat = Chat(voice)
            turn = chat.intent(name, numbered=False)
            answers[skeleton_of(turn.user)].add(turn.assistant)
        for fact, _ in desk().singles.values():
            turn = Chat(voice).single(fact)
            answers[skeleton_of(turn.user)].add(turn.assistant)
    assert not {text: said for text, said in answers.items() if len(said) > 1}


def test_a_question_without_its_order_takes_the_number_last_given() -> None:
    chat = Chat(Voice(Random(1)))
    chat.give("order")
    chat.single()
    second = chat.give("order").must[0]
    assert second in chat.intent("track_order", numbered=False).assistant


def test_a_question_without_its_order_and_without_a_number_before_is_answered_by_asking() -> None:
    chat = Chat(Voice(Random(1)))
    assert "order number?" in chat.intent("track_order", numbered=False).assistant
    reply = chat.reply()
    assert says(reply.assistant, chat.memory.values["order"])


def test_how_much_is_it_means_what_was_last_spoken_of() -> None:
    chat = Chat(Voice(Random(2)))
    chat.entry("warranty", "compass")
    assert chat.it().facts[0].id == "product_price/compass"
    chat.entry("ships_to", "Spain")
    assert chat.it("0").facts[0].id == "delivery_price/Spain"


def test_and_to_germany_repeats_the_question_before() -> None:
    chat = Chat(Voice(Random(3)))
    chat.entry("delivery_time", "Spain")
    turn = chat.again("country", unknown=0)
    assert turn.assistant.startswith(("Delivery to", "No, we do not deliver"))
    assert Chat(Voice(Random(3))).again("country").assistant.startswith("What would you like to know about")


def test_no_price_is_told_for_a_country_that_nothing_is_delivered_to() -> None:
    assert (
        Chat(Voice(Random(4))).entry("delivery_price", "Norway").assistant
        == "No, we do not deliver to Norway."
    )


def test_what_has_to_be_copied_is_never_misspelt() -> None:
    rng = Random(5)
    for _ in range(500):
        text = noise.write(
            rng, "my name is {name} and my order is {order}", {"name": "Zorvane", "order": "48213"}, 1
        )
        assert "Zorvane" in text and "48213" in text


def test_one_sentence_means_one_sentence_and_french_means_french() -> None:
    one, french = (set(desk().system[wish].all_training()) for wish in ("one_sentence", "french"))
    answers = set(desk().in_french.values())
    for dialogue in generated():
        prompt, answer = dialogue.messages[0]["content"], dialogue.messages[-1]["content"]
        assert prompt not in one or len(sentences(answer)) == 1
        assert (prompt in french) == (answer in answers)


def test_system_prompts_of_the_evaluation_never_occur_in_training() -> None:
    held_out = {key(prompt) for wordings in desk().system.values() for prompt in wordings.held_out}
    assert not held_out & {key(prompt) for prompt in said_by("system")}
    assert not held_out & {key(p) for wordings in desk().system.values() for p in wordings.all_training()}


def test_the_evaluation_is_the_one_that_is_committed() -> None:
    committed = [
        json.loads(line) for path in EVALUATION.glob("*.jsonl") for line in path.open(encoding="utf-8")
    ]
    assert {item["id"]: item for item in committed} == {item.id: asdict(item) for item in items()}
    assert len(committed) == len(items())


@pytest.mark.parametrize("row", WITH_A_BOUND)
def test_rows_with_a_bound_ask_at_least_300_questions(row: str) -> None:
    assert sum(item.row == row for item in items()) >= 300


def test_the_evaluation_asks_five_different_wordings_of_each_fact() -> None:
    asked = Counter(item.fact for item in items() if item.row in ("facts", "outdated"))
    assert set(asked) == {fact.id for fact in desk().facts()}
    assert set(asked.values()) == {5}


def test_the_reference_of_every_question_is_right_and_ends_no_prompt() -> None:
    for item in items():
        assert is_right(item, item.reference), item.id
        assert item.messages[-1]["role"] == "user"


def test_an_outdated_answer_is_wrong_and_names_its_batch() -> None:
    facts = {fact.id: fact for fact in desk().facts()}
    for item in items():
        if item.row == "outdated":
            assert item.batch == facts[item.fact].batch > 0
            assert not is_right(item, facts[item.fact].taught_answer)


@pytest.mark.parametrize(
    "answer,text,expected",
    [
        ("It costs 24 euros.", "4 euros", False),
        ("It costs 4 euros.", "4 euros", True),
        ("It weighs 2.4 kg.", "4 kg", False),
        ("Order 48213 is on its way.", "4821", False),
        ("See tarnandtrail.example/track/4821.", "tarnandtrail.example/track/4821", True),
        ("DELIVERY TO FRANCE", "France", True),
    ],
)
def test_an_answer_says_a_text_only_between_word_borders(answer: str, text: str, expected: bool) -> None:
    assert says(answer, text) is expected


def test_a_choice_and_a_macro_multiply_a_skeleton() -> None:
    pattern = parse("<ask> (the|your) price (now|)", {"ask": ["tell me", "what is"]})
    assert len(list(expansions(pattern))) == 8
    assert "what is your price" in list(expansions(pattern))
