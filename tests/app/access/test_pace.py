"""Nobody asks more often than is allowed, and nobody waits for what others did.

Command: pytest tests/app/access/test_pace.py
Promise: the limit holds for each alone, within any minute.
"""

from app.access.pace import MINUTE_SECONDS, Pace


def test_one_too_many_is_refused_until_the_minute_is_over() -> None:
    now = [0.0]
    pace = Pace(3, clock=lambda: now[0])
    assert [pace.admits("a") for _ in range(5)] == [True, True, True, False, False]
    assert pace.admits("b")
    now[0] = MINUTE_SECONDS
    assert pace.admits("a")


def test_a_minute_slides() -> None:
    now = [0.0]
    pace = Pace(2, clock=lambda: now[0])
    assert pace.admits("a")
    now[0] = 40.0
    assert pace.admits("a")
    now[0] = 61.0
    assert pace.admits("a") and not pace.admits("a")
