"""Progress: a live line for a person, a few plain lines for a log."""

import io

import pytest

from backtalk.progress import CLEAR_LINE, SECONDS_BETWEEN_LINES, Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_terminal_shows_one_line_that_is_written_over() -> None:
    terminal = Terminal()
    progress = Progress(terminal)
    progress.report("step 1")
    progress.report("step 2")
    progress.done("2 steps")
    assert terminal.getvalue() == f"{CLEAR_LINE}step 1{CLEAR_LINE}step 2{CLEAR_LINE}2 steps\n"


def test_a_long_report_stays_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    terminal = Terminal()
    Progress(terminal).report("x" * 100)
    assert terminal.getvalue() == CLEAR_LINE + "x" * 19


def test_a_log_gets_the_first_report_and_then_one_every_few_seconds() -> None:
    log, clock = io.StringIO(), Clock()
    progress = Progress(log, clock)
    for step in range(4):
        progress.report(f"step {step}")
        clock.now += SECONDS_BETWEEN_LINES / 2
    assert log.getvalue() == "step 0\nstep 2\n"


def test_the_end_is_always_said() -> None:
    log = io.StringIO()
    progress = Progress(log)
    progress.report("step 1")
    progress.done("2 steps")
    assert log.getvalue() == "step 1\n2 steps\n"
