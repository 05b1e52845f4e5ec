"""`backtalk export RUN`: merge -> GGUF -> quantize -> verify, one command that can be interrupted anywhere.

    backtalk export 7f3a --quants Q4_K_M,Q5_K_M,Q8_0
    backtalk export models/mini --quants Q8_0

The result is BACKTALK_HOME/exports/ID, where ID follows from the inputs: the same command finds the same
export, finished or not, and goes on with the step that it was in. What is needed on the way (the merged
model, the F16 file) lies beside it in ID.parts and goes when the card is written, unless it is to be kept.
"""

import fcntl
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backtalk.card import NAME as CARD
from backtalk.card import Card, file_entry, write_card
from backtalk.errors import BacktalkError, ModelError, WordsError, nearest
from backtalk.files import read_json, sha256_of, write_json
from backtalk.home import home
from backtalk.progress import Progress
from backtalk.verb import Parser, report_json
from export import picture
from export.checks.answers import read_items
from export.convert import Metadata, convert
from export.exported import read_export
from export.imatrix import is_gguf, make_imatrix
from export.measured import Questions, Row, measure, table
from export.merge import merge
from export.quantize import TYPES, quantize
from export.source import Source, export_id, find_source
from export.verify import HELD_OUT, read_texts, verify_all

QUANTS = "Q4_K_M,Q5_K_M,Q8_0"
LIBRARIES = ("gguf", "llama-cpp-python", "numpy", "torch", "transformers")
HEAD_ROOM = 64 * 2**20  # bytes for heads, vocabularies and whoever else writes
SPARE = 1.1  # tensors whose rows do not fit a type's blocks take a wider one
Report = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """What is wanted, and with which files."""

    quants: tuple[str, ...]
    imatrix: Path | None = None
    texts: Path = HELD_OUT
    items: Path | None = None
    base: Path | None = None
    keep: bool = False

    def files(self) -> list[dict[str, Any]]:
        """The files beside the source, as entries of the card."""
        named = {"calibration": self.imatrix, "held-out text": self.texts, "items": self.items}
        return [
            {"role": role, **file_entry(path, path.parent)}
            for role, path in named.items()
            if path is not None
        ]


def export(source: Source, order: Order, progress: Progress) -> Path:
    """Makes and verifies every type of the order; returns the finished folder, its card written last.

    Raises BacktalkError when the disk has too little room or another process makes the same export.
    """
    folder = home() / "exports" / export_id(source, {"quants": sorted(order.quants)}, order.files())
    parts = folder.with_name(f"{folder.name}.parts")
    with _alone(parts):
        if not (folder / CARD).exists():
            check_room(source, order, folder, parts)
            model, f16 = _convert(source, order, parts, progress)
            ggufs = _quantize(model, f16, source, order, folder, parts, progress)
            rows = _verify(model, f16, ggufs, source, order, parts, progress.report)
            _finish(folder, source, order, rows)
        progress.done(f"{folder}: {len(read_export(folder).files)} files")
        if not order.keep:
            shutil.rmtree(parts)
    return folder


# ---- the steps


def _convert(source: Source, order: Order, parts: Path, progress: Progress) -> tuple[Path, Path]:
    """The folder of the whole model, and its F16 file."""
    model = source.folder
    if source.is_adapter:
        model = parts / "merged"
        merge(source.folder, model, base=order.base, progress=progress)
    f16 = parts / f"{source.name}-F16.gguf"
    if not f16.exists():
        progress.report("converting")
        convert(model, f16, "F16", Metadata(name=source.name))
    return model, f16


def _quantize(
    model: Path, f16: Path, source: Source, order: Order, folder: Path, parts: Path, progress: Progress
) -> dict[str, Path]:
    """The file of each type; those that are there already are not made again."""
    matrix = order.imatrix
    if matrix and not is_gguf(matrix):
        matrix = make_imatrix(model, matrix, parts / "imatrix.gguf", report=progress.report)
    plans = quantize(f16, folder, order.quants, name=source.name, imatrix=matrix, report=progress.report)
    return {plan.type: plan.path for plan in plans}


def _verify(
    model: Path,
    f16: Path,
    ggufs: Mapping[str, Path],
    source: Source,
    order: Order,
    parts: Path,
    report: Report,
) -> dict[str, Row]:
    """A row for each file. The F16 is judged as well: what it fails, no file that comes from it passes."""
    kept = parts / "verified.json"
    rows: dict[str, Row] = read_json(kept) if kept.exists() else {}
    waiting = {quant: path for quant, path in ggufs.items() if quant not in rows}
    if waiting:
        verdicts = verify_all(model, [f16, *waiting.values()], read_texts(order.texts), report=report)
        conversion = [f"conversion: {bound}" for bound in verdicts[f16].failed]
        questions = Questions(model, read_items(order.items) if order.items else [])
        for quant, path in waiting.items():
            row = measure(path, verdicts[path], source.bf16_bytes, questions, report)
            row["conversion_divergence"] = verdicts[f16].divergence
            row["failed"] = [*conversion, *row["failed"]]
            row["passed"] = not row["failed"]
            rows[quant] = row
            write_json(kept, rows)
    return {quant: rows[quant] for quant in ggufs}


