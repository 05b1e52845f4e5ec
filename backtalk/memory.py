"""The memory that this process may still take: the machine's, or less where its container has a limit.

free_bytes()                                  what can be had now without pushing anything out
serving_bytes(path, context=8192, live=8)     what a model takes while it answers: weights, caches, workspace
cells(tokens=8192)                            tokens that a cache for so many is laid out for
"""

from pathlib import Path
from typing import Any

from backtalk.gguf_check import head

MEMORY = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
CACHE_BYTES = 2  # of one number in the cache, F16
SLICE_TOKENS = 128  # of a prompt: their logits, or what each head gives each of them of the context, at once
WORK_BYTES = 64 * 2**20  # everything of the engine that does not grow with the model
CELLS = 256  # llama.cpp computes attention over whole multiples of these


def free_bytes() -> int | None:
    """None where the system does not tell."""
    known = [free for free in (_of_machine(), _of_container()) if free is not None]
    return min(known, default=None)


def serving_bytes(path: Path, context: int, live: int = 1) -> int:
    """Of `live` conversations of so many tokens each, from the head of a GGUF; a little too high rather than
    too low. Raises ModelError.
    """
    values = head(path)
    known = {key.partition(".")[2]: value for key, value in values.items()}
    tokens = min(context, _whole(known.get("context_length")) or context)
    heads = max(1, _whole(known.get("attention.head_count")))
    width = _whole(known.get("embedding_length"))
    of_a_head = _whole(known.get("attention.key_length")) or width // heads
    narrow = _whole(known.get("attention.head_count_kv")) or heads
    cache = 2 * CACHE_BYTES * live * cells(tokens) * _whole(known.get("block_count")) * narrow * of_a_head
    vocabulary = getattr(values.get("tokenizer.ggml.tokens"), "length", 0)
    work = 4 * SLICE_TOKENS * (max(vocabulary, heads * cells(tokens)) + 8 * width) + WORK_BYTES
    return path.stat().st_size + cache + work


def cells(tokens: int) -> int:
    """The next odd multiple of CELLS.

    Each number of a value lies in a row as long as the cache; rows of 4,096 tokens, 8 KiB each, all fall on
    the same lines of the processor's cache and push each other out.
    """
    return CELLS * (-(-tokens // CELLS) | 1)


def _of_machine() -> int | None:
    try:
        lines = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None


def _of_container() -> int | None:
    """What is left below the container's limit; file pages count as free, since they can be had."""
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        used = int((CGROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    if limit == "max":
        return None
    return max(0, int(limit) - used + int(stat.get("inactive_file", 0)) + int(stat.get("active_file", 0)))


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0
