"""Finished exports to test with: small GGUF files, a card that speaks of them, and a verdict."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from backtalk.card import Card, write_card
from backtalk.files import read_json, sha256_of, write_json
from backtalk.home import home
from backtalk.models import MINI

NAME = b"Backtalk mini"


def small_gguf(path: Path, *, license: str = "", base: str = "", round: int = 0, number: int = 0) -> Path:
    """A GGUF with a head and one tensor; `number` makes it differ from others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("desk")
    writer.add_array("tokenizer.ggml.tokens", ["a", "b", "c"])
    if license:
        writer.add_license(license)
    if base:
        writer.add_base_model_count(1)
        writer.add_base_model_repo_url(0, f"https://huggingface.co/{base}")
    writer.add_uint32("backtalk.round", round)
    writer.add_tensor("token_embd.weight", np.full(32, number, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def served_gguf(path: Path, number: int) -> Path:
    """The bundled model under another name of the same length: it can be served, and has its own sha256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = MINI.read_bytes()
    assert whole.count(NAME) == 1
    path.write_bytes(whole.replace(NAME, NAME[:-1] + b"%d" % number))
    return path


def finish(
    folder: Path,
    *,
    failed: Mapping[str, list[str]] | None = None,
    unverified: str = "",
    inputs: list[dict[str, Any]] | None = None,
    recipe: dict[str, Any] | None = None,
) -> Path:
    """Writes the picture and the card of an export whose GGUF files are in `folder`."""
    (folder / "quality_vs_size.png").write_bytes(b"\x89PNG\r\n")
    metrics = {
        quant: {
            "sha256": sha256_of(path),
            "bytes": path.stat().st_size,
            "divergence": 0.0004,
            "top_token_equal": 0.9731,
            "tokens_equal": True,
            "passed": not (failed or {}).get(quant),
            "failed": (failed or {}).get(quant, []),
        }
        for path in sorted(folder.glob("*.gguf"))
        if (quant := path.stem.rpartition("-")[2]) != unverified
    }
    card = Card("export", folder.name, inputs=inputs or [], recipe=recipe or {}, metrics=metrics)
    write_card(folder, card)
    return folder


def judge(gguf_file: Path, word: str = "PROMOTE", why: str = "better by 4 points") -> Path:
    """Writes the verdict on this file beside it."""
    path = gguf_file.parent / "verdict.json"
    intervals = {"held-out flags": [0.021, 0.058]}
    write_json(
        path, {"verdict": word, "gguf_sha256": sha256_of(gguf_file), "intervals": intervals, "why": why}
    )
    return path


def promotable(name: str, number: int = 0, *, served: bool = False, **head: Any) -> Path:
    """A finished export in the state folder with one file and a verdict PROMOTE; returns the file."""
    path = home() / "exports" / name / f"{name}-Q8_0.gguf"
    made = (
        served_gguf(path, number) if served else small_gguf(path, license="apache-2.0", number=number, **head)
    )
    finish(made.parent)
    judge(made)
    return made


def pointer() -> dict[str, Any]:
    """`promoted.json` of the state folder."""
    return read_json(home() / "promoted.json")
