"""No stored text reads as a time: what `datasets` returns is what the outbox holds, dates and all."""

import io
import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pyarrow.json
import pytest

from backtalk.files import canonical_json
from feedback.columns import clean, spell_out_moments
from feedback.hub.sync import Sync
from feedback.schema import Answer, Consent, FlagEvent, Message, Model, to_row
from feedback.store.outbox import Outbox
from feedback.store.saving import Choice, FlaggedMessage, save_flag
from tests.hub.elsewhere import python
from tests.hub.server import Hub

pytest_plugins = ["tests.hub.local"]

DAYS = ("2024-05-01", "0001-01-01", "2024-13-40", "2024-5-1", "20240501", "2024-05")
TIMES = ("", "T10", " 10", "T10:00", " 10:00", "T10:00:00", " 10:00:00", "T1000", "T10:00:00.000", "_10:00")
ZONES = ("", "Z", "+02", "-0230", "+02:30", " Z", "+2")
SPELLINGS = ["".join(parts) for parts in product(DAYS, TIMES, ZONES)]
LOAD = (
    "import json, datasets\n"
    "for row in datasets.load_dataset('somebody/flags', split='train'): print(json.dumps(row))"
)


def read_as_times(texts: list[str]) -> list[str]:
    """Those that pyarrow makes a time of where they are all that a column holds."""
    row = {str(place): text for place, text in enumerate(texts)}
    schema = pyarrow.json.read_json(io.BytesIO(json.dumps(row).encode())).schema
    return [text for place, text in enumerate(texts) if schema.field(str(place)).type != "string"]


def in_a_text(written: str) -> str:
    return spell_out_moments(Message(content=written)).content


def in_a_name(written: str) -> str:
    return spell_out_moments(Consent(at=written)).at


def test_a_text_that_reads_as_a_time_is_spelled_so_that_it_does_not() -> None:
    guessed = read_as_times(SPELLINGS)
    assert len(guessed) > 50
    assert read_as_times([in_a_text(text) for text in guessed]) == []
    assert read_as_times([in_a_name(text) for text in guessed]) == []


def test_every_other_text_stays_as_it_is_and_nothing_changes_twice() -> None:
    for text in set(SPELLINGS) - set(read_as_times(SPELLINGS)):
        assert in_a_text(text) in (text, f"{text}\n")  # a day that no calendar has is treated as a day
    for text in SPELLINGS:
        assert in_a_text(in_a_text(text)) == in_a_text(text)
        assert in_a_name(in_a_name(text)) == in_a_name(text)
    assert clean("2024-05-01") == "2024-05-01"  # so masking sees what was written


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("2024-05-01T10:00:07Z", "2024-05-01T10:00:07.000Z"),
        ("2024-05-01T10:00+02:00", "2024-05-01T10:00:00.000+02:00"),
        ("2024-05-01T10", "2024-05-01T10:00:00.000"),
        ("2024-05-01", "2024-05-01."),
        ("2024-05-01T10:00:07.123Z", "2024-05-01T10:00:07.123Z"),
    ],
)
def test_a_time_among_the_names_stays_the_same_time(written: str, stored: str) -> None:
    assert in_a_name(written) == stored


def test_load_dataset_returns_dates_as_they_were_stored(
    outbox: Outbox, message: FlaggedMessage, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKTALK_FLAGS_DATASET", "somebody/flags")
    dated = replace(
        message,
        answer=Answer("2024-05-01", "stop", 5),
        shown=[Message("m3", "user", "2024-05-02 10:00")],
        model=Model(name="2024-05-03", revision="2024-05-04"),
        message_at="2024-05-05T10:00:00Z",
    )
    choice = Choice(
        "bad",
        ("outdated",),
        comment="2024-05-06",
        correction="2024-05-07",
        consent=Consent("2024-05-08", "flag+thread", True, "", "2024-05-09T10:00:00Z"),
        preview_shown=True,
    )
    event = save_flag(outbox, dated, choice).event
    assert event.answer.text == "2024-05-01\n" and event.correction.text == "2024-05-07\n"
    Sync(outbox).flush()
    [found] = map(json.loads, python(hub, LOAD, tmp_path).splitlines())
    assert canonical_json(found) == canonical_json(to_row(event))


def test_without_the_respelling_the_row_would_come_back_changed(message: FlaggedMessage) -> None:
    bare = to_row(FlagEvent(comment="2024-05-06"))
    table = pyarrow.json.read_json(io.BytesIO(canonical_json(bare)))
    assert table.schema.field("comment").type == "timestamp[s]"  # what datasets then casts to a text
