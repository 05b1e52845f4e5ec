"""The taxonomy: its ids are frozen, and what it says about training holds together."""

from pathlib import Path

import pytest

from backtalk.errors import WordsError
from feedback.taxonomy import FILE, FITTING, load, taxonomy

FROZEN = {
    "bad": (
        "misunderstood instruction_missed factual_error outdated reasoning_error off_topic incomplete "
        "too_long too_short style_tone format wrong_language repetition ignored_history over_refusal"
    ),
    "system": "cut_off slow error display_bug",
    "good": (
        "accurate clear complete followed_instructions right_length creative good_tone good_refusal "
        "saved_time"
    ),
    "safety": (
        "harmful hate_bias sexual self_harm dangerous_advice privacy_leak copyright defamation manipulative"
    ),
    "meta": "my_prompt_was_bad test_or_spam other",
}


def test_ids_directions_and_their_order_are_frozen() -> None:
    found: dict[str, list[str]] = {}
    for reason in taxonomy().reasons:
        found.setdefault(reason.direction, []).append(reason.id)
    assert {direction: " ".join(ids) for direction, ids in found.items()} == FROZEN
    assert taxonomy().version == "tx/1"
    assert list(taxonomy().hazards) == [f"S{number}" for number in range(1, 14)]
    assert [choice.id for choice in taxonomy().comparisons] == [
        "a_better",
        "b_better",
        "tie_good",
        "both_bad",
    ]


def test_every_reason_says_what_it_means_and_where_it_leads() -> None:
    for reason in taxonomy().reasons:
        assert reason.label and reason.hint.endswith("."), reason.id
        assert reason.route.kto or reason.route.aside or reason.route.correction, reason.id


def test_only_reasons_about_the_content_label_the_model() -> None:
    for reason in taxonomy().reasons:
        about_content = reason.direction in ("good", "bad")
        assert reason.route.kto in (("", reason.direction) if about_content else ("",)), reason.id
        assert bool(reason.route.aside) != about_content, reason.id


def test_only_other_needs_a_comment() -> None:
    assert [reason.id for reason in taxonomy().reasons if reason.needs_comment] == ["other"]


@pytest.mark.parametrize("verdict", FITTING)
def test_the_panel_offers_only_what_does_not_contradict_the_verdict(verdict: str) -> None:
    offered = {reason.direction for reason in taxonomy().offered(verdict)}
    assert offered == set(FITTING[verdict])


def test_an_archived_reason_is_no_longer_offered_and_still_understood(tmp_path: Path) -> None:
    changed = load(_changed(tmp_path, "  - id: clear\n", "  - id: clear\n    archived: true\n"))
    assert "clear" not in [reason.id for reason in changed.offered("good")]
    assert changed.reason("clear").label == "Clear"


@pytest.mark.parametrize(
    ("right", "wrong", "named"),
    [
        ("direction: bad", "direction: bda", "bad"),
        ("aside: quarantine", "aside: quarantin", "quarantine"),
        ("correction: [sft, dpo]", "correction: [sft, dop]", "dpo"),
        ("hazards: [S10]", "hazards: [S99]", "S99"),
        ("needs_comment: true", "need_comment: true", "needs_comment"),
    ],
)
def test_a_typo_in_the_file_names_the_nearest_word(
    tmp_path: Path, right: str, wrong: str, named: str
) -> None:
    with pytest.raises(WordsError, match=named):
        load(_changed(tmp_path, right, wrong))


def test_an_unknown_id_names_the_nearest() -> None:
    with pytest.raises(WordsError, match="Did you mean 'outdated'"):
        taxonomy().reason("outdatd")


def _changed(folder: Path, old: str, new: str) -> Path:
    content = FILE.read_text(encoding="utf-8")
    assert old in content
    path = folder / "taxonomy.yaml"
    path.write_text(content.replace(old, new, 1), encoding="utf-8")
    return path
