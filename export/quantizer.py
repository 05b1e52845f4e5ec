"""The process in which llama.cpp quantizes. It may abort there; the caller gets a sentence instead.

`ask` starts it with one order as JSON (see `_look` and `_quantize`) and reads JSON lines: where it stands,
then the answer. It ends when its stdin closes, so nothing goes on writing once the caller is gone, however
it went.
"""

import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

from backtalk.errors import ModelError

SLAB_BYTES = 256 * 2**20
"""Rows of a tensor that are in memory at once; llama.cpp's own 8 GiB hold the largest embedding whole."""

PLACE = re.compile(r"^\[ *(\d+)/ *(\d+)\] (\S+)")
TENSOR = re.compile(
    r"^\[ *\d+/ *\d+\] (?P<name>\S+) +- \[(?P<shape>[\d, ]+)\], type = +(?P<kind>\w+), "
    r"size = [^(\n]*(?:\((?P<target>\w+)\))?$",
    re.MULTILINE,
)
FALLBACK = re.compile(
    r"^warning: (?P<name>\S+) +- ncols +(?P<columns>\d+) not divisible by +(?P<block>\d+) "
    r"\(required for type +(?P<wanted>\w+)\).*-> falling back to +(?P<taken>\w+)$",
    re.MULTILINE,
)
REASON = re.compile(r"failed to quantize: (.+)")
ABORT = re.compile(r"GGML_ASSERT\(.+\) failed|GGML_ABORT.*|fatal error.*")

Order = Mapping[str, Any]


def ask(order: Order, report: Callable[[int, int, str], None] = lambda *_: None) -> dict[str, Any]:
    """The answer to one order; `report` gets the tensor's number, their count and its name.

    Raises ModelError with what llama.cpp said when it fails or aborts.
    """
    answer: dict[str, Any] = {}
    with _process(order) as (lines, reason):
        for line in lines:
            answer = json.loads(line)
            if "place" in answer:
                report(*answer["place"])
        if "done" not in answer:
            raise ModelError(
                f"llama.cpp could not quantize {order['source']} ({answer.get('failed') or reason()}). "
                "Convert the model again; if it stays, choose another type."
            )
    return answer["done"]


@contextlib.contextmanager
def _process(order: Order) -> Iterator[tuple[IO[str], Callable[[], str]]]:
    """Its answers line by line, and what to call for its last words. It is ended with the block."""
    # A backtrace would start a debugger where one is installed.
    environment = {**os.environ, "GGML_NO_BACKTRACE": "1"}
    command = [sys.executable, "-m", "export.quantizer", json.dumps(order)]
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            env=environment,
        ) as process,
    ):

        def last_words() -> str:
            code = process.wait()
            complaints.seek(0)
            said = complaints.read().decode(errors="replace").strip()
            found = ABORT.search(said)
            return found[0] if found else said.splitlines()[-1] if said else f"it ended with code {code}"

        try:
            assert process.stdout
            yield process.stdout, last_words
        finally:
            process.kill()


# ---- inside the process