def _finish(folder: Path, source: Source, order: Order, rows: Mapping[str, Row]) -> None:
    for quant, row in rows.items():
        path = folder / f"{source.name}-{quant}.gguf"
        if sha256_of(path) != row["sha256"]:
            raise ModelError(f"{path} was changed after it was verified. Delete it and export again.")
    picture.draw(rows, folder / picture.NAME, source.name)
    card = Card(
        kind="export",
        id=folder.name,
        inputs=[*source.inputs, *order.files()],
        recipe={"quants": list(order.quants), "imatrix": order.imatrix is not None},
        metrics=dict(rows),
    )
    write_card(folder, card, LIBRARIES)


# ---- before the work


def check_room(source: Source, order: Order, folder: Path, parts: Path) -> None:
    """Raises BacktalkError unless the disk has room for all steps together, less what is there already."""
    wanted = {
        "the merged model": 2 * source.bf16_bytes if source.is_adapter else 0,
        "the F16 file": source.bf16_bytes,
        **{quant: int(source.values * _bits(quant) / 8 * SPARE) for quant in order.quants},
    }
    there = sum(
        file.stat().st_size for place in (folder, parts) if place.is_dir() for file in place.rglob("*.*")
        if file.is_file() and file.suffix in (".gguf", ".safetensors")
    )  # fmt: skip
    needed = max(0, sum(wanted.values()) - there) + HEAD_ROOM
    free = shutil.disk_usage(parts).free
    if free < needed:
        listed = ", ".join(f"{name} {size / 1e6:,.0f}" for name, size in wanted.items() if size)
        raise BacktalkError(
            f"{folder.parent} has {free / 1e6:,.0f} MB free and about {needed / 1e6:,.0f} MB are needed "
            f"(in MB: {listed}). Make room, or set BACKTALK_HOME to a folder on a larger disk."
        )


def _bits(quant: str) -> float:
    """Bits for each value, from above: the type's own number and what its scales take."""
    if quant in ("F16", "BF16"):
        return 16.0
    digits = int(next(letter for letter in quant if letter.isdigit()))
    return digits + 1.0


@contextmanager
def _alone(parts: Path) -> Iterator[None]:
    """One process at a time makes an export; the lock goes with the process, however that ends."""
    parts.mkdir(parents=True, exist_ok=True)
    with open(parts / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BacktalkError(
                f"Another process is making {parts.stem} at this moment. Let it end, or stop it first."
            ) from None
        yield


# ---- the command


def main(argv: list[str]) -> int:
    """Exit code 1 where a file failed a bound."""
    args = _parser().parse_args(argv)
    for path in (args.imatrix, args.texts, args.items):
        if path is not None and not path.is_file():
            raise WordsError(f"There is no file {path}. Check the path.")
    quants = _known(args.quants.split(","))
    source = find_source(args.run, args.base, args.name)
    order = Order(quants, args.imatrix, args.texts, args.items, args.base, args.keep)
    folder = export(source, order, Progress())
    metrics = read_export(folder).card.metrics
    print("\n".join(table(metrics)))
    if args.json:
        report_json({"id": folder.name, "path": str(folder), "quants": metrics})
    return 0 if all(row["passed"] for row in metrics.values()) else 1


def _parser() -> Parser:
    parser = Parser(
        "export",
        "A run's adapter, or a whole model, as verified GGUF files.",
        example="backtalk export models/mini --quants Q8_0,Q4_K_M",
    )
    parser.add_argument("run", metavar="RUN", help="a run, its folder, or a Hugging Face model folder")
    parser.add_argument(
        "--quants", default=QUANTS, metavar="TYPE,TYPE", help=f"of {', '.join(TYPES)} (default: {QUANTS})"
    )
    parser.add_argument(
        "--imatrix", type=Path, metavar="FILE", help="an importance matrix, or one's own text to make it from"
    )
    parser.add_argument(
        "--texts", type=Path, default=HELD_OUT, metavar="FILE",
        help="held-out text: JSON lines of conversations, or plain text (default: the miniature's)",
    )  # fmt: skip
    parser.add_argument(
        "--items", type=Path, metavar="FILE", help="a curated set's eval.jsonl: answers of file and model"
    )
    parser.add_argument(
        "--base", type=Path, metavar="DIR", help="where the base lies, if not where the run says"
    )
    parser.add_argument("--name", default="", help="files are NAME-TYPE.gguf (default: the run's id)")
    parser.add_argument("--keep", action="store_true", help="keep the merged model and the F16 file")
    parser.add_json()
    return parser


def _known(named: Sequence[str]) -> tuple[str, ...]:
    """Refused before hours of work: a type that is not made."""
    quants = tuple(dict.fromkeys(name.strip().upper() for name in named if name.strip()))
    for quant in quants:
        if quant not in TYPES:
            raise WordsError(
                f"'{quant}' is no type that is made here.{nearest(quant, TYPES)} "
                f"Known are {', '.join(TYPES)}."
            )
    if not quants:
        raise WordsError(f"--quants names no type. Known are {', '.join(TYPES)}.")
    return quants
