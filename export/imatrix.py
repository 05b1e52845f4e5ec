"""What a model's inputs weigh: the importance matrix, from one's own text, with PyTorch hooks.

    python -m export imatrix models/mini chats.jsonl mini-imatrix.gguf

For each linear layer the mean square of each input channel over the text. The quantizer then spends its
precision on the channels that are used. The file is the GGUF that llama.cpp's own llama-imatrix writes, so
either tool reads the other's; which text and which model it comes from stands in its metadata.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from backtalk.errors import ModelError, WordsError
from backtalk.files import read_json, read_jsonl, sha256_of
from backtalk.progress import Progress
from backtalk.verb import Parser, report_json
from export.unfinished import unfinished

TOKENS = 50_000
"""What is read of a text at most. llama.cpp's users take about as much (100 pieces of 512)."""
PIECE = 512  # tokens that the model reads at once

SUMS, COUNTS = ".in_sum2", ".counts"
TEXT, MODEL, READ = "backtalk.text_sha256", "backtalk.model_sha256", "backtalk.tokens"

Report = Callable[[str], None]


@dataclass(frozen=True)
class Matrix:
    """Mean squares by tensor, float32 of shape (channels,) or (experts, channels), and their origin."""

    values: Mapping[str, np.ndarray]
    text_sha256: str = ""
    model_sha256: str = ""
    tokens: int = 0


def make_imatrix(
    model_dir: Path, text: Path, out: Path, tokens: int = TOKENS, report: Report = lambda _: None
) -> Path:
    """Reads at most `tokens` tokens of `text` with the model and writes the matrix to `out`.

    `text` is plain text, or JSON lines with `messages`, or with `prompt` and `completion` or `chosen`, as
    in a curated set. The same matrix is not made twice. Raises ModelError or WordsError.
    """
    text_sha256, model_sha256 = _sha256_of_text(text), _sha256_of_model(model_dir)
    pieces = _pieces(model_dir, text, tokens)
    read = sum(map(len, pieces))
    if _is_made(out, (text_sha256, model_sha256, read)):
        report(f"{out} is there already, of the same text and model")
        return out
    values = _mean_squares(model_dir, pieces, report)
    _write(out, Matrix(values, text_sha256, model_sha256, read), text.name, len(pieces))
    return out


def read_imatrix(path: Path) -> Matrix:
    """The matrix in a GGUF that this module or llama-imatrix wrote. Raises ModelError."""
    try:
        reader = gguf.GGUFReader(path)
    except (OSError, ValueError, IndexError, KeyError, OverflowError) as fault:
        raise ModelError(
            f"{path} cannot be read as an importance matrix ({fault or type(fault).__name__}). "
            "Make it with: python -m export imatrix MODEL_DIR TEXT OUT"
        ) from fault
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    names = sorted(name.removesuffix(SUMS) for name in tensors if name.endswith(SUMS))
    if not names or any(name + COUNTS not in tensors for name in names):
        raise ModelError(
            f"{path} holds no importance matrix, and one was wanted. "
            "Make it with: python -m export imatrix MODEL_DIR TEXT OUT"
        )
    values = {name: _mean(tensors[name + SUMS], tensors[name + COUNTS]) for name in names}
    if wrong := [name for name, mean in values.items() if not np.isfinite(mean).all()]:
        raise ModelError(f"{path} holds values for {wrong[0]} that are no finite numbers. Make it again.")
    return Matrix(values, _entry(reader, TEXT, ""), _entry(reader, MODEL, ""), _entry(reader, READ, 0))


def is_gguf(path: Path) -> bool:
    """Whether a file begins like a GGUF: else it is text to make a matrix from."""
    with open(path, "rb") as file:
        return file.read(4) == b"GGUF"


# ---- text


def _pieces(model_dir: Path, text: Path, limit: int) -> list[list[int]]:
    """The text's first `limit` tokens in lists of at most PIECE; a conversation begins a new list."""
    from transformers import AutoTokenizer

    if limit < 1:
        raise WordsError(f"{limit} tokens were asked for; at least 1 is needed.")
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    pieces: list[list[int]] = []
    for ids in _texts(tokenizer, text):
        for start in range(0, len(ids), PIECE):
            piece = ids[start : start + PIECE][:limit]
            limit -= len(piece)
            pieces.append(piece)
            if limit == 0:
                return pieces
    if not pieces:
        raise WordsError(f"{text} holds no text to read. Name a file with conversations or plain text.")
    return pieces


def _texts(tokenizer: Any, text: Path) -> Iterator[list[int]]:
    if text.suffix != ".jsonl":
        plain = text.read_text(encoding="utf-8", errors="replace")
        yield tokenizer.encode(plain, add_special_tokens=False, split_special_tokens=True)
        return
    if not tokenizer.chat_template:
        raise WordsError(f"This model has no chat template to render {text.name} with. Give plain text.")
    for number, row in enumerate(read_jsonl(text), start=1):
        if messages := _messages(row, f"{text}, line {number},"):
            yield tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)


def _messages(row: Any, place: str) -> list[dict[str, str]]:
    """The conversation in a row; none in a row of an answer that was voted down."""
    if not isinstance(row, dict):
        raise WordsError(f'{place} is no JSON object. "messages", or "prompt" and "completion", are wanted.')
    if "messages" not in row and "prompt" not in row:
        raise WordsError(f'{place} has neither "messages" nor "prompt". Name a file of a curated set.')
    if row.get("label") is False:
        return []
    parts = [row.get("messages"), row.get("prompt"), row.get("completion", row.get("chosen"))]
    messages = [message for part in parts if isinstance(part, list) for message in part]
    if not all(isinstance(message, dict) and {"role", "content"} <= message.keys() for message in messages):
        raise WordsError(f'{place} has a message without "role" or "content". Both are needed.')
    return messages


