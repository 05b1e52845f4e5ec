"""What a training takes of this machine.

Command: python -m pytest tests/training/test_machine.py
Promise: a small base is taught with one thread, so that it comes out the same on every run; a larger one with
as many as there are cores, unless the environment says otherwise.
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


@pytest.mark.parametrize(("values", "threads"), [(5_000_000, 1), (124_000_000, 4)])
def test_small_bases_take_one_thread_and_larger_ones_all_cores(values: int, threads: int) -> None:
    machine.limit_threads(values)
    assert torch.get_num_threads() == threads


def test_the_environment_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(3)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    machine.limit_threads(5_000_000)
    assert torch.get_num_threads() == 3
