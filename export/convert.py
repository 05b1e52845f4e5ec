"""A Hugging Face model folder -> one GGUF file, with PyPI's `gguf` alone: no llama.cpp scripts, no torch.

    python -m export convert models/mini models/mini/mini-Q8_0.gguf --type Q8_0

What an architecture needs stands in one table, ARCHITECTURES: how its settings are written, what its
tensors are called, what is done to them. Matrices are stored as the type says, everything with one
dimension as F32. The file appears under its name only when it is whole.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np

from backtalk.errors import ModelError, WordsError, nearest
from backtalk.files import read_json, sync_folder
from backtalk.verb import Parser, report_json
from export.tokenizer import write_tokenizer
from export.weights import read_weights

Type = Literal["F32", "F16", "BF16", "Q8_0"]
TYPES: dict[str, gguf.GGMLQuantizationType] = {
    name: gguf.GGMLQuantizationType[name] for name in ("F32", "F16", "BF16", "Q8_0")
}
FILE_TYPES = {
    "F32": gguf.LlamaFileType.ALL_F32,
    "F16": gguf.LlamaFileType.MOSTLY_F16,
    "BF16": gguf.LlamaFileType.MOSTLY_BF16,
    "Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}

Config = Mapping[str, Any]
Tensor = np.ndarray


@dataclass(frozen=True)
class Metadata:
    """What a GGUF says of itself under `general.`; an empty entry is left out."""

    name: str = ""
    version: str = ""
    description: str = ""
    license: str = "apache-2.0"


@dataclass(frozen=True)
class Architecture:
    """How one class of models is written: its settings, its tensors' names, and changes to them."""

    kind: gguf.MODEL_ARCH
    write_settings: Callable[[gguf.GGUFWriter, Config], None]
    change: Mapping[str, Callable[[Tensor, Config], Tensor]] = field(default_factory=dict)
    """Ends of tensor names -> what is done to these tensors."""
    extra: Callable[[Config], Mapping[str, Tensor]] = lambda _: {}
    """Tensors that the GGUF wants and the folder does not hold, by their GGUF names."""


def convert(model_dir: Path, out: Path, type: str = "Q8_0", metadata: Metadata | None = None) -> Path:
    """Writes `model_dir` as a GGUF of `type` to `out` and returns it. Raises ModelError or WordsError."""
    if type not in TYPES:
        raise WordsError(f"'{type}' is not a type that is written here. Known are {', '.join(TYPES)}.")
    config = _config(model_dir)
    architecture = _architecture(config)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part")
    writer = gguf.GGUFWriter(part, gguf.MODEL_ARCH_NAMES[architecture.kind])
    try:
        _write_general(writer, type, metadata or Metadata(name=model_dir.resolve().name))
        architecture.write_settings(writer, config)
        write_tokenizer(writer, model_dir, int(config["vocab_size"]))
        for name, tensor in _tensors(model_dir, config, architecture):
            _add_tensor(writer, name, tensor, TYPES[type])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        part.replace(out)
        sync_folder(out.parent)
    finally:
        part.unlink(missing_ok=True)
    return out


# ---- Llama


def _write_llama(writer: gguf.GGUFWriter, config: Config) -> None:
    heads = int(config["num_attention_heads"])
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(int(config["hidden_size"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or heads))
    writer.add_key_length(_head_size(config))
    writer.add_value_length(_head_size(config))
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    writer.add_rope_dimension_count(_head_size(config))
    writer.add_rope_freq_base(float(_rope(config)["rope_theta"]))
    writer.add_vocab_size(int(config["vocab_size"]))


def _head_size(config: Config) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def _rope(config: Config) -> dict[str, Any]:
    """Rotary settings: transformers 5 keeps them in `rope_parameters`, earlier ones in two places."""
    parameters = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return {"rope_type": "default", "rope_theta": config.get("rope_theta", 10_000.0), **parameters}


def _interleave(heads: int, weight: Tensor) -> Tensor:
    """Rows of each head from "first half, second half" to the pairs that llama.cpp rotates together."""
    rows, *rest = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, *rest).swapaxes(1, 2).reshape(weight.shape)


def _query(weight: Tensor, config: Config) -> Tensor:
    return _interleave(int(config["num_attention_heads"]), weight)


def _key(weight: Tensor, config: Config) -> Tensor:
    return _interleave(int(config.get("num_key_value_heads") or config["num_attention_heads"]), weight)


