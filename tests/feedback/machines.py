"""The two datasets of the tests, and machines that send to them; the fixtures are in conftest.py."""

from collections.abc import Callable

from feedback.hub.dataset import FLAGS, SAFETY
from feedback.store.outbox import Outbox

NAMES = {FLAGS: "somebody/flags", SAFETY: "somebody/safety"}

Machine = Callable[[str], Outbox]
