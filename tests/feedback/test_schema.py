"""The schema: what goes in comes out, and nothing malformed gets in."""

import json
import random
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtalk.errors import FlagError
from backtalk.files import canonical_json
from feedback import schema
from feedback.redact import masked_event
from feedback.revisions import follow
from feedback.schema import FlagEvent, FlagReason, from_row, to_row, validate
from feedback.store.saving import Choice, FlaggedMessage, draft

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)


def saved(message: FlaggedMessage, choice: Choice) -> FlagEvent:
    """The event that the outbox would store."""
    return follow(masked_event(draft(message, choice)), None)


@settings(max_examples=60, deadline=None)
@given(TEXTS, TEXTS, st.floats(0, 1e9), st.integers(0, 2**40), st.sampled_from(schema.SEVERITIES))
def test_an_event_survives_its_row(
    answer: str, comment: str, number: float, count: int, severity: str
) -> None:
    contributor = schema.Contributor(schema.pseudonym(b"a secret for tests", comment))
    event = follow(
        FlagEvent(
            event_id=schema.new_event_id(),
            flag_id=schema.flag_id(contributor.pseudonym, "m1"),
            created_at=schema.now(),
            contributor=contributor,
            conversation_id="c1",
            message_id="m1",
            verdict="bad",
            severity=severity,
            comment=comment,
            answer=schema.Answer(answer, "stop", count, first_token_ms=number),
            shown=schema.Shown((schema.Message("q1", "user", comment),), count),
            sampling=schema.Sampling(number, seed=-count),
            extras=schema.Extras(5, answer, (schema.Span(1, 2, comment),)),
        ),
        None,
    )
    line = canonical_json(to_row(event))
    assert from_row(line) == event
    assert canonical_json(to_row(from_row(line))) == line


def test_one_contributor_has_one_flag_on_a_message(message: FlaggedMessage) -> None:
    again, elsewhere = replace(message, conversation_id="c2"), replace(message, message_id="m9")
    first = saved(message, Choice("bad"))
    assert saved(again, Choice("good")).flag_id == first.flag_id
    assert saved(elsewhere, Choice("bad")).flag_id != first.flag_id


def test_a_pseudonym_needs_the_secret() -> None:
    name = schema.pseudonym(b"one secret of 16", "visitor")
    assert name == schema.pseudonym(b"one secret of 16", "visitor")
    assert name != schema.pseudonym(b"two secret of 16", "visitor")
    assert "visitor" not in name and len(name) == 32


def test_event_ids_are_unique_and_sorted_by_time() -> None:
    ids = [schema.new_event_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(name[14] == "7" and name[19] in "89ab" for name in ids)
    assert ids == sorted(ids), "also of those within one millisecond"


def test_no_value_is_null_and_every_text_is_bounded(message: FlaggedMessage) -> None:
    assert b"null" not in canonical_json(to_row(saved(message, Choice(verdict="bad"))))

    def check(record: Any) -> None:
        for part in fields(record):
            value = getattr(record, part.name)
            if is_dataclass(value):
                check(value)
            elif isinstance(value, str):
                assert part.metadata["limit"] <= schema.MOST_SHOWN, part.name
            elif isinstance(value, tuple):
                assert part.metadata["items"] <= 2_000, part.name

    check(FlagEvent())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"reasons": (FlagReason("clear", "good"),)}, "contradicts the verdict bad"),
        ({"reasons": (FlagReason("clear", "bad"),)}, "wanted good"),
        ({"reasons": (FlagReason("dull", "bad"),)}, "no reason 'dull'"),
        ({"reasons": (FlagReason("slow", "system"),) * 2}, "twice"),
        ({"reasons": tuple(FlagReason(n, "bad") for n in "abcde")}, "5 items .at most 4"),
        ({"reasons": (FlagReason("other", "meta"),)}, "needs a comment"),
        ({"hazards": ("S1",)}, "hazard S1 belongs to no chosen reason"),
        ({"verdict": "awful"}, "verdict is 'awful' .wanted empty, good, bad, mixed"),
        ({"verdict": ""}, "verdict is empty"),
        ({"severity": "grave"}, "severity is 'grave'"),
        ({"comment": "x" * 4_001}, "comment has 4001 characters .at most 4000"),
        ({"comment": None}, "comment is null .wanted text"),
        ({"comment": "a\0b"}, "comment holds a null byte"),
        ({"comment": "\ud800"}, "comment holds a null byte or half a character"),
        ({"message_id": "m 4"}, "message_id is 'm 4'"),
        ({"message_id": "m5"}, "flag_id does not follow"),
        ({"turn_index": -1}, "turn_index is out of range"),
        ({"turn_index": True}, "turn_index is true or false .wanted a whole number"),
        ({"op": "undo"}, "op is 'undo'"),
        ({"op": "retract"}, "a retraction carries"),
        ({"revision": 0}, "revision is 0"),
        ({"format": "flag/2"}, "format is 'flag/2'"),
        ({"sampling": schema.Sampling(temperature=float("nan"))}, "sampling.temperature is out of range"),
        ({"consent": schema.Consent(scope="all")}, "consent.scope is 'all'"),
        ({"created_at": ""}, "created_at is empty"),
    ],
)
def test_what_breaks_the_schema_is_refused_with_a_reason(
    message: FlaggedMessage, change: dict[str, Any], told: str
) -> None:
    event = saved(message, Choice("bad"))
    with pytest.raises(FlagError, match=told) as refusal:
        validate(replace(event, **change))
    assert str(refusal.value).count("\n") == 0 and len(str(refusal.value)) < 600


