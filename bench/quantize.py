"""What each type costs in quality: size, divergence from the Hugging Face model, most likely tokens equal.

    python bench/quantize.py [--quick] [--types Q4_K_M,Q2_K] [--dialogues 60] [--calibration 20000]

On the bundled model. Types of 4 bits and less are made twice, without and with an importance matrix of
dialogues of the miniature's corpus; measured is on dialogues of another seed. A type that is garbage without
a matrix is only made with it.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backtalk.files import write_jsonl
from backtalk.progress import Progress
from bench.report import bound, report
from export.bounds import EXACT, NEAR
from export.convert import convert
from export.imatrix import make_imatrix, read_imatrix
from export.quantize import TYPES, plan_types, quantize
from export.verify import Messages, verify_all
from training.mini.corpus import dialogues

MODEL = Path(__file__).resolve().parents[1] / "models" / "mini"
CALIBRATION_SEED, MEASURING_SEED = 4101, 4202
WIDER = {"F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M"}  # made without a matrix only: it changes next to nothing
DIALOGUES, QUICK_DIALOGUES = 60, 5
TOKENS, QUICK_TOKENS = 20_000, 1_000
QUICK_TYPES = "F16,Q4_K_M"
SHORTEST = 10  # tokens that a dialogue has at least


@dataclass(frozen=True)
class Quality:
    """One file: what it is and how near it comes."""

    type: str
    matrix: bool
    bytes: int
    share: float
    divergence: float
    top_token_equal: float


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--types", help="of " + ", ".join(TYPES))
    parser.add_argument("--dialogues", type=int, help="to measure on")
    parser.add_argument("--calibration", type=int, help="tokens of the importance matrix")
    args = parser.parse_args(argv)
    types = (args.types or (QUICK_TYPES if args.quick else ",".join(TYPES))).split(",")
    count = args.dialogues or (QUICK_DIALOGUES if args.quick else DIALOGUES)
    tokens = args.calibration or (QUICK_TOKENS if args.quick else TOKENS)
    with tempfile.TemporaryDirectory() as folder:
        table, wrong = measure(Path(folder), types, count, tokens)
    print_table(table)
    report("quantize", bounds(table, wrong), table=[vars(row) for row in table], calibration_tokens=tokens)


def measure(folder: Path, types: Sequence[str], count: int, tokens: int) -> tuple[list[Quality], int]:
    """Every type without and with the matrix, and by how many bytes a predicted size was off."""
    source = convert(MODEL, folder / "mini-F16.gguf", "F16")
    text = folder / "calibration.jsonl"
    write_jsonl(text, ({"messages": rows} for rows in said(CALIBRATION_SEED, tokens // SHORTEST)))
    progress = Progress()
    matrix = make_imatrix(MODEL, text, folder / "imatrix.gguf", tokens, progress.report)
    progress.done(f"importance matrix of {read_imatrix(matrix).tokens:,} tokens")
    plain = [plan.type for plan in plan_types(source, folder / "without", types) if not plan.needs_matrix]
    narrow = [type for type in types if type not in WIDER]
    files = [(plan, False) for plan in quantize(source, folder / "without", plain, report=progress.report)]
    if narrow:
        weighed = quantize(source, folder / "with", narrow, imatrix=matrix, report=progress.report)
        files += [(plan, True) for plan in weighed]
    found = verify_all(MODEL, [plan.path for plan, _ in files], said(MEASURING_SEED, count))
    table = [
        Quality(
            plan.type,
            with_matrix,
            plan.bytes,
            plan.bytes / source.stat().st_size,
            found[plan.path].divergence,
            found[plan.path].top_token_equal,
        )
        for plan, with_matrix in sorted(files, key=lambda entry: types.index(entry[0].type))
    ]
    print(f"measured on {found[files[0][0].path].tokens:,} tokens of {count} dialogues")
    return table, max(abs(plan.path.stat().st_size - plan.bytes) for plan, _ in files)


def said(seed: int, count: int) -> list[Messages]:
    return [list(dialogue.messages) for dialogue in islice(dialogues(seed), count)]


def print_table(table: Sequence[Quality]) -> None:
    print(f"\n{'type':<9}{'matrix':<8}{'MB':>7}{'of F16':>9}{'KL, nats':>12}{'top-1':>9}")
    for row in table:
        print(
            f"{row.type:<9}{'with' if row.matrix else '-':<8}{row.bytes / 1e6:>7.2f}{row.share:>9.1%}"
            f"{row.divergence:>12.2e}{row.top_token_equal:>9.2%}"
        )
    print()


def bounds(table: Sequence[Quality], wrong: int) -> list:
    found = {(row.type, row.matrix): row.divergence for row in table}
    kept = {
        "divergence of F16": bound("divergence of F16", found.get(("F16", False)), at_most=EXACT),
        "divergence of Q8_0": bound("divergence of Q8_0", found.get(("Q8_0", False)), at_most=NEAR),
    }
    for type in ("Q4_K_M", "Q3_K_M", "Q2_K"):
        if (type, True) in found and (type, False) in found:
            name = f"divergence of {type}, with matrix over without"
            kept[name] = bound(name, found[type, True] / found[type, False], at_most=1)
    return [
        bound("bytes that a predicted size is off", wrong, at_most=0),
        *(entry for entry in kept.values() if entry.value is not None),
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
