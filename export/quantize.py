"""A GGUF of 16 or 32 bits -> smaller ones, by llama.cpp's own C function, without its tools.

    python -m export quantize models/mini-F16.gguf --types Q4_K_M,Q8_0 --imatrix mini-imatrix.gguf

Before the work starts it is known how large each file will be and whether the disk has room for all. A file
is under its name only when it is whole; which file, matrix and quantizer it comes from stands in its
metadata, so one that is there already is not made again. The same input gives the same bytes.
"""

import math
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gguf

from backtalk.engine.machine import usable_cores
from backtalk.errors import BacktalkError, ModelError, WordsError, nearest
from backtalk.files import sha256_of
from backtalk.progress import Progress
from backtalk.verb import Parser, report_json
from export.imatrix import TOKENS, Matrix, is_gguf, make_imatrix, read_imatrix
from export.quantizer import ask
from export.unfinished import unfinished

TYPES: dict[str, int] = {
    name: gguf.LlamaFileType[f"MOSTLY_{name}"].value
    for name in (
        *("F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q3_K_M", "Q2_K"),
        *("IQ4_NL", "IQ4_XS", "IQ3_M", "IQ3_S", "IQ3_XS", "IQ3_XXS"),
        *("IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S"),
    )
}
WIDE = {"f32", "f16", "bf16"}  # what a source may hold: quantizing twice loses twice
ALIGNMENT = 32  # bytes to which llama.cpp pads each tensor
SPARE_BYTES = 16 * 2**20  # room that the disk needs beside the files

SOURCE, MATRIX, QUANTIZER = (
    "backtalk.source_sha256",
    "backtalk.imatrix_sha256",
    "backtalk.quantizer",
)


@dataclass(frozen=True)
class Fallback:
    """A tensor whose rows do not divide into blocks of the type, and the type that it gets instead."""

    tensor: str
    columns: int
    wanted: str
    taken: str


@dataclass(frozen=True)
class Plan:
    """What one type will be: its file, the size of that to the byte, and what else is known beforehand."""

    type: str
    path: Path
    bytes: int
    made: bool
    """The file is there already, from the same source, matrix and quantizer."""
    fallbacks: tuple[Fallback, ...]
    unweighed: tuple[str, ...]
    """Tensors that are quantized and not in the matrix; empty without one."""
    needs_matrix: bool


def plan_types(
    source: Path, folder: Path, types: Sequence[str], *, name: str = "", imatrix: Path | None = None
) -> list[Plan]:
    """One plan for each of `types`, files named NAME-TYPE.gguf in `folder`; nothing is written.

    Raises WordsError for an unknown type, ModelError for a source or matrix that cannot be used.
    """
    paths = _paths(source, folder, types, name)
    return _plans(_order(source, imatrix), paths)


def quantize(
    source: Path,
    folder: Path,
    types: Sequence[str],
    *,
    name: str = "",
    imatrix: Path | None = None,
    threads: int = 0,
    report: Callable[[str], None] = lambda _: None,
) -> list[Plan]:
    """Makes every one of `types` and returns their plans. `threads` 0 takes the cores there are.

    Raises what `plan_types` does, and BacktalkError when the disk has too little room: before any work.
    """
    paths = _paths(source, folder, types, name)
    order = {**_order(source, imatrix), "threads": threads or usable_cores()}
    plans = _plans(order, paths)
    check_plans(plans, folder)
    for plan in plans:
        if not plan.made:
            _make(plan, order, report)
    return plans


def check_plans(plans: Iterable[Plan], folder: Path) -> None:
    """Raises when a type cannot be made: without a matrix that it needs, or for lack of disk."""
    waiting = [plan for plan in plans if not plan.made]
    if bare := [plan.type for plan in waiting if plan.needs_matrix]:
        raise WordsError(
            f"{', '.join(bare)} would be garbage without an importance matrix. Add --imatrix FILE."
        )
    needed = sum(plan.bytes for plan in waiting) + SPARE_BYTES
    free = shutil.disk_usage(_nearest_folder(folder)).free
    if waiting and free < needed:
        raise BacktalkError(
            f"{folder} needs {needed / 1e6:,.0f} MB for {', '.join(plan.type for plan in waiting)}, and "
            f"{free / 1e6:,.0f} MB are free. Free some, or name another folder."
        )


