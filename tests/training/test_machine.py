"""What a training takes of this machine.

Command: python -m pytest tests/training/test_machine.py
Promise: small batches to a small base take one thread, larger ones as many as there are cores, unless the
environment says otherwise.
"""

from collections.abc import Iterator

import pytest
import torch

from training import machine


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    monkeypatch.setattr(machine, "usable_cores", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("values", "tokens", "threads"), [(5_000_000, 150, 1), (5_000_000, 1063, 4), (124_000_000, 150, 4)]
)
def test_small_batches_to_a_small_base_take_one_thread(values: int, tokens: int, threads: int) -> None:
    machine.limit_threads(machine.is_small(values, tokens))
    assert torch.get_num_threads() == threads


def test_the_environment_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(3)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    machine.limit_threads(small=True)
    assert torch.get_num_threads() == 3
