"""Quantizing, on small files that are written here, and once on the bundled model.

Command: .venv/bin/python -m pytest -q tests/export/test_quantize.py
Promise: sizes are known beforehand to the byte, the same input gives the same bytes, a name always holds a
whole file, and whatever llama.cpp does with a bad file is one sentence.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from backtalk.errors import BacktalkError, ModelError, WordsError
from backtalk.files import sha256_of
from export.__main__ import main
from export.convert import convert
from export.imatrix import COUNTS, SUMS
from export.quantize import Plan, plan_types, quantize, stem
from export.quantizer import ask
from export.verify import verify

MINI = Path(__file__).resolve().parents[2] / "models" / "mini"
PROMISED = ("F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q3_K_M", "Q2_K")
QUESTION = [
    {"role": "user", "content": "where is my order 4821?"},
    {"role": "assistant", "content": "You can follow order 4821 on our page."},
]


def write_model(path: Path, width: int = 256, inner: int = 512, **settings: int) -> Path:
    """An F16 GGUF with the tensors of a Llama of two blocks, seeded weights and no vocabulary."""
    rng = np.random.default_rng(7)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Small")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_string("backtalk.round", "3")
    writer.add_block_count(2)
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(96)
    for name, value in settings.items():
        writer.add_uint32(f"llama.{name}", value)
    square, up, down = (width, width), (inner, width), (width, inner)
    shapes = {"token_embd": (96, width)}
    for block in ("blk.0.", "blk.1."):
        shapes |= {block + name: square for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
        shapes |= {block + "ffn_gate": up, block + "ffn_up": up, block + "ffn_down": down}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", rng.normal(0, 0.05, shape).astype(np.float16))
    writer.add_tensor("output_norm.weight", np.ones(width, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_matrix(path: Path, source: Path, inputs: int = 0) -> Path:
    """Every eighth channel weighs a thousand times the others; `inputs` replaces the right number of them."""
    writer = gguf.GGUFWriter(path, "imatrix")
    for tensor in tensors_of(source).values():
        channels = np.ones((1, inputs or int(tensor.shape[0])), dtype=np.float32)
        channels[:, ::8] = 1000
        writer.add_tensor(tensor.name + SUMS, channels * 5)
        writer.add_tensor(tensor.name + COUNTS, np.full((1, 1), 5, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def tensors_of(path: Path) -> dict[str, gguf.ReaderTensor]:
    return {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}


def entry(path: Path, key: str) -> object:
    field = gguf.GGUFReader(path).get_field(key)
    return field.contents() if field else None


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("source") / "small-F16.gguf")


@pytest.fixture(scope="module")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Plan]:
    """All promised types in one go, on two threads."""
    folder = tmp_path_factory.mktemp("made")
    return {plan.type: plan for plan in quantize(source, folder, PROMISED, threads=2)}


@pytest.mark.parametrize("type", PROMISED)
def test_each_size_was_known_beforehand_to_the_byte(made: dict[str, Plan], type: str) -> None:
    assert made[type].path.name == f"small-{type}.gguf"
    assert made[type].path.stat().st_size == made[type].bytes


@pytest.mark.parametrize("type", PROMISED)
def test_a_file_is_what_its_name_says(made: dict[str, Plan], type: str) -> None:
    path = made[type].path
    assert entry(path, "general.file_type") == gguf.LlamaFileType[f"MOSTLY_{type}"]
    most = gguf.GGMLQuantizationType[type.removesuffix("_M")]
    assert tensors_of(path)["blk.0.attn_q.weight"].tensor_type == most
    assert tensors_of(path)["output_norm.weight"].tensor_type == gguf.GGMLQuantizationType.F32


def test_smaller_types_are_smaller(made: dict[str, Plan]) -> None:
    order = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
    sizes = [made[type].bytes for type in order]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == len(sizes)


def test_the_source_s_metadata_stays_and_its_hash_is_added(made: dict[str, Plan], source: Path) -> None:
    path = made["Q4_K_M"].path
    assert entry(path, "general.name") == "Small"
    assert entry(path, "backtalk.round") == "3"
    assert entry(path, "backtalk.source_sha256") == sha256_of(source)
    assert entry(path, "backtalk.imatrix_sha256") is None


def test_the_same_input_gives_the_same_bytes_on_any_number_of_threads(
    made: dict[str, Plan], source: Path, tmp_path: Path
) -> None:
    again = quantize(source, tmp_path, ["Q4_K_M", "Q2_K"], threads=1)
    assert [sha256_of(plan.path) for plan in again] == [sha256_of(made[plan.type].path) for plan in again]


def test_what_is_there_already_is_not_made_again(source: Path, tmp_path: Path) -> None:
    copy = shutil.copy(source, tmp_path)
    first = quantize(Path(copy), tmp_path / "out", ["Q8_0"])[0]
    inode = first.path.stat().st_ino
    assert quantize(Path(copy), tmp_path / "out", ["Q8_0"])[0].made
    assert first.path.stat().st_ino == inode
    write_model(Path(copy), inner=256)
    assert not quantize(Path(copy), tmp_path / "out", ["Q8_0"])[0].made
    assert first.path.stat().st_ino != inode


def test_a_matrix_lowers_the_error_of_the_channels_that_count(
    made: dict[str, Plan], source: Path, tmp_path: Path
) -> None:
    matrix = write_matrix(tmp_path / "matrix.gguf", source)
    weighed = quantize(source, tmp_path / "out", ["Q3_K_M", "IQ3_S"], imatrix=matrix)
    assert weighed[0].unweighed == ()
    assert weighed[1].path.stat().st_size == weighed[1].bytes
    assert entry(weighed[0].path, "backtalk.imatrix_sha256") == sha256_of(matrix)
    original = tensors_of(source)["blk.0.ffn_up.weight"].data.astype(np.float32)

    def error(path: Path) -> float:
        tensor = tensors_of(path)["blk.0.ffn_up.weight"]
        back = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        return float(((back - original)[:, ::8] ** 2).mean())

    assert error(weighed[0].path) < 0.8 * error(made["Q3_K_M"].path)


def test_a_matrix_of_another_model_is_refused_before_any_work(source: Path, tmp_path: Path) -> None:
    matrix = write_matrix(tmp_path / "matrix.gguf", source, inputs=64)
    with pytest.raises(ModelError, match="made from another model"):
        quantize(source, tmp_path / "out", ["Q4_K_M"], imatrix=matrix)
    assert not (tmp_path / "out").exists()


def test_a_type_that_needs_a_matrix_says_so_before_any_work(source: Path, tmp_path: Path) -> None:
    with pytest.raises(WordsError, match=r"IQ2_XXS would be garbage .* --imatrix"):
        quantize(source, tmp_path / "out", ["Q8_0", "IQ2_XXS"])
    assert not (tmp_path / "out").exists()


def test_rows_that_do_not_divide_are_told_with_what_they_become(tmp_path: Path) -> None:
    source = write_model(tmp_path / "odd-F16.gguf", width=96, inner=256)
    plan = plan_types(source, tmp_path, ["Q4_K_M"])[0]
    told = {fallback.tensor: fallback for fallback in plan.fallbacks}
    assert "blk.0.ffn_down.weight" not in told
    assert told["blk.0.attn_q.weight"].columns == 96
    assert (told["blk.0.attn_q.weight"].wanted, told["blk.0.attn_q.weight"].taken) == ("Q4_K", "Q5_0")
    assert not plan.path.exists()
    path = quantize(source, tmp_path, ["Q4_K_M"])[0].path
    assert path.stat().st_size == plan.bytes
    assert tensors_of(path)["blk.0.attn_q.weight"].tensor_type == gguf.GGMLQuantizationType.Q5_0


def test_too_little_disk_is_said_before_any_work(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(BacktalkError, match=r"MB for Q8_0, Q2_K, and 1 MB are free"):
        quantize(source, tmp_path / "new" / "out", ["Q8_0", "Q2_K"])
    assert not (tmp_path / "new").exists()


def test_a_quantized_source_is_refused(made: dict[str, Plan], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="quantizing twice loses twice"):
        quantize(made["Q8_0"].path, tmp_path, ["Q4_K_M"])


def test_a_file_never_replaces_its_own_source(source: Path) -> None:
    before = sha256_of(source)
    with pytest.raises(WordsError, match="would replace the file that it is made from"):
        quantize(source, source.parent, ["F16"])
    assert sha256_of(source) == before


def test_an_unknown_type_names_the_nearest(source: Path, tmp_path: Path) -> None:
    with pytest.raises(WordsError, match="Did you mean 'Q4_K_M'"):
        quantize(source, tmp_path, ["Q4_KM"])


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.5, 0.9])
def test_a_cut_off_source_is_one_sentence(source: Path, tmp_path: Path, share: float) -> None:
    whole = source.read_bytes()
    torn = tmp_path / "torn-F16.gguf"
    torn.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelError, match=r"llama\.cpp could not quantize .*torn-F16\.gguf \(.+\)"):
        quantize(torn, tmp_path / "out", ["Q4_K_M"])
    assert not (tmp_path / "out").exists()


def test_an_abort_of_llama_cpp_is_one_sentence(tmp_path: Path) -> None:
    source = write_model(tmp_path / "many-F16.gguf", expert_count=1_000_000)
    with pytest.raises(ModelError, match=r"could not quantize .* \(GGML_ASSERT\(.+\) failed\)"):
        quantize(source, tmp_path / "out", ["Q4_K_M"])


def test_weights_that_are_no_numbers_leave_no_file(source: Path, tmp_path: Path) -> None:
    broken = bytearray(source.read_bytes())
    place = tensors_of(source)["blk.1.ffn_up.weight"].data_offset
    broken[place : place + 2] = np.float16(np.nan).tobytes()
    (tmp_path / "broken-F16.gguf").write_bytes(broken)
    with pytest.raises(ModelError, match="could not quantize"):
        quantize(tmp_path / "broken-F16.gguf", tmp_path / "out", ["Q8_0"])
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("tensor", [1, 9])
def test_a_killed_run_leaves_no_name_and_the_next_makes_the_same_bytes(
    made: dict[str, Plan], source: Path, tmp_path: Path, tensor: int
) -> None:
    program = (
        "import os, signal; from pathlib import Path; from export.quantize import quantize;"
        f"stop = lambda text: os.kill(os.getpid(), signal.SIGKILL) if 'tensor {tensor} ' in text else None;"
        f"quantize(Path({str(source)!r}), Path({str(tmp_path)!r}), ['Q4_K_M'], report=stop)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == -signal.SIGKILL
    left = [path.name for path in tmp_path.glob("*") if not path.name.startswith(".")]
    assert left == ["home"] or not left
    again = quantize(source, tmp_path, ["Q4_K_M"])[0]
    assert sha256_of(again.path) == sha256_of(made["Q4_K_M"].path)
    assert not list(tmp_path.glob(".*.part"))


def test_an_interrupted_run_leaves_nothing(source: Path, tmp_path: Path) -> None:
    def interrupt(text: str) -> None:
        if "tensor 5 " in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize(source, tmp_path / "out", ["Q4_K_M"], report=interrupt)
    assert not list((tmp_path / "out").iterdir())


def test_nothing_goes_on_after_the_caller_was_killed(tmp_path: Path) -> None:
    """The source is a pipe that nobody writes to: the process would wait for it without end."""
    os.mkfifo(tmp_path / "pipe")
    order = {"source": str(tmp_path / "pipe"), "types": {"Q8_0": 7}, "notes": {}, "matrix": "", "there": []}
    caller = subprocess.Popen([sys.executable, "-c", f"from export.quantizer import ask; ask({order!r})"])
    try:
        children = Path(f"/proc/{caller.pid}/task/{caller.pid}/children")
        started = until(lambda: children.read_text().split())
        assert len(started) == 1
    finally:
        caller.kill()
        caller.wait()
    until(lambda: has_ended(int(started[0])))


def test_a_defect_inside_the_process_is_told(source: Path) -> None:
    order = {
        "source": str(source),
        "types": {"Q8_0": 7},
        "notes": {"k" * 200: "v"},
        "matrix": "",
        "there": [],
    }
    with pytest.raises(ModelError, match=r"could not quantize .*\(ValueError"):
        ask(order)


def test_the_bundled_model_quantized_still_answers_as_before(tmp_path: Path) -> None:
    source = convert(MINI, tmp_path / "mini-F16.gguf", "F16")
    path = quantize(source, tmp_path, ["Q4_K_M"])[0].path
    verdict = verify(MINI, path, [QUESTION], bound=0.2)
    assert verdict.holds
    assert verdict.divergence > 1e-5  # it was quantized


def test_the_step_prints_a_table_and_one_line_of_json(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["quantize", str(source), "--types", "q8_0,Q4_0", "--out", str(tmp_path), "--json", "--dry-run"]
    assert main(words) == 0
    table, _, line = capsys.readouterr().out.strip().rpartition("\n")
    assert "Q8_0" in table and "Q4_0" in table
    assert line.startswith('{"source"')
    assert not list(tmp_path.glob("*.gguf"))


def test_text_for_a_matrix_needs_the_model_that_reads_it(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "chats.txt").write_text("hello")
    words = ["quantize", str(source), "--types", "Q4_K_M", "--imatrix", str(tmp_path / "chats.txt")]
    assert main(words) == 2
    assert "Add --model DIR" in capsys.readouterr().err


def test_the_model_s_name_is_the_file_s_without_its_type() -> None:
    assert stem(Path("mini-F16.gguf")) == "mini"
    assert stem(Path("llama-3.2-1b-bf16.gguf")) == "llama-3.2-1b"
    assert stem(Path("round-7.gguf")) == "round-7"


def until(look: Callable[[], Any], seconds: float = 60) -> Any:
    """What `look` finds, once it finds something; a failure after `seconds`."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return found


def has_ended(pid: int) -> bool:
    """Gone, or dead and waiting for somebody to ask how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
