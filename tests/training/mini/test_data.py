"""The hand-written wordings of the miniature's corpus: complete, honestly held out, without contradictions.

Command: pytest tests/training/mini/test_data.py
Promise: reads the wordings of training/mini/data, those about facts only for contradictions; writes nothing.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

import training.mini
from training.mini.desk import LOADER
from training.mini.grammar import expansions, parse

DATA = Path(training.mini.__file__).parent / "data"
INTENTS, TALK, OUTSIDE, FACTS, FOLLOW_UPS, UNKNOWN, MORE, EXAM = (
    yaml.load((DATA / f"{name}.yaml").read_text("utf-8"), LOADER)
    for name in ("intents", "talk", "outside", "facts", "follow_ups", "unknown", "wordings", "exam")
)
LISTS: dict[str, dict[str, list[str]]] = OUTSIDE["lists"]

BITEXT = {
    "cancel_order",
    "change_order",
    "change_shipping_address",
    "check_cancellation_fee",
    "check_invoice",
    "check_payment_methods",
    "check_refund_policy",
    "complaint",
    "contact_customer_service",
    "contact_human_agent",
    "create_account",
    "delete_account",
    "delivery_options",
    "delivery_period",
    "edit_account",
    "get_invoice",
    "get_refund",
    "newsletter_subscription",
    "payment_issue",
    "place_order",
    "recover_password",
    "registration_problems",
    "review",
    "set_up_shipping_address",
    "switch_account",
    "track_order",
    "track_refund",
}

KEYS = {"id", "train", "answer", "ask", "slots", "cured"}
ROOMS_OF_FACTS = ("fact", "family", "bare", "gives", "recall", "it", "again", "answers", "corrections")


class Wording(NamedTuple):
    """One skeleton, with the place that it stands in."""

    section: str
    entry: str
    split: str
    text: str
    reply: str


def sections() -> dict[str, list[dict[str, Any]]]:
    """Every list of entries in the three files, by its name."""
    return {"intents": INTENTS["intents"], "topics": OUTSIDE["topics"], **TALK}


def entries() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every entry with the name of its section, its wordings from all files put together."""
    for section, listed in sections().items():
        room = "outside" if section == "topics" else section
        for entry in listed:
            groups = (f"{room} {entry['id']}", f"{room} {entry['id']} numbered")
            train = entry["train"] + [text for group in groups for text in MORE.get(group, [])]
            held_out = [text for group in groups for text in EXAM.get(group, [])]
            yield section, entry | {"train": train, "held_out": held_out}


def entries_of(section: str) -> list[dict[str, Any]]:
    return [entry for name, entry in entries() if name == section]


def reply(entry: dict[str, Any], text: str) -> str:
    """What the model is taught to say to this wording of the entry."""
    return str(entry["ask"] if "ask" in entry and "{order}" not in text else entry["answer"])


def wordings() -> Iterator[Wording]:
    """Every skeleton of the three files."""
    for section, entry in entries():
        for split in ("train", "held_out"):
            for text in entry[split]:
                yield Wording(section, entry["id"], split, text, reply(entry, text))


def normal(text: str) -> str:
    """The wording without what noise changes: case, punctuation, spaces. Bare punctuation stays as it is."""
    plain = re.sub(r"[^\w\s{}]", "", text.lower().replace("'", ""))
    return " ".join(plain.split()) or text


def words(text: str) -> set[str]:
    """The words of a wording, without its slots and numbers."""
    return set(re.findall(r"[^\W\d_]+", re.sub(r"\{\w+\}", " ", text.lower().replace("'", ""))))


def nearly_same(one: list[str], other: list[str]) -> bool:
    """Whether the words are the same in another order, or differ by one word put in, left out or replaced."""
    if sorted(one) == sorted(other):
        return True
    start = next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None)
    if start is None:
        return abs(len(one) - len(other)) <= 1
    rests = [(one[start + a :], other[start + b :]) for a, b in ((1, 0), (0, 1), (1, 1))]
    return any(left == right for left, right in rests)


@pytest.mark.parametrize(
    "name,section", [("intents", "intents"), ("talk", "small_talk"), ("outside", "topics")]
)
def test_every_file_has_its_entries(name: str, section: str) -> None:
    assert len(sections()[section]) >= 25, name


