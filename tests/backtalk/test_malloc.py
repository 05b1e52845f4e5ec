"""Freed memory: how many pools glibc keeps of it.

Command: pytest tests/backtalk/test_malloc.py
Promise: real threads in a process of their own, glibc's own report.
"""

import ctypes
import re
import subprocess
import sys

import pytest

POOLS = """
import ctypes, sys, threading
from backtalk.malloc import share_one_arena
if sys.argv[1] == "shared":
    share_one_arena()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.fopen.restype = ctypes.c_void_p, ctypes.c_void_p
together = threading.Barrier(6)
def allocate():
    together.wait()
    for _ in range(2000):
        libc.malloc(3000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
file = ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


def pools(how: str) -> int:
    said = subprocess.run([sys.executable, "-c", POOLS, how], capture_output=True, text=True, check=True)
    return len(re.findall(r"<heap nr=", said.stdout))


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="another C library than glibc")
def test_many_threads_share_one_pool_of_freed_memory() -> None:
    assert pools("shared") == 1
    assert pools("by itself") > 1, "glibc gives threads that allocate at once a pool each"