# ---- activations


def _mean_squares(model_dir: Path, pieces: Sequence[list[int]], report: Report) -> dict[str, np.ndarray]:
    """By GGUF name: the mean square of each input channel of each linear layer, float32 (channels,)."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # it would be drawn over ours
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).eval()
    sums: dict[str, Any] = {}

    def add(name: str, inputs: Any) -> None:
        squares = inputs.reshape(-1, inputs.shape[-1]).square().sum(0, dtype=torch.float64)
        sums[name] = sums[name] + squares if name in sums else squares

    for layer, name in _linear_layers(model).items():
        layer.register_forward_pre_hook(lambda _, inputs, name=name: add(name, inputs[0]))
    head = "token_embd.weight" if model.config.tie_word_embeddings else "output.weight"
    read, total = 0, sum(map(len, pieces))
    with torch.inference_mode():
        for piece in pieces:
            # The head itself is not computed: a vocabulary's logits would take more memory than the rest.
            add(head, model.base_model(torch.tensor([piece]), use_cache=False).last_hidden_state)
            read += len(piece)
            report(f"{read:,} of {total:,} tokens")
    return {name: (summed / read).numpy().astype(np.float32) for name, summed in sorted(sums.items())}


def _linear_layers(model: Any) -> dict[Any, str]:
    """Each linear layer below the head, and its weight's name in the GGUF."""
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    kinds = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    kind = model.config.model_type
    if kind not in kinds:
        raise ModelError(f"A model of type '{kind}' has no names in GGUF. Quantize it without a matrix.")
    names = gguf.get_tensor_name_map(kinds[kind], model.config.num_hidden_layers)
    layers = {}
    for source, layer in model.named_modules():
        if layer is model.get_output_embeddings() or not isinstance(layer, Linear | Conv1D):
            continue
        name = names.get_name(f"{source}.weight", try_suffixes=(".weight",))
        if name is None:
            raise ModelError(f"The layer {source} has no name in GGUF. Merge adapters before you go on.")
        layers[layer] = name
    return layers


# ---- the file


def _write(out: Path, matrix: Matrix, text_name: str, pieces: int) -> None:
    with unfinished(out) as part:
        writer = gguf.GGUFWriter(part, "imatrix")
        writer.add_type(gguf.GGUFType.IMATRIX)
        writer.add_array(gguf.Keys.IMatrix.DATASETS, [text_name])
        writer.add_uint32(gguf.Keys.IMatrix.CHUNK_COUNT, pieces)
        writer.add_uint32(gguf.Keys.IMatrix.CHUNK_SIZE, PIECE)
        writer.add_string(TEXT, matrix.text_sha256)
        writer.add_string(MODEL, matrix.model_sha256)
        writer.add_uint32(READ, matrix.tokens)
        count = np.array([[matrix.tokens]], dtype=np.float32)
        for name, mean in matrix.values.items():
            writer.add_tensor(name + SUMS, mean.reshape(1, -1) * count)
            writer.add_tensor(name + COUNTS, count)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def _mean(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sums over counts, one count for each expert; an expert that was never asked weighs evenly."""
    sums, counts = sums.reshape(counts.size, -1), counts.reshape(-1, 1)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), 1.0).astype(np.float32)
    return means[0] if len(means) == 1 else means


def _is_made(out: Path, origin: tuple[str, str, int]) -> bool:
    if not out.exists():
        return False
    made = read_imatrix(out)
    return (made.text_sha256, made.model_sha256, made.tokens) == origin


def _entry(reader: gguf.GGUFReader, key: str, default: Any) -> Any:
    field = reader.get_field(key)
    return field.contents() if field else default


def _sha256_of_text(text: Path) -> str:
    if not text.is_file():
        raise WordsError(f"There is no file {text}. Name plain text, or JSON lines of conversations.")
    return sha256_of(text)


def _sha256_of_model(model_dir: Path) -> str:
    """One hash of the settings, the tokenizer and the weights, whatever other files lie beside them."""
    if not (model_dir / "config.json").is_file():
        raise ModelError(f"{model_dir} holds no config.json. Name a folder that save_pretrained wrote.")
    read_json(model_dir / "config.json")
    files = sorted(
        file
        for pattern in ("config.json", "tokenizer.json", "*.jinja", "*.safetensors")
        for file in model_dir.glob(pattern)
    )
    lines = "".join(f"{sha256_of(file)} {file.name}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def main(argv: list[str]) -> int:
    """`python -m export imatrix MODEL_DIR TEXT OUT`."""
    parser = Parser(
        prog="python -m export imatrix",
        description="What the inputs of a model's layers weigh over a text: helps the quantizer.",
        example="python -m export imatrix models/mini chats.jsonl mini-imatrix.gguf",
    )
    parser.add_argument("model_dir", type=Path, help="folder with the Hugging Face model")
    parser.add_argument("text", type=Path, help="JSON lines of conversations (a curated set), or plain text")
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument(
        "--tokens", type=int, default=TOKENS, help=f"read at most this many tokens ({TOKENS:,})"
    )
    parser.add_json()
    args = parser.parse_args(argv)
    progress = Progress()
    path = make_imatrix(args.model_dir, args.text, args.out, args.tokens, progress.report)
    matrix = read_imatrix(path)
    progress.done(f"{path}: {len(matrix.values)} layers, {matrix.tokens:,} tokens")
    if args.json:
        report_json({"path": str(path), "sha256": sha256_of(path), "tokens": matrix.tokens})
    return 0