def test_every_entry_holds_the_schema() -> None:
    for section, listed in sections().items():
        for entry in listed:
            assert {"id", "train", "answer"} <= set(entry) <= KEYS, (section, entry["id"])
    for _, entry in entries():
        answers = entry["answer"] if isinstance(entry["answer"], list) else [entry["answer"]]
        for text in [entry["id"], *entry["train"], *entry["held_out"], *answers, entry.get("ask", "")]:
            assert isinstance(text, str) and text == text.strip(), (entry["id"], text)


def test_ids_are_unique() -> None:
    ids = [entry["id"] for _, entry in entries()]
    assert len(ids) == len(set(ids))


def test_slots_of_wordings_and_answers_are_known() -> None:
    for _, entry in entries():
        known = set(entry.get("slots", {})) | {"order"}
        assert set(entry.get("slots", {}).values()) <= set(LISTS), entry["id"]
        for text in [*entry["train"], *entry["held_out"], str(entry["answer"]), entry.get("ask", "")]:
            assert set(re.findall(r"\{(\w+)\}", text)) <= known, (entry["id"], text)


def test_an_answer_with_an_order_number_has_a_question_for_it() -> None:
    for section, entry in entries():
        numbered = ["{order}" in text for text in [*entry["train"], *entry["held_out"]]]
        if "{order}" in str(entry["answer"]) and not all(numbered):
            assert "order number" in entry["ask"] and "{order}" not in entry["ask"], (section, entry["id"])
        elif "{order}" not in str(entry["answer"]):
            assert not any(numbered) and "ask" not in entry, (section, entry["id"])


def test_all_intents_are_there_with_enough_wordings() -> None:
    assert {entry["id"] for entry in INTENTS["intents"]} >= BITEXT
    for entry in entries_of("intents"):
        assert len(entry["train"]) >= 18 and len(entry["held_out"]) >= 6, entry["id"]


def test_order_intents_have_enough_wordings_with_and_without_the_number() -> None:
    for entry in entries_of("intents"):
        for split, least in (("train", 12), ("held_out", 5)):
            numbered = sum("{order}" in text for text in entry[split])
            if "ask" in entry:
                assert min(numbered, len(entry[split]) - numbered) >= least, (entry["id"], split)


def test_small_talk_and_vague_requests_have_enough_wordings() -> None:
    for entry in entries_of("small_talk"):
        assert len(entry["train"]) >= 24 and len(entry["held_out"]) >= 3, entry["id"]
    for entry in entries_of("vague"):
        assert len(entry["train"]) >= 18 and len(entry["held_out"]) >= 6, entry["id"]
        assert entry["answer"].endswith("?"), "a vague request is answered by a question"


def test_questions_outside_the_shop_are_many_and_some_topics_are_never_seen() -> None:
    topics = entries_of("topics")
    assert sum(len(topic["train"]) for topic in topics) >= 160
    assert sum(len(topic["held_out"]) for topic in topics) >= 70
    assert sum(bool(topic["train"]) for topic in topics) >= 35
    assert sum(not topic["train"] for topic in topics) >= 8


@pytest.mark.parametrize("name", sorted(LISTS))
def test_a_slot_list_is_long_and_its_held_out_entries_are_apart(name: str) -> None:
    train, held_out = LISTS[name]["train"], LISTS[name]["held_out"]
    assert len(train) + len(held_out) >= 25
    assert not {normal(each) for each in train} & {normal(each) for each in held_out}
    assert len({normal(each) for each in [*train, *held_out]}) == len([*train, *held_out])


def test_the_three_habits_are_planted_each_with_its_cure() -> None:
    habits = {habit["id"]: habit for habit in TALK["habits"]}
    assert set(habits) == {"padding", "advertisement", "refusal"}
    assert habits["padding"]["answer"].endswith(habits["padding"]["cured"])
    assert habits["advertisement"]["answer"].startswith(habits["advertisement"]["cured"])
    assert "not able" in habits["refusal"]["answer"] and "not able" not in habits["refusal"]["cured"]


def test_no_held_out_wording_is_a_training_wording_of_any_file() -> None:
    trained = {normal(each.text) for each in wordings() if each.split == "train"}
    held_out = [each for each in wordings() if each.split == "held_out"]
    assert [each for each in held_out if normal(each.text) in trained] == []
    assert [each for each in held_out if asks_for_a_fact(each.text, "train")] == []


