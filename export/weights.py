"""A folder's safetensors as numpy arrays, one after the other, whether in one file or in shards.

numpy has no bfloat16, so such tensors arrive as float32, which holds them exactly. Files are mapped, not read
whole: a model larger than memory can be converted.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gguf.utility import LocalTensor, SafetensorsLocal

from backtalk.errors import ModelError
from backtalk.files import read_json

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
TYPES = {"F32": np.float32, "F16": np.float16, "F64": np.float64}


def read_weights(model_dir: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Name and values of each tensor, in the order of the files and of the names in them."""
    for path in _files(model_dir):
        try:
            tensors = SafetensorsLocal(path).tensors
        except (ValueError, KeyError) as fault:
            raise ModelError(
                f"{path} is not a whole safetensors file ({fault}). Fetch or merge it again."
            ) from fault
        for name, tensor in tensors.items():
            yield name, _values(path, name, tensor)


def _files(model_dir: Path) -> list[Path]:
    if (model_dir / SINGLE).is_file():
        return [model_dir / SINGLE]
    if not (model_dir / INDEX).is_file():
        raise ModelError(f"{model_dir} holds no {SINGLE} and no {INDEX}. Name a folder of merged weights.")
    files = [model_dir / name for name in sorted(set(read_json(model_dir / INDEX)["weight_map"].values()))]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ModelError(f"{model_dir} lacks {', '.join(missing)}, which its index names. Fetch them again.")
    return files


def _values(path: Path, name: str, tensor: LocalTensor) -> np.ndarray:
    stored = tensor.mmap_bytes()
    if tensor.dtype == "BF16":  # the upper half of a float32
        widened = stored.view(np.uint16).astype(np.uint32) << 16
        return widened.view(np.float32).reshape(tensor.shape)
    if tensor.dtype not in TYPES:
        raise ModelError(
            f"{path.name} stores {name} as {tensor.dtype}; floating point was wanted. "
            "Convert the weights before quantization, not after."
        )
    return stored.view(TYPES[tensor.dtype]).reshape(tensor.shape)
