"""What people ask of an experiment, in files that may be cut short at any byte.

Command: python -m pytest tests/training/experiment/test_control.py
Promise: a request whose line was cut short counts as not done, and is done once; whoever only looks changes
nothing.
"""

from pathlib import Path

from training.experiment.control import HISTORY, Request, ask, done, history, waiting


def test_a_line_that_was_cut_short_counts_for_nothing_and_is_mended_by_who_writes(tmp_path: Path) -> None:
    first = ask(tmp_path, Request("stop", "c1"), "ana")
    second = ask(tmp_path, Request("clone", "c2", {"lora.r": 8}, warm=True), "ben")
    done(tmp_path, first, 4)
    done(tmp_path, second, 8, made="c9", warm=8)
    whole = (tmp_path / HISTORY).read_bytes()
    for cut in range(whole.index(b"\n") + 1, len(whole)):
        (tmp_path / HISTORY).write_bytes(whole[:cut])
        assert [one.request for one in history(tmp_path)] == [first]
        assert waiting(tmp_path) == [second]
        assert (tmp_path / HISTORY).read_bytes() == whole[:cut]
    done(tmp_path, second, 8, made="c9", warm=8)
    assert [(one.request, one.made) for one in history(tmp_path)] == [(first, ""), (second, "c9")]
    assert waiting(tmp_path) == []
