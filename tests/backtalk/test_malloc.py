"""Freed memory: how many pools glibc keeps of it, and what goes back to the system.

Command: pytest tests/backtalk/test_malloc.py
Promise: processes of their own, and what glibc and the system tell of their memory.
"""

import ctypes
import os
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

KEPT = """
import ctypes, sys
from backtalk.malloc import give_back_what_is_freed
if sys.argv[1] == "given back":
    give_back_what_is_freed()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
for _ in range(3):
    large, small = [], []
    for _ in range(8):
        large.append(libc.malloc(4 << 20))
        small.append(libc.malloc(3000))
    for block in large:
        libc.free(block)
class Report(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", *"bcdefghij")]
libc.mallinfo2.restype = Report
print(libc.mallinfo2().arena)
"""

HOLES = """
import ctypes
from pathlib import Path
from backtalk.malloc import give_back_what_is_free
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
large, small = [], []
for _ in range(640):
    large.append(libc.malloc(100_000))  # below the size that glibc maps by itself
    ctypes.memset(large[-1], 1, 100_000)
    small.append(libc.malloc(3000))
for block in large:
    libc.free(block)
before = held()
give_back_what_is_free()
print(before - held())
"""

BUFFERS = """
import sys, threading
from pathlib import Path
from backtalk.malloc import give_back_what_is_free, keep_no_buffers, share_one_arena
share_one_arena()
if sys.argv[1] == "freed":
    keep_no_buffers()
import torch
torch.set_num_threads(1)
one, other = torch.ones(512, 256), torch.ones(256, 768)
multiplied, leave = threading.Semaphore(0), threading.Event()
def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
def work():
    one @ other
    multiplied.release()
    leave.wait()
one @ other  # loads what all share
before = held()
for _ in range(8):
    threading.Thread(target=work).start()
    multiplied.acquire()
give_back_what_is_free()
print(held() - before)
leave.set()
"""


def pools(how: str) -> int:
    said = subprocess.run([sys.executable, "-c", POOLS, how], capture_output=True, text=True, check=True)
    return len(re.findall(r"<heap nr=", said.stdout))


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="another C library than glibc")
def test_many_threads_share_one_pool_of_freed_memory() -> None:
    assert pools("shared") == 1
    assert pools("by itself") > 1, "glibc gives threads that allocate at once a pool each"


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="another C library than glibc")
def test_large_blocks_go_back_to_the_system_when_they_are_freed() -> None:
    assert bytes_kept("given back") < 16 * 2**20 < bytes_kept("by itself")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="another C library than glibc")
def test_free_pages_between_what_stays_go_back_when_they_are_asked_for() -> None:
    said = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    assert int(said.stdout) > 48 * 2**20


def bytes_kept(how: str) -> int:
    said = subprocess.run([sys.executable, "-c", KEPT, how], capture_output=True, text=True, check=True)
    return int(said.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="its memory is told elsewhere")
def test_threads_that_multiplied_and_wait_hold_nothing_for_it() -> None:
    from torch.backends import mkl

    if not mkl.is_available():
        pytest.skip("this PyTorch multiplies without MKL")
    assert buffers("freed") < buffers("by itself") / 2


def test_an_experiment_says_so_before_pytorch_is_loaded() -> None:
    asked = """
import sys
from training.experiment import run
run.keep_no_buffers = lambda: sys.exit("loaded" if "torch" in sys.modules else 0)
run.main(["recipe.yaml"])
"""
    assert subprocess.run([sys.executable, "-c", asked]).returncode == 0


def buffers(how: str) -> int:
    """Bytes that eight threads hold after a multiplication."""
    by_itself = {name: value for name, value in os.environ.items() if name != "MKL_DISABLE_FAST_MM"}
    words = [sys.executable, "-c", BUFFERS, how]
    said = subprocess.run(words, capture_output=True, text=True, check=True, env=by_itself)
    return int(said.stdout)
