"""What this machine computes with: device, number types, memory; each choice with its reason in words."""

import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from backtalk.engine.machine import usable_cores
from backtalk.errors import WordsError
from backtalk.memory import free_bytes

STATUS = Path("/proc/self/status")
UNTOLD = 2**62  # bytes of memory, where nobody knows
HOLD_NARROW_FROM = 2**28  # numbers: a model of 1 GiB in float32; below it, widening costs more than it saves
SMALL = 2**31  # multiplications of a batch on its way through: a second thread takes more than it brings

Kind = Literal["cpu", "cuda", "mps"]


@dataclass(frozen=True)
class Numbers:
    """In which type is computed, in which the frozen weights are held, and why."""

    compute: torch.dtype
    hold: torch.dtype
    why: str

    @property
    def widened(self) -> bool:
        """True where frozen weights are held narrower than what is computed in."""
        return self.compute == torch.float32 and self.hold == torch.bfloat16


def device() -> Kind:
    """Where is computed."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def has_fast_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself; elsewhere it takes up to a hundred times as long."""
    instructions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in instructions)


def numbers(wanted: str, kind: Kind, stored: str, values: int) -> Numbers:
    """The types of a run. `wanted` is the recipe's `precision`, `stored` the type in the base's files."""
    narrow = stored in ("bfloat16", "float16")
    if wanted == "auto":
        fast = has_fast_bfloat16() if kind == "cpu" else kind == "cuda" and torch.cuda.is_bf16_supported()
        wanted = "bfloat16" if fast else "float32"
        why = "this machine is fast at it" if fast else "this machine is slow at bfloat16"
    else:
        why = "the recipe says so"
    if wanted == "float16":
        if kind != "cuda":
            raise WordsError(f"precision is float16, which needs CUDA; this machine has {kind}. Use auto.")
        return Numbers(torch.float16, torch.float16, why)
    if wanted == "bfloat16":
        return Numbers(torch.bfloat16, torch.bfloat16, why)
    if kind == "cpu" and stored == "bfloat16" and values >= HOLD_NARROW_FROM:
        why += "; weights stay in the bfloat16 of their files and are widened when used"
        return Numbers(torch.float32, torch.bfloat16, why)
    return Numbers(torch.float32, torch.float32, why + (", weights widened once" if narrow else ""))


def free_memory(kind: Kind) -> int:
    """Bytes that could still be taken on the device; UNTOLD where the system does not tell."""
    if kind == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    free = free_bytes()
    return UNTOLD if free is None else free


def is_tight(kind: Kind, values: int) -> bool:
    """Whether a base of so many values is so large, for a processor, that memory is saved where it can be."""
    return kind == "cpu" and values >= HOLD_NARROW_FROM


def peak_memory(kind: Kind) -> int:
    """The most bytes that this process has held at once on the device."""
    if kind == "cuda":
        return int(torch.cuda.max_memory_allocated())
    for line in _lines(STATUS):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def gigabytes(size: float) -> str:
    """A size as a person reads it."""
    return f"{size / 2**30:.1f} GiB"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def is_small(values: int, tokens: float) -> bool:
    """Whether one thread is best for batches of so many tokens, to a base of so many values."""
    return values * tokens < SMALL


def limit_threads(small: bool) -> None:
    """One thread for what is small, else as many as cores may be used: more of them wait for each other."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1 if small else usable_cores())