def test_a_changed_text_no_longer_has_its_hash(message: FlaggedMessage) -> None:
    row = to_row(saved(message, Choice("bad")))
    row["answer"]["text"] += "!"
    with pytest.raises(FlagError, match="content_hash"):
        from_row(row)


WRONG: list[Any] = [
    *(
        None,
        True,
        -1,
        0,
        1e308,
        float("nan"),
        float("inf"),
        10**5000,
        "",
        "x" * 5_000_000,
        "\0",
        "\udfff",
        "{",
    ),
    *([], [None], [[]] * 3000, {}, {"a": 1}, {1: 2}, b"bytes", object(), ("a",), 2**70, "DROP TABLE events"),
]


def test_malformed_rows_are_refused_and_never_raise_anything_else(message: FlaggedMessage) -> None:
    """Ten thousand rows, each broken in up to three places: replaced, missing, surplus, moved."""
    chance = random.Random(7)
    valid = to_row(saved(message, Choice("bad", reasons=("harmful",), hazards=("S1",), comment="No.")))
    for _ in range(10_000):
        row = json.loads(json.dumps(valid))
        for _ in range(chance.randint(1, 3)):
            _break(row, chance)
        if row == valid:
            continue
        with pytest.raises(FlagError, match="nothing of it was stored"):
            from_row(row)


def test_what_is_not_a_row_at_all_is_refused() -> None:
    for line in (
        "",
        "null",
        "[]",
        "7",
        '"x"',
        "{",
        "[" * 100_000,
        b"\xff\xfe",
        "NaN",
        '{"a": NaN}',
        b"x" * 8_000_001,
    ):
        with pytest.raises(FlagError, match="nothing of it was stored"):
            from_row(line)
    for row in WRONG:
        if not isinstance(row, dict) or row:
            with pytest.raises(FlagError):
                from_row(row)


def _break(row: dict[str, Any], chance: random.Random) -> None:
    place: Any = row
    while True:
        key = chance.choice(sorted(place)) if isinstance(place, dict) else chance.randrange(len(place))
        if not place[key] or not isinstance(place[key], dict | list) or chance.random() < 0.3:
            break
        place = place[key]
    move = chance.randrange(4)
    if move == 0 and isinstance(place, dict):
        del place[key]
        if not place:
            place["nothing"] = ""
    elif move == 1 and isinstance(place, dict):
        place["surplus"] = place[key]
    elif move == 2:
        place[key] = [place[key]]
    else:
        place[key] = chance.choice(
            [wrong for wrong in WRONG if wrong != place[key] or wrong is not place[key]]
        )
