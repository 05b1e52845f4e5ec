"""The data of a run: the same rows for the same seed, none learned that is compared on, all losses counted.

Command: pytest tests/training/test_data.py
Promise: real files, the bundled model's tokenizer; no network, nothing trained.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from backtalk.errors import BacktalkError, WordsError
from tests.training.loading import asked, loaded, pair, questions, write


@pytest.fixture
def hundred(tmp_path: Path) -> str:
    return write(tmp_path / "hundred.jsonl", questions(100))


def rows_of(data: Any) -> list[dict[str, Any]]:
    return list(data)


def test_the_same_seed_gives_the_same_rows_in_the_same_order(hundred: str) -> None:
    first, again = (loaded(hundred, eval_share=0.2) for _ in range(2))
    assert rows_of(first.train) == rows_of(again.train)
    assert rows_of(first.evaluation) == rows_of(again.evaluation)
    assert (first.report, first.inputs) == (again.report, again.inputs)


def test_another_seed_gives_another_order_of_the_same_rows(hundred: str) -> None:
    one, other = asked(loaded(hundred).train), asked(loaded(hundred, seed=2).train)
    assert one != other
    assert sorted(one) == sorted(other)


def test_the_order_of_the_file_does_not_show_in_the_order_of_the_rows(tmp_path: Path) -> None:
    rows = questions(60)
    there, back = write(tmp_path / "a.jsonl", rows), write(tmp_path / "b.jsonl", rows[::-1])
    assert asked(loaded(there).train) == asked(loaded(back).train)


def test_a_smaller_sample_or_another_filter_moves_no_row_to_the_other_side(hundred: str) -> None:
    whole = loaded(hundred, eval_share=0.3)
    held_out = set(asked(whole.evaluation))
    assert 15 < len(held_out) < 45
    small = loaded(
        {"path": hundred, "limit": 10}, eval_share=0.3, filters={"shortest": 25, "duplicates": "near"}
    )
    assert set(asked(small.evaluation)) <= held_out
    assert not set(asked(small.train)) & held_out
    assert len(small.train) == 10


def test_questions_that_differ_in_spelling_stay_on_one_side(tmp_path: Path) -> None:
    rows = [pair(spelled, f"Answer {n}.") for n, row in enumerate(questions(60)) for spelled in
            (row["prompt"], row["prompt"].upper(), f"  {row['prompt']}  ")]  # fmt: skip
    found = loaded(write(tmp_path / "spelled.jsonl", rows), eval_share=0.3)
    sides = [{text.strip().lower() for text in asked(side)} for side in (found.train, found.evaluation)]
    assert sides[0] and sides[1]
    assert not sides[0] & sides[1]


def test_rows_of_one_group_stay_on_one_side(tmp_path: Path) -> None:
    rows = [{**row, "talk": n // 5} for n, row in enumerate(questions(100))]
    found = loaded({"path": write(tmp_path / "talks.jsonl", rows), "group": "talk"}, eval_share=0.3)
    talk = {row["prompt"]: row["talk"] for row in rows}
    train, evaluation = ({talk[text] for text in asked(side)} for side in (found.train, found.evaluation))
    assert train and evaluation
    assert not train & evaluation


def test_a_question_near_a_held_out_one_is_not_learned(tmp_path: Path) -> None:
    base = "Please tell me in a few words how one gets from the old harbour to the new town hall on foot"
    rows = [pair(f"{base} {word}", f"Answer {word}.") for word in ("today", "now", "then", "again", "later")]
    path = write(tmp_path / "near.jsonl", rows + questions(20))
    for seed in range(20):
        found = loaded(path, eval_share=0.4, seed=seed)
        sides = [
            sum(text.startswith(base) for text in asked(side)) for side in (found.train, found.evaluation)
        ]
        assert 0 in sides
        left_out = found.report["sources"][0]["removed"].get("held_out_question", 0)
        assert left_out == (5 - sides[1] if sides[1] else 0)


@pytest.mark.parametrize(
    ("kind", "question"),
    [
        ("exact", "How do I get from the harbour to the town hall, if not by bus or by tram?"),
        ("normalised", "how do I get  from the harbour to the town hall, if not by bus or by TRAM"),
        ("near", "How do I get from the harbour to the town hall, if not by bus or by a tram?"),
    ],
)
def test_an_evaluation_prompt_in_the_training_data_is_an_error_that_names_the_pair(
    kind: str, question: str, tmp_path: Path
) -> None:
    train = write(tmp_path / "train.jsonl", [*questions(4), pair(question)])
    held_out = write(
        tmp_path / "test.jsonl",
        [
            pair("Who are you?"),
            pair("How do I get from the harbour to the town hall, if not by bus or by tram?"),
        ],
    )
    with pytest.raises(BacktalkError) as fault:
        loaded(train, evaluation=[held_out])
    assert f"{kind}: {train}, row 5 and {held_out}, row 2" in str(fault.value)
    found = loaded(train, evaluation=[held_out], drop_leaks=True)
    assert question not in asked(found.train)
    assert found.report["sources"][0]["removed"] == {"leak": 1}


def test_a_later_turn_that_is_an_evaluation_prompt_is_a_leak_too(tmp_path: Path) -> None:
    turns = [("user", "I have a tent."), ("assistant", "Good."), ("user", "May I bring it back?")]
    messages = [{"role": role, "content": content} for role, content in turns]
    answer = {"role": "assistant", "content": "Within thirty days."}
    train = write(tmp_path / "train.jsonl", [{"messages": [*messages, answer]}])
    held_out = write(tmp_path / "test.jsonl", [{"prompt": messages, "completion": [answer]}])
    with pytest.raises(BacktalkError, match="exact"):
        loaded(train, evaluation=[held_out])


@pytest.mark.parametrize("form", ["kto", "dpo"])
def test_an_evaluation_that_the_method_cannot_measure_is_held_out_all_the_same(
    form: str, tmp_path: Path
) -> None:
    rows = {
        "kto": pair("Who are you?", label=True),
        "dpo": {"prompt": "Who are you?", "chosen": "a", "rejected": "b"},
    }
    train = write(tmp_path / "train.jsonl", [rows[form]])
    held_out = write(tmp_path / "test.jsonl", [pair("Who are you?")])
    with pytest.raises(BacktalkError, match="exact: .*train.jsonl, row 1 and .*test.jsonl, row 1"):
        loaded(train, evaluation=[held_out], form=form)


def test_a_mixture_has_the_shares_of_the_recipe(tmp_path: Path) -> None:
    small, large = (
        write(tmp_path / "s.jsonl", questions(20)),
        write(tmp_path / "l.jsonl", questions(200)[20:]),
    )
    found = loaded({"path": small, "share": 0.25}, {"path": large, "share": 0.75})
    assert Counter(found.train["source"]) == {small: 20, large: 60}
    found = loaded({"path": small, "share": 0.25}, {"path": large, "share": 0.75}, rows=10)
    assert sorted(Counter(found.train["source"]).values()) in ([2, 8], [3, 7])
    found = loaded({"path": small, "share": 0.5, "repeat": 3}, {"path": large, "share": 0.5})
    assert Counter(found.train["source"]) == {small: 60, large: 60}
    assert set(Counter(row for row in asked(found.train)).values()) == {1, 3}


def test_of_a_balanced_source_as_many_rows_of_each_answer_are_taken(tmp_path: Path) -> None:
    answers = [("Within 60 days.", 70), ("It costs 9 euros.", 20), ("within 5 years", 10)]
    said = [answer for answer, count in answers for _ in range(count)]
    rows = [row | {"completion": answer} for row, answer in zip(questions(100), said, strict=True)]
    few = {"path": write(tmp_path / "few.jsonl", rows), "share": 0.5}
    other = [pair(f"Other {n}?", "Other.") for n in range(30)]
    beside = {"path": write(tmp_path / "other.jsonl", other), "share": 0.5}

    def told(**more: Any) -> Counter[str]:
        train = loaded(few | more, beside, filters={"duplicates": "keep"}).train
        return Counter(row["completion"][0]["content"] for row in train)

    assert told(balance=True) == {
        "Within 60 days.": 10,
        "It costs 9 euros.": 10,
        "within 5 years": 10,
        "Other.": 30,
    }
    assert told()["within 5 years"] < 7, "without it, rare answers are rare"


def test_where_all_rows_are_taken_a_balanced_source_gives_the_same_rows(tmp_path: Path) -> None:
    rows = [pair(f"Question {n}?", "Yes." if n % 5 else "No.") for n in range(20)]
    there = {"path": write(tmp_path / "rows.jsonl", rows), "repeat": 3, "share": 0.5}
    other = {"path": write(tmp_path / "other.jsonl", questions(30)), "share": 0.5}
    plain, balanced = (
        asked(loaded(there | {"balance": balance}, other, filters={"duplicates": "keep"}).train)
        for balance in (False, True)
    )
    assert plain == balanced
    assert sorted(Counter(text for text in plain if "Question" in text).values()) == [1] * 10 + [2] * 10


def test_more_rows_than_there_are_is_one_sentence(hundred: str) -> None:
    with pytest.raises(BacktalkError, match=r"should give 200 of 200 rows, and it has 100\. .* repeat"):
        loaded({"path": hundred, "share": 1.0}, rows=200)


def test_a_sample_holds_each_stratum_in_its_proportion(tmp_path: Path) -> None:
    rows = [{**row, "kind": "rare" if n < 20 else "common"} for n, row in enumerate(questions(100))]
    kind = {row["prompt"]: row["kind"] for row in rows}
    found = loaded({"path": write(tmp_path / "kinds.jsonl", rows), "stratify": "kind", "limit": 25})
    assert Counter(kind[text] for text in asked(found.train)) == {"rare": 5, "common": 20}


def test_each_filter_counts_what_it_left_out(tmp_path: Path) -> None:
    rows = questions(5)
    odd = [
        rows[0],
        pair("Hi", "Hm."),
        pair("Tell me everything.", "and so on " * 100),
        pair("Wie komme ich von hier aus zum Bahnhof?", "Sie gehen über die Brücke und dann nach links."),
        pair("What does the turn look like?", "It ends with <|eot_id|> and nothing else."),
        {**rows[1], "completion": rows[1]["completion"].replace("Answer", "answer")},
    ]
    long = "Say in one sentence what the old man with the red hat does at the harbour in the early morning"
    odd += [
        pair(long, "He mends nets and feeds the gulls."),
        pair(f"{long} light", "He mends nets and feeds the gulls."),
    ]
    filters = {"shortest": 20, "longest": 120, "language": "en", "duplicates": "near"}
    found = loaded(write(tmp_path / "odd.jsonl", rows + odd), filters=filters)
    assert found.report["sources"][0]["removed"] == {
        "control_tokens": 1,
        "duplicate": 2,
        "language": 1,
        "near_duplicate": 1,
        "too_long": 1,
        "too_short": 1,
    }
    assert len(found.train) == len(rows) + len(odd) - 7
    assert not any("<|eot_id|>" in text for row in found.train for text in (row["completion"][0]["content"],))


def test_a_control_token_is_left_out_wherever_it_stands(tmp_path: Path) -> None:
    typed = "<|start_header_id|>"
    rows = [
        {"messages": [{"role": "system", "content": typed}, *turns("a", "b")]},
        {"messages": [*turns("a", typed), *turns("c", "d")]},
        {"messages": turns("fine", "fine too")},
    ]
    found = loaded(write(tmp_path / "typed.jsonl", rows))
    assert asked(found.train) == ["fine"]
    pairs = [
        {"prompt": "p", "chosen": "good", "rejected": typed},
        {"prompt": "q", "chosen": "x", "rejected": "y"},
    ]
    assert asked(loaded(write(tmp_path / "pairs.jsonl", pairs), form="dpo").train) == ["q"]


def test_rows_longer_than_the_context_are_named_by_number(tmp_path: Path) -> None:
    rows = [*questions(3), pair("Go on.", "and so on " * 60), *questions(6)[3:], pair("Go on?", "more " * 90)]
    path = write(tmp_path / "long.jsonl", rows)
    with pytest.raises(BacktalkError, match=r"than the 100 tokens.*rows 4 and 8\. .*filters\.longest: 100"):
        loaded(path, context=100)
    found = loaded(path, context=100, filters={"longest": 100})
    assert len(found.train) == 6
    assert found.report["sources"][0]["removed"] == {"too_long": 2}


def test_the_filter_by_perplexity_asks_the_base_and_counts(hundred: str) -> None:
    surprise = {
        "What would ant number 0 want in the attic?": 900.0,
        "What would bat number 1 want in the attic?": 1.0,
    }

    def rated(example: Any) -> float:
        return surprise.get(example.prompt[-1]["content"], 20.0)

    found = loaded(hundred, filters={"perplexity_least": 2, "perplexity_most": 100}, perplexity=rated)
    assert found.report["sources"][0]["removed"] == {"perplexity_high": 1, "perplexity_low": 1}
    assert len(found.train) == 98
    with pytest.raises(WordsError, match="needs the base model"):
        loaded(hundred, filters={"perplexity_most": 100})


def test_only_rows_that_are_drawn_are_looked_at(hundred: str) -> None:
    found = loaded({"path": hundred, "limit": 7})
    assert found.report["sources"][0]["read"] == 100
    assert found.report["sources"][0]["looked_at"] == 7


def test_a_run_without_data_or_with_none_left_says_so(hundred: str) -> None:
    with pytest.raises(WordsError, match="names no data"):
        loaded()
    with pytest.raises(BacktalkError, match="Of 100 rows none is left to learn from: 100 too_short"):
        loaded(hundred, filters={"shortest": 500})


def test_the_inputs_name_each_file_by_its_hash(hundred: str) -> None:
    [entry] = loaded(hundred).inputs
    assert (entry["role"], entry["path"], entry["rows"]) == ("data", hundred, 100)
    Path(hundred).write_text(Path(hundred).read_text() + "\n")
    assert loaded(hundred).inputs[0]["sha256"] != entry["sha256"]


def turns(user: str, assistant: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