def stem(source: Path) -> str:
    """The model's name in a file's: `mini-F16.gguf` -> `mini`."""
    name, _, end = source.stem.rpartition("-")
    return name if name and end.upper() in {*TYPES, "F32"} else source.stem


def _paths(source: Path, folder: Path, types: Sequence[str], name: str) -> dict[str, Path]:
    """The file of each type. Raises before anything is read of a source that may be large."""
    if not source.is_file():
        raise ModelError(f"There is no file {source}. Make it with: python -m export convert")
    paths = {type: folder / f"{name or stem(source)}-{type}.gguf" for type in _known(types)}
    for path in paths.values():
        if path.exists() and path.samefile(source):
            raise WordsError(f"{path} would replace the file that it is made from. Name another folder.")
    return paths


def _known(types: Iterable[str]) -> list[str]:
    """The types in the order given, each once."""
    wanted = dict.fromkeys(type.strip().upper() for type in types if type.strip())
    for type in wanted:
        if type not in TYPES:
            raise WordsError(
                f"'{type}' is no type that is made here.{nearest(type, TYPES)} Known are {', '.join(TYPES)}."
            )
    if not wanted:
        raise WordsError(f"No type was named. Known are {', '.join(TYPES)}.")
    return list(wanted)


def _order(source: Path, imatrix: Path | None) -> dict[str, Any]:
    """What every order to the quantizer holds; the notes are what a file will say of its origin."""
    notes = {SOURCE: sha256_of(source), QUANTIZER: f"llama-cpp-python-{version('llama-cpp-python')}"}
    if imatrix:
        notes[MATRIX] = sha256_of(imatrix)
    return {"source": str(source), "matrix": str(imatrix or ""), "notes": notes}


def _plans(order: Mapping[str, Any], paths: Mapping[str, Path]) -> list[Plan]:
    matrix = read_imatrix(Path(order["matrix"])) if order["matrix"] else None
    there = [str(path) for path in paths.values() if path.exists()]
    look = ask({**order, "types": {type: TYPES[type] for type in paths}, "there": there})
    same = {path for path in there if look["found"][path] == order["notes"]}
    return [
        _plan(type, path, look["types"][type], look["header_bytes"], matrix, str(path) in same)
        for type, path in paths.items()
    ]


def _plan(
    type: str, path: Path, look: Mapping[str, Any], header: int, matrix: Matrix | None, same: bool
) -> Plan:
    sizes, quantized = [], {}
    for tensor in look["tensors"]:
        if tensor["kind"] not in WIDE:
            raise ModelError(
                f"The source holds {tensor['name']} as {tensor['kind']}, and quantizing twice loses twice. "
                "Convert the model again with --type F16 or BF16."
            )
        shape = [int(size) for size in tensor["shape"].split(",")]
        sizes.append(_padded_bytes(tensor["target"] or tensor["kind"], shape))
        if tensor["target"]:
            quantized[tensor["name"]] = shape
    size = header + sum(sizes)
    return Plan(
        type=type,
        path=path,
        bytes=size,
        made=same and path.stat().st_size == size,
        fallbacks=tuple(
            Fallback(found["name"], int(found["columns"]), found["wanted"].upper(), found["taken"].upper())
            for found in look["fallbacks"]
        ),
        unweighed=_unweighed(quantized, matrix),
        needs_matrix=look["needs_matrix"],
    )


def _padded_bytes(kind: str, shape: Sequence[int]) -> int:
    values, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind.upper()]]
    plain = math.prod(shape) // values * size
    return math.ceil(plain / ALIGNMENT) * ALIGNMENT


def _unweighed(quantized: Mapping[str, Sequence[int]], matrix: Matrix | None) -> tuple[str, ...]:
    """Names without an entry. Raises ModelError where an entry has another size than the tensor's rows."""
    if matrix is None:
        return ()
    for name, shape in quantized.items():
        found, wanted = matrix.values[name].size if name in matrix.values else 0, shape[0] * shape[2]
        if found and found != wanted:
            raise ModelError(
                f"The importance matrix has {found} values for {name}, which has {wanted} inputs. "
                "It was made from another model: make one from this."
            )
    return tuple(name for name in quantized if name not in matrix.values)


