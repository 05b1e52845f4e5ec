"""Files that were cut short or changed on their way: refused with a sentence, and never a crash.

Command: .venv/bin/python -m pytest -q tests/export/test_broken_files.py
Promise: of 400 damaged GGUFs and 400 damaged safetensors files none ends the process, each one that is cut
short is refused, and what is refused is refused with a sentence.

The GGUFs are given to the real engine, in one process for all of them: a crash shows as its exit status.
"""

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gguf
import pytest

from backtalk.errors import BacktalkError, ModelError
from backtalk.gguf_check import BLOCKS, check
from export.convert import convert
from tests.export.small_models import small_folder

GGUFS = 400
SAFETENSORS = 400
ROOT = Path(__file__).resolve().parents[2]
WORDS = (
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\x00\x00\xc0\x7f",
    b"\xff\xff\xff\x7f",
    b"\x01\x00\x00\x00",
)

# Loads each file, asks it something, prints what became of it.
LOADS = """
import sys
from pathlib import Path
from backtalk.engine import Sampling, load
from backtalk.errors import BacktalkError
from backtalk.models import Model
for path in sorted(Path(sys.argv[1]).iterdir()):
    print(path.name, end=" ", flush=True)
    try:
        engine = load(Model(path.stem, path, ""), context=128, threads=1)
    except BacktalkError as fault:
        print("refused", str(fault)[-60:].replace("\\n", " "), flush=True)
        continue
    try:
        prompt = engine.prompt([{"role": "user", "content": "12 where"}], 4)
        "".join(engine.stream(prompt, Sampling(max_tokens=2)))
        print("served", flush=True)
    except BacktalkError as fault:
        print("refused", str(fault)[-60:].replace("\\n", " "), flush=True)
    engine.close()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("small") / "model")


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    return convert(folder, folder.parent / "whole.gguf", "F16")


def damaged(data: bytes, number: int, spots: list[range]) -> Iterator[tuple[str, bytes]]:
    """`number` copies, each with one kind of damage at one spot; the same ones at every run."""
    dice = random.Random(20261121)
    for place in range(number):
        at = dice.choice(dice.choice(spots))
        kind = ("cut", "bit", "bit", "bit", "byte", "word", "gap")[place % 7]
        copy = bytearray(data)
        if kind == "cut":
            del copy[dice.randrange(len(data)) if dice.random() < 0.5 else at :]
        elif kind == "bit":
            copy[at] ^= 1 << dice.randrange(8)
        elif kind == "byte":
            copy[at] = dice.choice([0, 127, 128, 255])
        elif kind == "word":
            copy[at : at + 4] = dice.choice(WORDS)
        else:
            del copy[at : at + dice.randrange(1, 9)]
        yield f"{place:03}-{kind}", bytes(copy)


def spots_of(path: Path) -> list[range]:
    """Every entry's first bytes, the list of tensors, the whole head, everything."""
    reader = gguf.GGUFReader(path)
    entries = [range(one.offset, one.offset + 90) for one in reader.fields.values() if one.offset]
    tensors = range(reader.tensors[0].field.offset, reader.data_offset)
    return [*entries, *[tensors] * 20, range(reader.data_offset), range(path.stat().st_size)]


def test_no_damaged_gguf_ends_the_process(whole: Path, tmp_path: Path) -> None:
    files = tmp_path / "damaged"
    files.mkdir()
    for name, data in damaged(whole.read_bytes(), GGUFS, spots_of(whole)):
        (files / f"{name}.gguf").write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", LOADS, str(files)], cwd=ROOT, capture_output=True, text=True, errors="replace"
    )
    said = done.stdout.splitlines()
    assert done.returncode == 0, f"{said[-1]} ended the process: {done.stderr[-2000:]}"
    assert len(said) == GGUFS
    refused = [line for line in said if " refused " in line]
    assert len(refused) > GGUFS // 2
    assert all(line.endswith(".") or line.endswith("--model.") for line in refused)
    assert not [line for line in said if "-cut." in line and " refused " not in line]


def test_no_cut_gguf_passes_the_check(whole: Path, tmp_path: Path) -> None:
    data, path = whole.read_bytes(), tmp_path / "cut.gguf"
    for length in [*range(64), *range(64, len(data), len(data) // 300)]:
        path.write_bytes(data[:length])
        with pytest.raises(ModelError):
            check(path)


@pytest.mark.parametrize("type", ["F32", "F16", "BF16", "Q8_0"])
def test_a_whole_gguf_passes_the_check(folder: Path, tmp_path: Path, type: str) -> None:
    check(convert(folder, tmp_path / "m.gguf", type))


def test_the_check_knows_every_type_that_gguf_knows() -> None:
    assert {int(kind): sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()} == BLOCKS


def test_no_damaged_safetensors_file_is_converted_by_halves(folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for path in folder.iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    weights = model / "model.safetensors"
    data = weights.read_bytes()
    head = 8 + int.from_bytes(data[:8], "little")
    out, refused = tmp_path / "out", 0
    for name, changed in damaged(data, SAFETENSORS, [range(8), range(head), range(head), range(len(data))]):
        weights.write_bytes(changed)
        try:
            check(convert(model, out / "model.gguf", "F16"))
            assert not name.endswith(("cut", "gap")), f"{name} was converted"
        except BacktalkError:
            refused += 1
            assert not [path for path in out.glob("*") if path.name != "model.gguf"]
    assert refused > SAFETENSORS // 2
