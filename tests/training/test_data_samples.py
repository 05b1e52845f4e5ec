"""The samples that stand in for FineTome, Bitext and SAMSum without a network: their columns, and no leaks.

Command: pytest tests/training/test_data_samples.py
Promise: no network; the committed samples alone.
"""

import json
from collections import Counter
from typing import Any

import pytest

from backtalk.errors import WordsError
from tests.training.loading import loaded
from training.data.known import KNOWN, SAMPLES
from training.data.variant import find_variant, variants

COLUMNS = {
    "finetome": {"conversations": list, "source": str, "score": float},
    "bitext": {"flags": str, "instruction": str, "category": str, "intent": str, "response": str},
    "samsum": {"id": str, "dialogue": str, "summary": str},
}


def rows(name: str) -> dict[str, list[dict[str, Any]]]:
    return {
        split: [json.loads(line) for line in (SAMPLES / file).read_text(encoding="utf-8").splitlines()]
        for split, file in KNOWN[name].samples.items()
    }


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_a_sample_has_the_columns_of_its_dataset_and_50_to_200_rows(name: str) -> None:
    every = [row for split in rows(name).values() for row in split]
    assert 50 <= len(every) <= 200
    assert all({key: type(value) for key, value in row.items()} == COLUMNS[name] for row in every)


def test_the_sample_of_finetome_speaks_sharegpt_and_ends_with_an_answer() -> None:
    for row in rows("finetome")["train"]:
        assert all(set(turn) == {"from", "value"} for turn in row["conversations"])
        assert {turn["from"] for turn in row["conversations"]} <= {"system", "human", "gpt"}
        assert row["conversations"][-1]["from"] == "gpt"


def test_the_sample_of_bitext_has_its_27_intents_and_11_categories_grouped_as_there() -> None:
    intents = [row["intent"] for row in rows("bitext")["train"]]
    assert set(Counter(intents).values()) == {3}
    assert [intents[n] for n in range(0, 81, 3)] == list(dict.fromkeys(intents))
    assert len(set(intents)) == 27
    assert len({row["category"] for row in rows("bitext")["train"]}) == 11


def test_offline_takes_the_samples_and_says_so() -> None:
    found = loaded(*KNOWN, {"repo": KNOWN["samsum"].repo, "split": "validation"}, offline=True)
    assert len(found.train) == sum(len(split) for name in KNOWN for split in rows(name).values()) - 12
    assert "offline: samsum-validation.jsonl stands in for knkarthick/samsum" in found.notes
    assert len(found.notes) == 4


def test_the_splits_of_the_samples_do_not_leak_into_each_other() -> None:
    evaluation = [{"name": "samsum", "split": split} for split in ("validation", "test")]
    found = loaded(
        "samsum", "bitext", "finetome", evaluation=evaluation, offline=True, filters={"duplicates": "near"}
    )
    assert len(found.evaluation) == 24
    assert not any(source["removed"] for source in found.report["sources"])


def test_a_small_sample_of_bitext_holds_every_intent_once() -> None:
    intent = {row["instruction"]: row["intent"] for row in rows("bitext")["train"]}
    found = loaded({"name": "bitext", "limit": 27}, offline=True)
    assert len({intent[row["prompt"][-1]["content"]] for row in found.train}) == 27


def test_offline_a_dataset_without_samples_is_one_sentence() -> None:
    with pytest.raises(WordsError, match="somebody/chats needs the network, and --offline was given"):
        loaded({"repo": "somebody/chats"}, offline=True)


@pytest.mark.parametrize("name", variants())
def test_each_prompt_variant_shows_columns_that_a_sample_has(name: str) -> None:
    variant = find_variant(name, {})
    fitting = [dataset for dataset, columns in COLUMNS.items() if set(variant.columns) <= set(columns)]
    assert variant.columns
    [dataset] = fitting
    row = rows(dataset)["train"][0]
    message = variant.message(row)
    assert all(row[column] in message for column in variant.columns)
    found = loaded({"name": dataset, "prompt": name}, offline=True)
    assert message in [example["prompt"][-1]["content"] for example in found.train]


def test_a_variant_of_the_recipe_comes_first_and_a_wrong_column_in_it_is_named() -> None:
    own = {"short": "Sum up: {{ dialogue }}", "typo": "Sum up: {{ dialog | trim }}"}
    source = {"name": "samsum", "prompt": "short"}
    found = loaded(source, prompts=own, offline=True)
    assert all(row["prompt"][0]["content"].startswith("Sum up: ") for row in found.train)
    with pytest.raises(
        Exception, match=r"shows the column 'dialog', and samsum \(typo\) has .*Did you mean 'dialogue'"
    ):
        loaded({**source, "prompt": "typo"}, prompts=own, offline=True)
    with pytest.raises(WordsError, match="no prompt variant 'sumary'.*Did you mean 'summary'"):
        loaded({**source, "prompt": "sumary"}, offline=True)


def test_the_words_of_a_variant_make_no_two_dialogues_alike() -> None:
    long = {"long": " ".join(f"word{n}" for n in range(300)) + " {{ dialogue }}"}
    found = loaded(
        {"name": "samsum", "prompt": "long"},
        evaluation=[{"name": "samsum", "split": "test", "prompt": "long"}],
        prompts=long,
        offline=True,
    )
    assert (len(found.train), len(found.evaluation)) == (40, 12)
