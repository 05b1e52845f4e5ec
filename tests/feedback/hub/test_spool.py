"""Rows kept aside: in order, whole, under no name, and never all of them in memory."""

import gzip
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from backtalk.errors import BacktalkError
from backtalk.files import canonical_json
from feedback.hub.spool import AT_ONCE, Spool


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "aside") as spool:
        yield spool


def line(event_id: str, text: str = "") -> bytes:
    row = {"event_id": event_id, "flag_id": f"f-{event_id}", "op": "create", "revision": 1}
    return canonical_json({**row, "created_at": "2026-11-20T10:00:00.000Z", "comment": text}) + b"\n"


def test_rows_come_by_event_id_whatever_the_file_has_first(spool: Spool) -> None:
    spool.keep("x.jsonl", line("b") + line("c") + line("a"))
    assert [row.line for row in spool.rows("x.jsonl")] == [line("a"), line("b"), line("c")]


def test_a_row_longer_than_what_is_read_at_once_stays_whole(spool: Spool) -> None:
    rows = [line("a", "x" * (3 * AT_ONCE + 1)), line("b", "y" * (AT_ONCE - 1)), line("c")]
    spool.keep("x.jsonl.gz", gzip.compress(b"".join(rows)))
    assert [row.line for row in spool.rows("x.jsonl.gz")] == rows


def test_a_last_line_without_an_end_does_not_run_into_the_next_file(spool: Spool) -> None:
    spool.keep("x.jsonl", line("a").rstrip())
    spool.keep("empty.jsonl", b"")
    spool.keep("y.jsonl", line("b"))
    assert [[row.line for row in spool.rows(path)] for path in spool.paths] == [[line("a")], [], [line("b")]]


def test_files_are_merged_by_event_id_and_equal_ids_in_the_order_asked_for(spool: Spool) -> None:
    spool.keep("x.jsonl", line("a") + line("c", "of x"))
    spool.keep("y.jsonl", line("b") + line("c", "of y"))
    found = [(path, row.event_id) for path, row in spool.merged(["y.jsonl", "x.jsonl"])]
    assert found == [("x.jsonl", "a"), ("y.jsonl", "b"), ("y.jsonl", "c"), ("x.jsonl", "c")]


@pytest.mark.parametrize("broken", [b"not json\n", b"[]\n", b"{}\n", b'{"event_id":"a"}\n', b"\n"])
def test_a_line_that_is_no_flag_event_is_named_by_its_file(spool: Spool, broken: bytes) -> None:
    with pytest.raises(BacktalkError, match=r"x\.jsonl holds a line that is no flag event"):
        spool.keep("x.jsonl", line("a") + broken)


def test_nothing_of_it_has_a_name_and_closing_gives_it_back(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.keep("x.jsonl", line("a", "a secret"))
        shard = spool.new_file()
        shard.write(b"a secret")
        assert os.listdir(tmp_path) == []
    assert shard.closed and os.listdir(tmp_path) == []


def test_merging_holds_a_part_of_the_rows_in_memory(spool: Spool) -> None:
    size = 0
    for file in range(8):
        content = b"".join(line(f"{number:05}-{file}", "x" * 2_000) for number in range(250))
        spool.keep(f"{file}.jsonl", content)
        size += len(content)
    tracemalloc.start()
    try:
        count = sum(1 for _ in spool.merged(spool.paths))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 2_000 and most < size / 4
