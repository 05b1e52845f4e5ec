"""An adapter as a GGUF of its own, so that it can be tried on a served base without merging.

    python -m export adapter .backtalk/runs/7f3a/adapter taught.gguf
    llama-server -m base.gguf --lora taught.gguf

llama.cpp adds alpha / rank times B·A; its one alpha stands for all, so what another alpha, another rank or
rank-stabilised LoRA scales otherwise goes into B. The rows of q and k take the order that the converter
gives them. What llama.cpp cannot add while it serves (DoRA, biases, whole modules, trained rows) is refused:
merge it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

from backtalk.card import Card
from backtalk.errors import ModelError
from backtalk.verb import Parser, report_json
from export.architectures import Architecture, Config, architecture_of
from export.convert import read_config
from export.foundation import find_base
from export.lora import Lora, Pair, read_lora
from export.merge import read_run
from export.unfinished import unfinished


@dataclass(frozen=True)
class Named:
    """A pair under the name of the matrix that it belongs to in the base's GGUF."""

    name: str
    a: np.ndarray
    b: np.ndarray


def adapter_to_gguf(adapter: Path, out: Path, *, base: Path | None = None) -> Path:
    """Writes the adapter in `adapter` as a GGUF in F32 to `out` and returns it; `base` as in `merge`.

    Raises ModelError where the adapter is more than pairs of matrices, or not of its base.
    """
    run = read_run(adapter)
    lora = read_lora(adapter)
    _check_servable(lora)
    config = read_config(find_base(run, adapter, base).folder)
    architecture = architecture_of(config)
    pairs = list(_named(lora, config, architecture))
    with unfinished(out) as part:
        _write(part, run, lora, architecture, pairs)
    return out


def _check_servable(lora: Lora) -> None:
    beyond = [
        what
        for what, found in (
            ("whole trained modules", lora.whole),
            ("single trained rows of embeddings", lora.tokens),
            ("DoRA", [pair for pair in lora.pairs.values() if pair.magnitude is not None]),
            ("trained biases", [pair for pair in lora.pairs.values() if pair.bias is not None]),
        )
        if found
    ]
    if beyond:
        raise ModelError(
            f"The adapter in {lora.folder} holds {' and '.join(beyond)}, which llama.cpp cannot add while "
            "it serves. Merge it: python -m export merge."
        )


def _named(lora: Lora, config: Config, architecture: Architecture) -> Iterator[Named]:
    """Every pair as llama.cpp wants it; alike in all but the scale where alpha and rank are."""
    names = gguf.get_tensor_name_map(architecture.kind, architecture.layers(config))
    shapes = architecture.shapes(config)
    alpha = _alpha(lora)
    for module, pair in sorted(lora.pairs.items()):
        name = names.get_name(f"{module}.weight", try_suffixes=(".weight",)) or ""
        if name not in shapes:
            raise ModelError(
                f"The adapter teaches {module}, which the base's GGUF does not hold apart (embeddings may be "
                "tied). Merge it: python -m export merge."
            )
        if pair.on_embedding and "output.weight" not in shapes:
            raise ModelError(
                f"The adapter teaches {module} alone of two tied matrices, and llama.cpp would add it to "
                "both. Merge it: python -m export merge."
            )
        yield _as_served(name, module, pair, alpha, config, architecture, shapes[name])


def _as_served(
    name: str,
    module: str,
    pair: Pair,
    alpha: float,
    config: Config,
    architecture: Architecture,
    shape: tuple[int, ...],
) -> Named:
    a, b = pair.a.values().astype(np.float32), pair.b.values().astype(np.float32)
    if shape != (b.shape[0], a.shape[1]) and shape != (a.shape[1], b.shape[0]):
        raise ModelError(
            f"The adapter teaches {module} in the shape {(b.shape[0], a.shape[1])}, and its base has "
            f"{shape}. Take the base that it was trained on."
        )
    for end, change in architecture.change.items():
        if f"{module}.weight".endswith(end):
            b = change(b, config)  # rows of B are rows of the matrix
    factor = pair.scale * pair.rank / alpha
    if factor != 1.0:
        b = (b.astype(np.float64) * factor).astype(np.float32)
    return Named(name, a.T if pair.on_embedding else a, b)


def _alpha(lora: Lora) -> float:
    """The alpha that most pairs have; it must not be zero, which llama.cpp reads as "scale by one"."""
    alphas = [pair.alpha for pair in lora.pairs.values() if pair.alpha]
    return max(sorted(set(alphas)), key=alphas.count) if alphas else 1.0


def _write(path: Path, run: Card, lora: Lora, architecture: Architecture, pairs: list[Named]) -> None:
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture.kind])
    writer.add_type("adapter")
    writer.add_name(run.id)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, _alpha(lora))
    for pair in pairs:
        writer.add_tensor(f"{pair.name}.lora_a", np.ascontiguousarray(pair.a))
        writer.add_tensor(f"{pair.name}.lora_b", np.ascontiguousarray(pair.b))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main(argv: list[str]) -> int:
    """`python -m export adapter ADAPTER OUT`."""
    parser = Parser(
        prog="python -m export adapter",
        description="A LoRA adapter as a GGUF that llama.cpp adds to a served base.",
        example="python -m export adapter .backtalk/runs/7f3a/adapter taught.gguf",
    )
    parser.add_argument("adapter", type=Path, help="folder with an adapter and the card of its run")
    parser.add_argument("out", type=Path, help="the GGUF to write")
    parser.add_argument(
        "--base", type=Path, metavar="DIR", help="where the base lies, if not where the card says"
    )
    parser.add_json()
    args = parser.parse_args(argv)
    path = adapter_to_gguf(args.adapter, args.out, base=args.base)
    if args.json:
        report_json({"path": str(path), "bytes": path.stat().st_size})
    else:
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0