def _make(plan: Plan, order: Mapping[str, Any], report: Callable[[str], None]) -> None:
    def tell(number: int, count: int, tensor: str) -> None:
        report(f"{plan.type}: tensor {number} of {count}, {tensor}")

    with unfinished(plan.path) as part:
        ask({**order, "type": TYPES[plan.type], "part": str(part)}, tell)


def _nearest_folder(folder: Path) -> Path:
    """`folder`, or the first above it that is there already."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())


# ---- the command


def main(argv: list[str]) -> int:
    """`python -m export quantize SOURCE --types Q4_K_M,Q8_0`."""
    args = _parser().parse_args(argv)
    types, folder = args.types.split(","), args.out or args.source.parent
    progress = Progress()
    imatrix = _imatrix(args, folder, progress)
    if args.dry_run:
        plans = plan_types(args.source, folder, types, name=args.name, imatrix=imatrix)
    else:
        plans = quantize(
            args.source,
            folder,
            types,
            name=args.name,
            imatrix=imatrix,
            threads=args.threads,
            report=progress.report,
        )
        progress.done(f"{len(plans)} of {len(plans)} types are there")
    print(_table(plans, args.source.stat().st_size))
    if args.json:
        report_json({"source": str(args.source), "types": [_row(plan) for plan in plans]})
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m export quantize",
        description="Smaller GGUFs from one of 16 or 32 bits.",
        example="python -m export quantize models/mini-F16.gguf --types Q4_K_M,Q8_0 --imatrix chats.jsonl "
        "--model models/mini",
    )
    parser.add_argument("source", type=Path, help="the GGUF to start from: F16, BF16 or F32")
    parser.add_argument("--types", required=True, metavar="TYPE,TYPE", help=f"of {', '.join(TYPES)}")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the files (the source's)")
    parser.add_argument("--name", default="", help="files are NAME-TYPE.gguf (the source's name)")
    parser.add_argument(
        "--imatrix", type=Path, metavar="FILE", help="an importance matrix, or text to make one from"
    )
    parser.add_argument("--model", type=Path, metavar="DIR", help="with text: the Hugging Face model")
    parser.add_argument("--tokens", type=int, default=TOKENS, help=f"with text: tokens to read ({TOKENS:,})")
    parser.add_argument("--threads", type=int, default=0, help="cores to use (all that are free to use)")
    parser.add_argument("--dry-run", action="store_true", help="only say what each file will be")
    parser.add_json()
    return parser


def _imatrix(args: Any, folder: Path, progress: Progress) -> Path | None:
    """The matrix that the flags name: a file of one, or one made from text beside the results."""
    if args.imatrix is None:
        return None
    if not args.imatrix.is_file():
        raise WordsError(f"There is no file {args.imatrix}. Name an importance matrix, or text for one.")
    if is_gguf(args.imatrix):
        return args.imatrix
    if args.model is None:
        raise WordsError(f"{args.imatrix} is text, so the model that reads it is needed. Add --model DIR.")
    out = folder / f"{args.name or stem(args.source)}-imatrix.gguf"
    return make_imatrix(args.model, args.imatrix, out, args.tokens, progress.report)


def _table(plans: Sequence[Plan], source_bytes: int) -> str:
    lines = [f"{'type':<8}{'MB':>10}{'of source':>11}  file"]
    for plan in plans:
        share = plan.bytes / source_bytes
        lines.append(f"{plan.type:<8}{plan.bytes / 1e6:>10,.1f}{share:>11.1%}  {plan.path}{_remarks(plan)}")
    return "\n".join(lines)


def _remarks(plan: Plan) -> str:
    remarks = []
    if plan.made:
        remarks.append("was there already")
    if plan.needs_matrix:
        remarks.append("needs an importance matrix")
    if plan.fallbacks:
        first = plan.fallbacks[0]
        remarks.append(
            f"{len(plan.fallbacks)} tensors fall back, the first is {first.tensor}: rows of {first.columns} "
            f"do not divide into blocks of {first.wanted}, so it is {first.taken}"
        )
    if plan.unweighed:
        remarks.append(f"{len(plan.unweighed)} tensors are not in the matrix")
    return "".join(f"\n{'':<8}{remark}" for remark in remarks)


def _row(plan: Plan) -> dict[str, Any]:
    return {**asdict(plan), "path": str(plan.path)}
