"""The bundled model, loaded once for the tests that need a real one."""

from collections.abc import Iterator

import pytest

from backtalk.engine import Engine, load
from backtalk.models import resolve


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    engine = load(resolve("mini"))
    yield engine
    engine.close()
