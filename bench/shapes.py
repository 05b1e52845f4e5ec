"""Every shape of model that is converted, with random weights: how near each GGUF comes to its model.

    python bench/shapes.py [--quick] [--shapes gpt2,distilgpt2] [--types Q8_0,Q4_K_M] [--texts 12]

The bundled model, a Llama of three layers of each supported shape in bfloat16 as Llamas are published, and
GPT-2 and DistilGPT-2 shapes in float32 as those are, wide enough for the blocks of K-quants. The F16 file is
judged twice. As it is: llama.cpp rounds what it multiplies F16 weights with to F16 as well, which alone can
swap two tokens that are all but equally likely. And its numbers, computed in F32: what the conversion is
answerable for, since then only the file can differ from the model.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backtalk.progress import Progress
from bench.report import Bound, bound, report
from export.bounds import EXACT
from export.checks.template import conversations
from export.convert import convert
from export.quantize import quantize
from export.quantizer import ask
from export.verify import Verdict, verify_all

MINI = Path(__file__).resolve().parents[1] / "models" / "mini"
TYPES, QUICK_TYPES = "Q8_0,Q4_K_M", "Q8_0"
TEXTS, QUICK_TEXTS = 12, 2
QUICK_SHAPES = ("Llama-3.2-1B", "gpt2")
ALL_F32 = 0  # llama.cpp's number of the type
IN_F32 = "F16 in F32"


@dataclass(frozen=True)
class Shape:
    """One shape and the verdict on each of its files, by type."""

    name: str
    verdicts: dict[str, Verdict]


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help=f"{' and '.join(QUICK_SHAPES)} alone")
    parser.add_argument("--types", default="", help=f"besides F16 (default: {TYPES})")
    parser.add_argument("--shapes", default="", help="some of them, by name (all)")
    parser.add_argument("--texts", type=int, default=0, help=f"to compare on (default: {TEXTS})")
    args = parser.parse_args(argv)
    types = (args.types or (QUICK_TYPES if args.quick else TYPES)).split(",")
    names = QUICK_SHAPES if args.quick else [name for name in args.shapes.split(",") if name]
    texts = args.texts or (QUICK_TEXTS if args.quick else TEXTS)
    print(
        f"{'shape':<38}{'F16':>9}{'top-1':>9}{'in F32':>9}{'top-1':>9}"
        + "".join(f"{type:>9}" for type in types)
    )
    found = []
    for name, folder in folders(names):
        found.append(judge(name, folder, types, texts))
        print(line(found[-1], types), flush=True)
    print("nats per token; top-1: share of places with the same most likely token\n")
    entries = bounds(found)
    report("shapes", entries, shapes={shape.name: figures(shape) for shape in found})
    return 0 if all(entry.holds is not False for entry in entries) else 1


def folders(names: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Each shape (or those in `names`) as a model folder, which lasts until the next is asked for."""
    import torch

    from tests.export.shapes import GPT2S, LLAMAS, SPREAD, gpt2_folder, llama_folder

    if not names:
        yield "models/mini", MINI
    for name in names or (*LLAMAS, *GPT2S):
        with tempfile.TemporaryDirectory(prefix="backtalk-shapes-") as place:
            folder = Path(place)
            if name in LLAMAS:
                shape = wide(LLAMAS[name])
                spread = SPREAD * (64 / shape["hidden_size"]) ** 0.5  # the same logits at any width
                llama_folder(folder, **shape, dtype=torch.bfloat16, spread=spread)
            else:
                inner = {"n_inner": 768} if "n_inner" in GPT2S[name] else {}
                gpt2_folder(folder, **{**GPT2S[name], **inner, "n_embd": 256, "spread": SPREAD / 2})
            yield name, folder


def wide(changes: dict[str, Any]) -> dict[str, Any]:
    """The same shape with rows of 256 or 768 values: the narrow ones of a test do not fill a block."""
    if changes.get("num_attention_heads") == 3:
        keys = 4 * changes["num_key_value_heads"]
        size = {"hidden_size": 768, "num_attention_heads": 12, "num_key_value_heads": keys}
    else:
        size = {"hidden_size": 256}
    return {**changes, **size, "head_dim": 64, "intermediate_size": 768}


def judge(name: str, folder: Path, types: Sequence[str], texts: int) -> Shape:
    """Converts, quantizes and compares."""
    with tempfile.TemporaryDirectory(prefix="backtalk-shapes-") as place:
        f16 = convert(folder, Path(place) / "shape-F16.gguf", "F16")
        ggufs = {"F16": f16, IN_F32: widened(f16, Path(place) / "shape-F32.gguf")}
        ggufs |= {plan.type: plan.path for plan in quantize(f16, Path(place), types)}
        chats = conversations()[:texts]
        verdicts = verify_all(folder, list(ggufs.values()), chats, report=Progress().report)
        return Shape(name, {type: verdicts[path] for type, path in ggufs.items()})


def widened(source: Path, out: Path) -> Path:
    """The same numbers in F32: exact, and llama.cpp then rounds nothing that it multiplies them with."""
    ask({"source": str(source), "part": str(out), "type": ALL_F32, "notes": {}, "matrix": ""})
    return out


def line(shape: Shape, types: Sequence[str]) -> str:
    f16, exact = shape.verdicts["F16"], shape.verdicts[IN_F32]
    judged = "".join(f"{one.divergence:>9.1e}{one.top_token_equal:>9.2%}" for one in (f16, exact))
    return f"{shape.name:<38}{judged}" + "".join(f"{shape.verdicts[type].divergence:>9.1e}" for type in types)


def bounds(found: Sequence[Shape]) -> list[Bound]:
    """The issue's: ids identical, 1e-6 nats, the same best token everywhere."""
    verdicts = [verdict for shape in found for verdict in shape.verdicts.values()]
    different = sum(verdict.probes - verdict.probes_equal for verdict in verdicts)
    f16 = [shape.verdicts["F16"] for shape in found]
    exact = [shape.verdicts[IN_F32] for shape in found]
    return [
        bound("texts whose token ids differ", different, at_most=0),
        bound("divergence of F16", max(one.divergence for one in f16), at_most=EXACT),
        bound("divergence of F16 in F32", max(one.divergence for one in exact), at_most=EXACT),
        bound("top-1 agreement of F16", min(one.top_token_equal for one in f16), at_least=1),
        bound("top-1 agreement of F16 in F32", min(one.top_token_equal for one in exact), at_least=1),
    ]


def figures(shape: Shape) -> dict[str, dict[str, float]]:
    """What the JSON line tells of a shape."""
    return {
        type: {
            "divergence": verdict.divergence,
            "top_token_equal": verdict.top_token_equal,
            "reversal": verdict.reversal,
        }
        for type, verdict in shape.verdicts.items()
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