def _rope_factors(config: Config) -> Mapping[str, Tensor]:
    """llama3 scaling as divisors of frequencies: 1 for short waves, then a ramp up to `factor`."""
    rope = _rope(config)
    if rope["rope_type"] == "default":
        return {}
    if rope["rope_type"] != "llama3":
        raise ModelError(
            f"This model scales its positions by '{rope['rope_type']}', which cannot be written here. "
            "Known are default and llama3."
        )
    size = _head_size(config)
    waves = 2 * np.pi * float(rope["rope_theta"]) ** (np.arange(0, size, 2) / size)
    turns = float(rope["original_max_position_embeddings"]) / waves
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    ramp = np.clip((turns - low) / (high - low), 0.0, 1.0)
    divisors = 1 / ((1 - ramp) / float(rope["factor"]) + ramp)
    return {"rope_freqs.weight": divisors.astype(np.float32)}


ARCHITECTURES = {
    "LlamaForCausalLM": Architecture(
        kind=gguf.MODEL_ARCH.LLAMA,
        write_settings=_write_llama,
        change={"q_proj.weight": _query, "q_proj.bias": _query, "k_proj.weight": _key, "k_proj.bias": _key},
        extra=_rope_factors,
    ),
}


# ---- any architecture


def _config(model_dir: Path) -> Config:
    path = model_dir / "config.json"
    if not path.is_file():
        raise ModelError(f"{model_dir} holds no config.json. Name a folder that save_pretrained wrote.")
    return read_json(path)


def _architecture(config: Config) -> Architecture:
    name = (config.get("architectures") or ["a model without a name"])[0]
    if name not in ARCHITECTURES:
        raise ModelError(
            f"{name} cannot be converted here.{nearest(name, ARCHITECTURES)} "
            f"Known are {', '.join(ARCHITECTURES)}."
        )
    return ARCHITECTURES[name]


def _write_general(writer: gguf.GGUFWriter, type: str, metadata: Metadata) -> None:
    writer.add_type("model")
    writer.add_file_type(FILE_TYPES[type])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    told = (
        (writer.add_name, metadata.name),
        (writer.add_version, metadata.version),
        (writer.add_description, metadata.description),
        (writer.add_license, metadata.license),
    )
    for add, value in told:
        if value:
            add(value)


def _tensors(model_dir: Path, config: Config, architecture: Architecture) -> Iterator[tuple[str, Tensor]]:
    """Every tensor under its GGUF name, in fp32 or as it was stored."""
    names = gguf.get_tensor_name_map(architecture.kind, int(config["num_hidden_layers"]))
    tied = bool(config.get("tie_word_embeddings"))
    unknown = []
    for source, tensor in read_weights(model_dir):
        if tied and source == "lm_head.weight":
            continue  # the same matrix as the embeddings, which llama.cpp then uses twice
        name = names.get_name(source, try_suffixes=(".weight", ".bias"))
        if name is None:
            unknown.append(source)
            continue
        for end, change in architecture.change.items():
            if source.endswith(end):
                tensor = change(tensor, config)
        yield name, tensor
    if unknown:
        raise ModelError(
            f"{model_dir} holds {len(unknown)} tensors that have no place in this architecture, "
            f"the first is {unknown[0]}. Merge adapters first, and convert a folder of whole weights."
        )
    yield from architecture.extra(config).items()


def _add_tensor(
    writer: gguf.GGUFWriter, name: str, tensor: Tensor, wanted: gguf.GGMLQuantizationType
) -> None:
    kind = wanted if tensor.ndim > 1 else gguf.GGMLQuantizationType.F32
    block = gguf.GGML_QUANT_SIZES[kind][0]
    if tensor.shape[-1] % block:
        kind = gguf.GGMLQuantizationType.F16  # a row must be whole blocks
    writer.add_tensor(name, gguf.quants.quantize(np.ascontiguousarray(tensor), kind), raw_dtype=kind)


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
    parser.add_argument("--license", default=Metadata.license, help="its license (apache-2.0)")
    parser.add_json()
    args = parser.parse_args(argv)
    name = args.name or args.model_dir.resolve().name
    metadata = Metadata(name, args.version, args.description, args.license)
    path = convert(args.model_dir, args.out, args.type, metadata)
    if args.json:
        report_json({"path": str(path), "bytes": path.stat().st_size, "type": args.type})
    else:
        print(f"{path}: {args.type}, {path.stat().st_size / 1e6:.1f} MB")
    return 0