def main(argv: list[str]) -> int:
    """Carries out one order and prints the answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the caller, which ends this process
    threading.Thread(target=_end_with_caller, daemon=True).start()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever C prints is no answer

    def say(**answer: Any) -> None:
        print(json.dumps(answer), file=answers)

    order = json.loads(argv[0])
    try:
        say(done=_look(order) if "types" in order else _quantize(order, say))
        return 0
    except ModelError as fault:
        say(failed=str(fault))
        return fault.exit_code


def _end_with_caller() -> None:
    os.read(0, 1)  # nothing is ever sent: this returns when the other end closes
    os._exit(1)


def _look(order: Order) -> dict[str, Any]:
    """What each type would make of `source`, without doing it.

    Order: source, types {name: number}, notes {key: text}, matrix ("" or a path), there (files found at the
    names of results). Answer: header_bytes, types {name: {tensors, fallbacks, needs_matrix}}, and found: what
    the files that are there say under the keys of `notes`.
    """
    looks = {}
    for name, number in order["types"].items():
        log = _run(order, number, dry=True)
        looks[name] = {
            "tensors": [found.groupdict() for found in TENSOR.finditer(log)],
            "fallbacks": [found.groupdict() for found in FALLBACK.finditer(log)],
            "needs_matrix": "will require an imatrix" in log,
        }
    return {"header_bytes": _header_bytes(order), "types": looks, "found": _found_notes(order)}


def _quantize(order: Order, say: Callable[..., None]) -> dict[str, Any]:
    """Makes one file. Order: source, part, type (its number), notes, matrix, threads. The answer is empty."""
    _run(order, order["type"], dry=False, say=say)
    return {}


def _run(order: Order, number: int, *, dry: bool, say: Callable[..., None] = lambda **_: None) -> str:
    """Calls the C function and returns its log. Raises ModelError when it says no."""
    import llama_cpp

    log: list[str] = []

    @llama_cpp.llama_log_callback
    def listen(_level: int, text: bytes, _data: Any) -> None:
        log.append(text.decode(errors="replace"))
        if place := PLACE.match(log[-1]):
            say(place=[int(place[1]), int(place[2]), place[3]])

    llama_cpp.llama_backend_init()
    llama_cpp.llama_log_set(listen, None)
    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype, settings.dry_run = number, dry
    settings.nthread, settings.max_buf_size = order.get("threads", 1), SLAB_BYTES
    notes, matrix = _overrides(order["notes"]), _matrix(order["matrix"])
    settings.kv_overrides = ctypes.cast(notes, type(settings.kv_overrides))
    if matrix:
        settings.imatrix = ctypes.cast(matrix, type(settings.imatrix))
    source, part = os.fsencode(order["source"]), os.fsencode(order.get("part", os.devnull))
    code = llama_cpp.llama_model_quantize(source, part, ctypes.byref(settings))
    llama_cpp.llama_log_set(llama_cpp.llama_log_callback(), None)
    said = "".join(log)
    if code:
        reason = REASON.search(said)
        raise ModelError(reason[1] if reason else f"it answered {code}")
    return said


def _overrides(notes: Mapping[str, str]) -> Any:
    """Texts for the metadata, as the C array whose last key is empty."""
    import llama_cpp

    array = (llama_cpp.llama_model_kv_override * (len(notes) + 1))()
    for entry, (key, text) in zip(array, sorted(notes.items()), strict=False):
        entry.tag, entry.key = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_STR, key.encode()
        entry.value.val_str = text.encode()
    return array


def _matrix(path: str) -> Any:
    """The importance matrix as the C array whose last name is NULL; None without a path."""
    if not path:
        return None
    from pathlib import Path

    import llama_cpp

    from export.imatrix import read_imatrix

    values = read_imatrix(Path(path)).values
    array = (llama_cpp.llama_model_imatrix_data * (len(values) + 1))()
    for entry, (name, importance) in zip(array, values.items(), strict=False):
        numbers = (ctypes.c_float * importance.size)(*importance.ravel().tolist())
        entry.name, entry.size = name.encode(), importance.size
        entry.data = ctypes.cast(numbers, ctypes.POINTER(ctypes.c_float))  # keeps `numbers` alive
    return array


# ---- headers, by llama.cpp's own reader: gguf's takes seconds for a vocabulary of 128,256


class _Reading(ctypes.Structure):
    _fields_ = [("no_alloc", ctypes.c_bool), ("context", ctypes.c_void_p)]


def _functions() -> Any:
    """The C library with the types of the functions of gguf.h that are called here."""
    from llama_cpp import llama_cpp

    library = llama_cpp._lib
    for name, result, *arguments in (
        ("init_from_file", ctypes.c_void_p, ctypes.c_char_p, _Reading),
        ("set_val_str", None, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p),
        ("set_val_u32", None, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32),
        ("get_meta_size", ctypes.c_size_t, ctypes.c_void_p),
        ("find_key", ctypes.c_int64, ctypes.c_void_p, ctypes.c_char_p),
        ("get_kv_type", ctypes.c_int, ctypes.c_void_p, ctypes.c_int64),
        ("get_val_str", ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int64),
        ("free", None, ctypes.c_void_p),
    ):
        function = getattr(library, f"gguf_{name}")
        function.restype, function.argtypes = result, arguments
    return library


@contextlib.contextmanager
def _header(path: str) -> Iterator[tuple[Any, Any]]:
    """The C library and a handle of a file's header; the handle is None where it cannot be read."""
    library = _functions()
    handle = library.gguf_init_from_file(os.fsencode(path), _Reading(no_alloc=True))
    try:
        yield library, handle
    finally:
        if handle:
            library.gguf_free(handle)


def _header_bytes(order: Order) -> int:
    """The size of the header that the quantizer will write: the source's with what it sets."""
    with _header(order["source"]) as (library, handle):
        for key, text in order["notes"].items():
            library.gguf_set_val_str(handle, key.encode(), text.encode())
        for key in (b"general.file_type", b"general.quantization_version"):
            library.gguf_set_val_u32(handle, key, 0)
        return library.gguf_get_meta_size(handle)


def _found_notes(order: Order) -> dict[str, dict[str, str]]:
    """The notes in files that are there already."""
    string = 8  # GGUF_TYPE_STRING
    found: dict[str, dict[str, str]] = {}
    for path in order["there"]:
        with _header(path) as (library, handle):
            places = (
                {key: library.gguf_find_key(handle, key.encode()) for key in order["notes"]} if handle else {}
            )
            found[path] = {
                key: library.gguf_get_val_str(handle, place).decode(errors="replace")
                for key, place in places.items()
                if place >= 0 and library.gguf_get_kv_type(handle, place) == string
            }
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
