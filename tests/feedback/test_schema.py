"""The schema: what goes in comes out, the order of arrival does not matter, nothing malformed gets in."""

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
from feedback.saving import Choice, FlaggedMessage, draft
from feedback.schema import (
    FlagEvent,
    FlagReason,
    fold,
    follow,
    from_row,
    says_the_same,
    to_row,
    validate,
)
from feedback.taxonomy import taxonomy

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
SOME = settings(max_examples=25, deadline=None)


def saved(message: FlaggedMessage, choice: Choice, last: FlagEvent | None = None) -> FlagEvent:
    """The event that the outbox would store."""
    return follow(masked_event(draft(message, choice)), last)


@st.composite
def events(draw: st.DrawFn) -> FlagEvent:
    """Valid events of a handful of flags, at any revision."""
    contributor = schema.Contributor(schema.pseudonym(b"a secret for tests", draw(st.sampled_from("ab"))))
    place = draw(st.sampled_from(["m1", "m2"]))
    event = FlagEvent(
        event_id=schema.new_event_id(),
        flag_id=schema.flag_id(contributor.pseudonym, place),
        revision=draw(st.integers(0, 5)),
        created_at=draw(st.sampled_from(["2026-11-20T10:00:00.000Z", "2026-11-20T11:00:00.000Z"])),
        contributor=contributor,
        conversation_id="c1",
        message_id=place,
    )
    if draw(st.integers(0, 4)) == 0:
        return follow(replace(event, op="retract", revision=max(1, event.revision)), None)
    verdict = draw(st.sampled_from(schema.VERDICTS))
    reasons = draw(st.lists(st.sampled_from(taxonomy().offered(verdict)), max_size=4, unique=True))
    chosen = tuple(FlagReason(reason.id, reason.direction) for reason in reasons if not reason.needs_comment)
    floats = st.floats(0, 100, allow_nan=False)
    return follow(
        replace(
            event,
            verdict=verdict,
            reasons=chosen,
            severity=draw(st.sampled_from(schema.SEVERITIES)),
            comment=draw(TEXTS),
            answer=schema.Answer(draw(TEXTS), "stop", draw(st.integers(0, 999)), first_token_ms=draw(floats)),
            shown=schema.Shown((schema.Message("q1", "user", draw(TEXTS)),), draw(st.integers(0, 9))),
            sampling=schema.Sampling(draw(floats), seed=draw(st.integers(-1, 2**32))),
            extras=schema.Extras(draw(st.integers(0, 5)), draw(TEXTS), (schema.Span(1, 2, draw(TEXTS)),)),
        ),
        None,
    )


@SOME
@given(events())
def test_an_event_survives_its_row(event: FlagEvent) -> None:
    line = canonical_json(to_row(event))
    assert from_row(line) == event
    assert canonical_json(to_row(from_row(line))) == line


@SOME
@given(st.lists(events(), max_size=8), st.randoms())
def test_the_order_of_arrival_does_not_change_the_state(arrived: list[FlagEvent], chance: Any) -> None:
    shuffled = arrived[:]
    chance.shuffle(shuffled)
    assert list(fold(shuffled).items()) == list(fold(arrived).items())
    assert fold([*shuffled, *arrived]) == fold(arrived)


@SOME
@given(st.lists(events(), max_size=8))
def test_the_highest_revision_stands(arrived: list[FlagEvent]) -> None:
    for name, state in fold(arrived).items():
        assert state.revision == max(event.revision for event in arrived if event.flag_id == name)


def test_a_retraction_removes_the_flag_until_a_new_vote(message: FlaggedMessage) -> None:
    vote = saved(message, Choice("bad", comment="No."))
    withdrawn = saved(message, Choice(retract=True), vote)
    again = saved(message, Choice("good"), withdrawn)
    assert fold([withdrawn, vote]) == {}
    assert fold([again, withdrawn, vote]) == {vote.flag_id: again}
    assert [event.op for event in (vote, withdrawn, again)] == ["create", "retract", "create"]


def test_a_retraction_wins_over_a_vote_of_the_same_revision(message: FlaggedMessage) -> None:
    vote = saved(message, Choice("bad"))
    here, there = saved(message, Choice("good"), vote), saved(message, Choice(retract=True), vote)
    assert here.revision == there.revision
    assert fold([vote, there, here]) == fold([here, vote, there]) == {}


def test_a_retraction_keeps_no_text(message: FlaggedMessage) -> None:
    vote = saved(message, Choice("bad", comment="No.", correction="45 days."))
    row = json.dumps(to_row(saved(message, Choice(retract=True), vote)))
    for text in (vote.comment, vote.correction.text, vote.answer.text, vote.sent.system_prompt):
        assert text and text not in row


def test_a_flag_that_never_was_cannot_be_withdrawn(message: FlaggedMessage) -> None:
    with pytest.raises(FlagError, match="nothing to withdraw"):
        saved(message, Choice(retract=True))


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
    assert [name[:13] for name in ids] == sorted(name[:13] for name in ids)


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
    """Eight hundred rows, each broken in up to three places: replaced, missing, surplus, moved."""
    chance = random.Random(7)
    valid = to_row(saved(message, Choice("bad", reasons=("harmful",), hazards=("S1",), comment="No.")))
    for _ in range(800):
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
        b"x" * 4_000_001,
    ):
        with pytest.raises(FlagError, match="nothing of it was stored"):
            from_row(line)
    for row in WRONG:
        if not isinstance(row, dict) or row:
            with pytest.raises(FlagError):
                from_row(row)


def test_repeats_are_told_apart_from_changes(message: FlaggedMessage) -> None:
    once = saved(message, Choice("bad", comment="No."))
    twice = saved(message, Choice("bad", comment="No."), once)
    assert says_the_same(once, twice)
    assert not says_the_same(once, saved(message, Choice("bad", comment="Yes."), once))


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