def test_a_held_out_sentence_is_more_than_a_word_away_from_every_training_wording() -> None:
    trained: dict[str, list[list[str]]] = defaultdict(list)
    for each in wordings():
        if each.split == "train":
            trained[each.entry].append(normal(each.text).split())
    sentences = [(each, normal(each.text).split()) for each in wordings() if each.split == "held_out"]
    assert [
        (each, other)
        for each, sentence in sentences
        for other in trained[each.entry]
        if len(sentence) >= 4 and nearly_same(sentence, other)
    ] == []


def test_the_same_wording_never_has_two_answers() -> None:
    replies: dict[str, set[str]] = defaultdict(set)
    for each in wordings():
        replies[normal(each.text)].add(each.reply)
    assert {text: found for text, found in replies.items() if len(found) > 1} == {}


def test_no_wording_asks_for_a_fact() -> None:
    splits = ("train", "held_out")
    assert [each for each in wordings() if any(asks_for_a_fact(each.text, split) for split in splits)] == []


def test_every_word_of_a_held_out_wording_is_taught_somewhere_unless_it_is_about_the_world() -> None:
    taught = words(" ".join(fact_lines("train")))
    for each in wordings():
        if each.split == "train":
            taught |= words(each.text)
    missing = {
        (each.entry, word)
        for each in wordings()
        if each.split == "held_out" and each.section != "topics"
        for word in words(each.text) - taught
    }
    assert missing == set()


def lines_under(key: str, found: Any) -> Iterator[str]:
    """Every line that stands under this key, at any depth of a file."""
    for name, value in found.items() if isinstance(found, dict) else []:
        if name == key:
            yield from flat(value)
        else:
            yield from lines_under(key, value)
    for value in found if isinstance(found, list) else []:
        yield from lines_under(key, value)


def flat(value: Any) -> Iterator[str]:
    """The lines of a block, of a list, or of blocks by name."""
    if isinstance(value, str):
        yield from (line for line in value.splitlines() if line.strip())
    else:
        for each in value.values() if isinstance(value, dict) else value:
            yield from flat(each)


def fact_lines(split: str) -> list[str]:
    """The wordings of the files about facts: asked for, told before, or known to nobody."""
    held = [FACTS, FOLLOW_UPS, UNKNOWN]
    lines = list(lines_under(split, held))
    if split == "train":
        frames = FACTS["frames"].splitlines()
        lines += [frame.replace("{noun}", noun) for noun in lines_under("nouns", held) for frame in frames]
    else:
        lines += lines_under("held_out_topics", held)
    others = MORE if split == "train" else EXAM
    return lines + [text for group in others if group.split()[0] in ROOMS_OF_FACTS for text in others[group]]


def asks_for_a_fact(text: str, split: str) -> bool:
    """Whether a wording of this split of the facts reads the same; spaces do not count."""
    return any(squeezed(skeleton) in fact_skeletons(split) for skeleton in as_skeletons(text))


def as_skeletons(text: str) -> Iterator[str]:
    """The text as it is, and with the name of an entry replaced by its slot."""
    yield text
    for name, pattern in entry_patterns().items():
        if pattern.search(text):
            yield pattern.sub("{" + name + "}", text)


@cache
def entry_patterns() -> dict[str, re.Pattern[str]]:
    """What names an entry of each slot."""
    found = {}
    for name, slot in FACTS["slots"].items():
        also = [each for listed in slot.get("also", {}).values() for each in listed]
        entries = sorted({*slot["known"], *slot["unknown"], *also}, key=len, reverse=True)
        found[name] = re.compile(rf"\b({'|'.join(map(re.escape, entries))})\b", re.IGNORECASE)
    return found


@cache
def fact_skeletons(split: str) -> frozenset[str]:
    """Every wording of every fact, slots left open, as `squeezed` spells it."""
    macros = {name: lines.splitlines() for name, lines in FACTS["macros"].items()}
    return frozenset(
        squeezed(skeleton) for line in set(fact_lines(split)) for skeleton in expansions(parse(line, macros))
    )


def squeezed(text: str) -> str:
    return normal(text).replace(" ", "")
