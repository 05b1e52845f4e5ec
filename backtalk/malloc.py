"""What becomes of freed memory where glibc allocates; other C libraries have no such settings.

share_one_arena()              threads share one pool of free memory
give_back_what_is_freed()      large blocks go back to the system at once
give_back_what_is_free()       garbage, and all pages in which nothing lies, now
keep_no_buffers()              what MKL multiplied in is freed after each multiplication
"""

import ctypes
import gc
import os
import sys

MMAP_THRESHOLD, ARENA_MAX = -3, -8  # glibc's numbers of these settings, malloc.h
GIVEN_BACK_FROM = 2**20  # bytes of a block


def share_one_arena() -> None:
    """Threads of Python run one at a time, and one pool serves them. glibc would keep up to eight for each
    core, each with gaps of its own, and a chat of many threads would grow for hours.
    """
    _set(ARENA_MAX, 1)


def give_back_what_is_freed() -> None:
    """By itself glibc soon keeps large blocks, and what stays lies between what was needed for a moment: the
    gaps grow with every step of a training, and with every swap of a chat's model. New blocks cost pages each
    time, which huge ones make cheap.
    """
    _set(MMAP_THRESHOLD, GIVEN_BACK_FROM)


def give_back_what_is_free() -> None:
    """For a pause: what was needed for a moment lies idle between what stays, and others may need it. To take
    the pages again costs less than a tenth of a second for 100 MB.
    """
    gc.collect()  # tensors in rings of references
    if arrow := sys.modules.get("pyarrow"):  # has an allocator of its own
        arrow.default_memory_pool().release_unused()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def keep_no_buffers() -> None:
    """MKL, which PyTorch computes with on many processors, keeps what it multiplied in for every thread that
    ever did: up to 17 MB for each trainer that waits in a thread of its own. Said before PyTorch is
    loaded, which reads it then.
    """
    os.environ.setdefault("MKL_DISABLE_FAST_MM", "1")


def _set(setting: int, value: int) -> None:
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(setting, value)
