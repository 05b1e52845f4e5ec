"""Scores: ROUGE is rouge_score's own, lengths and empty answers are counted, bits are per byte of the target.

Command: python -m pytest tests/training/test_evaluation_scores.py
Promise: no number of ours differs from what its definition gives on the same texts.
"""

from pathlib import Path

import pytest
from rouge_score.rouge_scorer import RougeScorer

from training.evaluation.compare import changes, difference, gain, most_changed, relative_bits
from training.evaluation.items import PRIMARY, Item, read_items
from training.evaluation.overlap import overlap
from training.evaluation.page import page
from training.evaluation.scores import BITS, Answer, Scored, score, summary

ITEMS = read_items({PRIMARY: [Path("training/mini/evaluation/summaries.jsonl")]})


def item(name: str, reference: str = "within sixty days", must: tuple[str, ...] = (), **more: str) -> Item:
    messages = ({"role": "user", "content": more.get("asked", "how long")},)
    return Item(name, PRIMARY, f"f, row {name}", messages, reference, must, (), False, f"c{name}", False)


def said(text: str, ended: bool = True) -> Answer:
    return Answer(text, len(text.split()), ended)


def test_rouge_equals_rouge_score_called_directly() -> None:
    direct = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    for one, other in zip(ITEMS, ITEMS[1:] + ITEMS[:1], strict=True):
        expected = direct.score(one.reference, other.reference)
        found = overlap(one.reference, other.reference)
        assert found == {name: expected[name].fmeasure for name in found}
        scored = score(one, said(other.reference), None)
        assert (scored.rouge1, scored.rouge2, scored.rougeL) == tuple(found.values())


def test_the_stemmer_is_on() -> None:
    assert overlap("the tents returned", "the tent returning")["rouge2"] == pytest.approx(1)


def test_empty_and_cut_off_answers_are_counted_and_lengths_compared_in_words() -> None:
    scored = [
        score(item("1"), said("  "), 12.0),
        score(item("2"), said("within sixty days or so it is", ended=False), 12.0),
    ]
    numbers = summary(scored)
    assert (numbers["empty"], numbers["truncated"]) == (1, 1)
    assert numbers["length_ratio"] == pytest.approx(7 / 6)
    assert numbers["right"] is None and numbers["exact"] is None


def test_bits_per_byte_is_a_ratio_of_sums_over_utf8_bytes() -> None:
    scored = [score(item("1", "äöü"), said(""), 12.0), score(item("2", "ab"), said(""), 4.0)]
    assert summary(scored)[BITS] == pytest.approx(16 / 8)


def test_an_exact_match_counts_only_where_the_item_asks_for_one() -> None:
    asked = Item("1", PRIMARY, "f, row 1", item("1").messages, "a b", (), (), True, "c", False)
    assert score(asked, said(" a  b\n"), None).exact == 1
    assert score(asked, said("a b."), None).exact == 0
    assert score(item("2", "a b"), said("a b"), None).exact is None


def pairs(*right: tuple[int, int]) -> list[tuple[Scored, Scored]]:
    """Items whose answers are right or wrong, before and after."""
    made = []
    for number, (before, after) in enumerate(right):
        one = item(str(number), must=("sixty",))
        texts = ("no idea", "within sixty days")
        made.append((score(one, said(texts[before]), 10.0), score(one, said(texts[after]), 8.0)))
    return made


def test_fixed_broken_and_unchanged_items_are_told_apart() -> None:
    found = changes(pairs((0, 1), (0, 1), (1, 0), (0, 0), (1, 1)))
    assert found == {"fixed": 2, "still_wrong": 1, "newly_broken": 1, "still_right": 1}


def test_fewer_bits_are_a_gain_and_a_negative_share() -> None:
    found = pairs(*[(1, 1)] * 8)
    per_byte = 2 / len("within sixty days")
    assert difference(found, BITS).value == pytest.approx(-per_byte)  # type: ignore[union-attr]
    assert gain(found, BITS).value == pytest.approx(per_byte)  # type: ignore[union-attr]
    assert relative_bits(found).value == pytest.approx(-0.2)  # type: ignore[union-attr]


def test_the_page_shows_broken_items_first_and_escapes_what_people_wrote() -> None:
    nasty = "<script>alert('x')</script>"
    one = item("9", must=("sixty",), asked=nasty)
    broken = (score(one, said("sixty"), None), score(one, said(nasty), None))
    chosen = most_changed([*pairs((0, 1), (1, 1)), broken], 50)
    assert [change_of[0].item.id for change_of in chosen] == ["9", "0"]
    html = page(chosen, 3, "old", "new")
    assert "<script" not in html and "&lt;script&gt;" in html
    assert "newly broken" in html and "http:" not in html and "https:" not in html
