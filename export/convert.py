"""A Hugging Face model folder -> one GGUF file, with PyPI's `gguf` alone: no llama.cpp scripts, no torch.

    python -m export convert models/mini models/mini/mini-Q8_0.gguf --type Q8_0

What an architecture needs stands in export/architectures. Matrices are stored as the type says, everything
with one dimension as F32. Settings, tokenizer and every tensor's name and shape are checked before the first
byte is written; tensors then pass in blocks, so the model may be larger than memory. The file appears under
its name only when it is whole, and the same folder always gives the same bytes.
"""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.utility import size_label

from backtalk.errors import ModelError, WordsError, nearest
from backtalk.files import read_json
from backtalk.verb import Parser, report_json
from export.architectures import ARCHITECTURES, Architecture, Config, Tensor, architecture_of
from export.architectures.architecture import Shapes, count
from export.blocks import Blocks, Fixed, Streamed
from export.checkout import convert_with
from export.metadata import Metadata, read_metadata, write_metadata
from export.tokenizer import write_tokenizer
from export.unfinished import unfinished
from export.weights import Stored, stored_weights

__all__ = ["ARCHITECTURES", "TYPES", "Metadata", "convert", "main"]

TYPES: dict[str, gguf.GGMLQuantizationType] = {
    name: gguf.GGMLQuantizationType[name] for name in ("F32", "F16", "BF16", "Q8_0")
}
FILE_TYPES = {
    "F32": gguf.LlamaFileType.ALL_F32,
    "F16": gguf.LlamaFileType.MOSTLY_F16,
    "BF16": gguf.LlamaFileType.MOSTLY_BF16,
    "Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}
OUTPUTS = {"output.weight", "lm_head.weight"}
HEAD_ROOM = 64 * 2**20  # bytes for the head of the file: vocabulary, merges, metadata


def convert(model_dir: Path, out: Path, type: str = "Q8_0", metadata: Metadata | None = None) -> Path:
    """Writes `model_dir` as a GGUF of `type` (one of TYPES) to `out` and returns it.

    Entries that `metadata` leaves empty are taken from the folder's README.md and card.json.
    Raises ModelError for a folder that cannot be converted, WordsError for an unknown type.
    """
    if type not in TYPES:
        raise WordsError(
            f"'{type}' is not a type that is written here.{nearest(type, TYPES)} "
            f"Known are {', '.join(TYPES)}."
        )
    config = read_config(model_dir)
    architecture = architecture_of(config)
    architecture.check(config)
    tensors = _tensors(model_dir, config, architecture, TYPES[type])
    out.parent.mkdir(parents=True, exist_ok=True)
    _check_room(out.parent, sum(tensor.nbytes for tensor in tensors.values()))
    with unfinished(out) as part:
        writer = gguf.GGUFWriter(part, gguf.MODEL_ARCH_NAMES[architecture.kind])
        writer.add_type("model")
        writer.add_file_type(FILE_TYPES[type])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        _write_names(writer, metadata or Metadata(), model_dir, config, tensors.values())
        architecture.write_settings(writer, config)
        write_tokenizer(writer, model_dir, count(config, "vocab_size"), config)
        for name, tensor in tensors.items():
            writer.add_tensor(name, tensor, raw_dtype=tensor.kind)
        _write(writer)
    return out


def read_config(model_dir: Path) -> Config:
    """config.json of a model folder. Raises ModelError without one."""
    path = model_dir / "config.json"
    if not path.is_file():
        raise ModelError(f"{model_dir} holds no config.json. Name a folder that save_pretrained wrote.")
    config = read_json(path)
    if not isinstance(config, dict):
        raise ModelError(f"{path} holds no settings by name. Take it from where the weights came from.")
    return config


def _tensors(
    model_dir: Path, config: Config, architecture: Architecture, wanted: gguf.GGMLQuantizationType
) -> dict[str, Blocks]:
    """Every tensor under its GGUF name, in the order of the files; nothing of them is read yet."""
    found, unknown = _named(model_dir, config, architecture)
    shapes = architecture.shapes(config)
    _check_names(model_dir, found, unknown, shapes)
    tensors: dict[str, Blocks] = {}
    for name, stored in found.items():
        _check_shape(stored, shapes[name], stored.name.endswith(architecture.transposed))
        kind = gguf.GGMLQuantizationType.F32 if name in architecture.exact else wanted
        tensors[name] = Streamed(stored, shapes[name], kind, _change(stored.name, architecture, config))
    for name, values in architecture.extra(config).items():
        tensors[name] = Fixed(values)
    return tensors


def _change(name: str, architecture: Architecture, config: Config) -> Callable[[Tensor], Tensor] | None:
    """What is done to the tensor that the folder calls `name`; None: it is written as it lies."""
    if name.endswith(architecture.transposed):
        return np.transpose
    for end, change in architecture.change.items():
        if name.endswith(end):
            return lambda values: change(values, config)
    return None


def _named(
    model_dir: Path, config: Config, architecture: Architecture
) -> tuple[dict[str, Stored], list[str]]:
    """GGUF name -> tensor on disk, and the tensors that have no such name."""
    names = gguf.get_tensor_name_map(architecture.kind, architecture.layers(config))
    tied = "output.weight" not in architecture.shapes(config)
    found: dict[str, Stored] = {}
    unknown = []
    for stored in stored_weights(model_dir):
        if stored.name.endswith(architecture.ignored):
            continue
        if tied and stored.name in OUTPUTS:
            continue  # the same matrix as the embeddings, which llama.cpp then uses twice
        name = names.get_name(stored.name, try_suffixes=(".weight", ".bias"))
        if name is None or name in found:
            unknown.append(stored.name)
        else:
            found[name] = stored
    return found, unknown


def _check_names(model_dir: Path, found: dict[str, Stored], unknown: list[str], shapes: Shapes) -> None:
    """The folder holds what its settings ask for, no more and no less."""
    unknown = unknown + [found[name].name for name in found if name not in shapes]
    missing = [name for name in shapes if name not in found]
    if unknown:
        raise ModelError(
            f"{model_dir} holds {len(unknown)} tensors that have no place in this architecture, "
            f"the first is {unknown[0]}. Merge adapters first, and convert a folder of whole weights."
        )
    if missing:
        raise ModelError(
            f"{model_dir} lacks {len(missing)} of {len(shapes)} tensors that its config.json asks for, the "
            f"first is {missing[0]}. Fetch or merge it again."
        )


def _check_shape(stored: Stored, wanted: tuple[int, ...], transposed: bool) -> None:
    wanted = wanted[::-1] if transposed else wanted
    if stored.shape != wanted:
        raise ModelError(
            f"{stored.file} holds {stored.name} in the shape {stored.shape}, and config.json asks for "
            f"{wanted}. Take both from the same model."
        )


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + HEAD_ROOM:
        raise ModelError(
            f"{folder} has {free / 1e9:.1f} GB free, and the file needs {(needed + HEAD_ROOM) / 1e9:.1f} GB. "
            "Make room or choose another place."
        )


def _write_names(
    writer: gguf.GGUFWriter, given: Metadata, model_dir: Path, config: Config, tensors: Iterable[Blocks]
) -> None:
    values = sum(tensor.values for tensor in tensors)
    label = size_label(values, values, 0, 0)
    nameless = Metadata(name=f"{config.get('model_type') or 'model'}-{label}")
    write_metadata(writer, given.over(read_metadata(model_dir)).over(nameless), label)


def _write(writer: gguf.GGUFWriter) -> None:
    """Head first, then the tensors block by block."""
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def main(argv: list[str]) -> int:
    """`python -m export convert MODEL_DIR OUT --type Q8_0`."""
    parser = Parser(
        prog="python -m export convert",
        description="A Hugging Face model folder as one GGUF file.",
        example="python -m export convert models/mini models/mini/mini-Q8_0.gguf --type Q8_0",
    )
    parser.add_argument("model_dir", type=Path, help="folder with config.json, safetensors and tokenizer")
    parser.add_argument("out", type=Path, help="the GGUF to write")
    parser.add_argument("--type", default="Q8_0", metavar="TYPE", help=f"one of {', '.join(TYPES)}")
    parser.add_argument("--name", default="", help="the model's name")
    parser.add_argument("--version", default="", help="the model's version")
    parser.add_argument("--description", default="", help="one sentence about the model")
    parser.add_argument("--license", default="", help="its license (else: what its README.md says)")
    parser.add_argument("--license-link", default="", metavar="URL", help="where the license stands")
    parser.add_argument("--base-model", default="", metavar="OWNER/NAME", help="what it was trained from")
    parser.add_argument("--round", type=int, default=0, help="the round that taught it (else: its card's)")
    parser.add_argument(
        "--parent-sha256", default="", metavar="HASH", help="hash of the weights it was taught on"
    )
    parser.add_argument("--recipe-sha256", default="", metavar="HASH", help="hash of the recipe")
    parser.add_argument(
        "--llama-cpp", type=Path, metavar="DIR", help="a checkout of llama.cpp whose converter to use instead"
    )
    parser.add_json()
    args = parser.parse_args(argv)
    path = _converted(args)
    if args.json:
        report_json({"path": str(path), "bytes": path.stat().st_size, "type": args.type})
    else:
        print(f"{path}: {args.type}, {path.stat().st_size / 1e6:.1f} MB")
    return 0


def _converted(args: Any) -> Path:
    metadata = Metadata(
        name=args.name,
        version=args.version,
        description=args.description,
        license=args.license,
        license_link=args.license_link,
        base_model=args.base_model,
        round=args.round,
        parent_sha256=args.parent_sha256,
        recipe_sha256=args.recipe_sha256,
    )
    if args.llama_cpp:
        return convert_with(args.llama_cpp, args.model_dir, args.out, args.type, args.name)
    return convert(args.model_dir, args.out, args.type, metadata)
