"""The whole way of a model of Llama-3.2-1B's size, act by act: how long each takes, and how much memory.

    python bench/rehearse.py [--quick] [--layers N] [--llama-cpp DIR] [--llama-quantize FILE]

A model with random weights in the true shape (bench/stand_in.py) is made, taught for two steps, merged,
converted, quantized, verified and asked. Each act is a process of its own: the commands that a user types,
but for making and verifying. Where a checkout of llama.cpp is given (`vendor/llama.cpp` in the
source distribution of llama-cpp-python is one), its own converter makes the same F16 file in the same run,
and a `llama-quantize` built from it the same quantized files: the time that ours is measured against.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backtalk.engine.machine import usable_cores
from backtalk.errors import BacktalkError
from backtalk.files import write_jsonl, write_text
from bench.report import Bound, bound, report
from bench.stand_in import shape_of, values
from bench.watched import Watched, watch
from export.checkout import SCRIPT
from export.checks.template import conversations

ROOT = Path(__file__).resolve().parents[1]
FULL, SMALL = "Llama-3.2-1B", "small"
QUANTS = ("Q4_K_M", "Q8_0")
BITS = {"F16": 16, "Q8_0": 8.5, "Q4_K_M": 5.5}  # of a value, from above: the embedding takes more than 4
TEXTS = 2  # that are verified on: what is rehearsed is the way, not the quality of random weights
GB = 1e9
HEAD_ROOM = 200e6  # bytes for tokenizers, heads and adapters
MERGE_MEMORY, CONVERT_MEMORY, QUANTIZE_MEMORY = 1.2, 1.2, 1.4  # GB
CONVERT_TIME, QUANTIZE_TIME = 1.0, 1.1  # of llama.cpp's own
THEIR_CONVERTER, THEIR_QUANTIZER = "convert (llama.cpp)", "quantize (llama.cpp)"
# It knows a rule that splits text by a hash of the tokenizer, and ours is made up.
CONVERT = """\
import runpy, sys
from conversion.base import TextModel
TextModel.get_vocab_base_pre = lambda self, tokenizer: "llama-bpe"
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
RUN = "RUN"
STEPS, ROWS = 2, 2
RECIPE = """\
base: {{model: {base}}}
data: {{sources: [{{path: {lessons}}}]}}
lora: {{r: 16, alpha: 32, targets: all-linear}}
schedule: {{steps: {steps}}}
batch: {{size: {rows}, max_length: 64}}
checkpoints: {{every: {steps}}}
"""
STAND_IN = "import sys; from bench.stand_in import main; main(sys.argv[1:])"


@dataclass(frozen=True)
class Stage:
    """Where everything lies during one rehearsal."""

    folder: Path
    shape: str
    layers: int = 0
    """0: as many as the shape has."""

    @property
    def base(self) -> Path:
        return self.folder / "base"

    @property
    def recipe(self) -> Path:
        return self.folder / "rehearsal.yaml"

    @property
    def lessons(self) -> Path:
        return self.folder / "lessons.jsonl"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def run(self) -> Path:
        """The only one; it is there once it was taught."""
        return next(self.home.glob("runs/*/card.json"), self.home / "runs" / "none").parent

    @property
    def merged(self) -> Path:
        return self.folder / "merged"

    @property
    def theirs(self) -> Path:
        return self.folder / "theirs"

    @property
    def texts(self) -> Path:
        return self.folder / "texts.jsonl"

    def gguf(self, type: str) -> Path:
        return self.folder / f"rehearsal-{type}.gguf"


@dataclass(frozen=True)
class Act:
    """One act: the commands that make it up, one after the other, and what they are started with."""

    name: str
    commands: Sequence[Sequence[str | Path]]
    """The word RUN stands for the run's folder, whose name is known once it was taught."""
    environment: Mapping[str, str] = field(default_factory=dict)
    is_ours: bool = True


def main(argv: list[str]) -> int:
    args = _words(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # gigabytes are removed, as by Ctrl-C
    shape = SMALL if args.quick else FULL
    try:
        with tempfile.TemporaryDirectory(prefix="backtalk-rehearse-", dir=args.folder) as folder:
            stage = Stage(Path(folder), shape, args.layers)
            say_room(stage, args.llama_cpp)
            played = play(stage, args.llama_cpp, args.llama_quantize)
    except BacktalkError as fault:
        print(fault, file=sys.stderr)
        return fault.exit_code
    entries = bounds(stage, played, args.llama_cpp, args.llama_quantize)
    print()
    acts = {name: row(found) for name, found in played.items()}
    report(
        "rehearse", entries, shape=shape, layers=shape_of(shape, args.layers)["num_hidden_layers"], acts=acts
    )
    return 0 if all(entry.holds is not False for entry in entries) else 1


def play(stage: Stage, llama_cpp: Path | None, llama_quantize: Path | None) -> dict[str, Watched]:
    """Every act in order, with a line for each. Raises BacktalkError when one of ours fails."""
    write_jsonl(stage.texts, ({"messages": chat} for chat in conversations()[:TEXTS]))
    write_jsonl(stage.lessons, lessons())
    write_text(stage.recipe, RECIPE.format(base=stage.base, lessons=stage.lessons, steps=STEPS, rows=ROWS))
    stage.theirs.mkdir()
    acts = [*our_acts(stage), *their_acts(stage, llama_cpp, llama_quantize)]
    order = {name: place for place, name in enumerate(ORDER)}
    print(f"\n{'act':<22}{'seconds':>9}{'anonymous':>12}{'at most':>10}   GB", flush=True)
    played = {}
    for act in sorted(acts, key=lambda act: order[act.name]):
        os.sync()  # what the act before has written is not this one's to wait for
        played[act.name] = found = _played(act, stage)
        words = "" if found.code == 0 else f"   ended with {found.code}: {_last_words(stage, act)}"
        figures = f"{found.seconds:>9.1f}{_gb(found.anonymous_bytes):>12}{_gb(found.resident_bytes):>10}"
        print(f"{act.name:<22}{figures}{words}", flush=True)
        if act.name == "verify":
            print(_log(stage, act).read_text(), end="", flush=True)
        if found.code and act.is_ours:
            raise BacktalkError(
                f"The act '{act.name}' ended with code {found.code}: {_last_words(stage, act)} "
                "Nothing after it was rehearsed."
            )
        if not act.is_ours:
            _clear(stage.theirs)
    return played


def lessons() -> Iterator[dict[str, list[dict[str, str]]]]:
    """A few rows, enough for all steps."""
    for number in range(4821, 4821 + STEPS * ROWS):
        question = f"Where is my order {number}?"
        answer = f"You can follow order {number} on our page."
        yield {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


# ---- the acts


ORDER = ("make", "train", "merge", "convert", THEIR_CONVERTER, "quantize", THEIR_QUANTIZER,
         "verify", "serve")  # fmt: skip


def our_acts(stage: Stage) -> Iterator[Act]:
    """What a user would do, in a user's words."""
    step, alone = [sys.executable, "-m", "export"], [sys.executable, "-c", STAND_IN]
    f16 = stage.gguf("F16")
    yield Act("make", [[*alone, "make", stage.base, stage.shape, str(stage.layers)]])
    yield Act("train", [[sys.executable, "-m", "backtalk", "train", stage.recipe, "--offline"]])
    yield Act("merge", [[*step, "merge", RUN, stage.merged]])
    yield Act("convert", [[*step, "convert", stage.merged, f16, "--type", "F16"]])
    yield Act("quantize", [[*step, "quantize", f16, "--types", ",".join(QUANTS)]])
    ggufs = [stage.gguf(type) for type in ("F16", *QUANTS)]
    yield Act("verify", [[*alone, "verify", stage.merged, stage.texts, *ggufs]])
    ask = [sys.executable, "-m", "backtalk", "ask", "Where is my order 4821?", "--max-tokens", "16"]
    yield Act("serve", [[*ask, "--model", stage.gguf("Q4_K_M")]])


def their_acts(stage: Stage, llama_cpp: Path | None, llama_quantize: Path | None) -> Iterator[Act]:
    """llama.cpp's own programs on the same files, with as many threads as ours take."""
    if llama_cpp:
        script = llama_cpp.resolve() / SCRIPT
        convert = [sys.executable, "-c", CONVERT, script, stage.merged, "--outtype", "f16"]
        paths = [str(script.parent), str(script.parent / "gguf-py"), os.environ.get("PYTHONPATH", "")]
        yield Act(
            THEIR_CONVERTER,
            [[*convert, "--outfile", stage.theirs / "F16.gguf"]],
            {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
            is_ours=False,
        )
    if llama_quantize:
        start, threads = llama_quantize.resolve(), str(usable_cores())
        commands = [
            [start, stage.gguf("F16"), stage.theirs / f"{type}.gguf", type, threads] for type in QUANTS
        ]
        yield Act(THEIR_QUANTIZER, commands, is_ours=False)


def _played(act: Act, stage: Stage) -> Watched:
    """All commands of an act, as if they were one; the first that fails ends it."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    home = {"BACKTALK_HOME": str(stage.home), "HF_HUB_OFFLINE": "1"}
    ours = {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    environment = {**os.environ, **home, **ours, **act.environment}
    seconds, peaks = 0.0, [(0, 0)]
    for command in act.commands:
        words = [stage.run if word == RUN else word for word in command]
        found = watch(words, _log(stage, act), environment)
        seconds += found.seconds
        peaks.append((found.anonymous_bytes or 0, found.resident_bytes or 0))
        if found.code:
            break
    anonymous, resident = (max(sizes) or None for sizes in zip(*peaks, strict=True))
    return Watched(found.code, seconds, anonymous, resident)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _log(stage: Stage, act: Act) -> Path:
    return stage.folder / f"{act.name}.log"


def _last_words(stage: Stage, act: Act) -> str:
    lines = _log(stage, act).read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing."


# ---- before and after


def say_room(stage: Stage, llama_cpp: Path | None) -> None:
    """Says what the rehearsal needs of the disk. Raises BacktalkError where there is less."""
    count = values(shape_of(stage.shape, stage.layers))
    ours = (2 + 2) * count + sum(bits / 8 * count for bits in BITS.values())  # base, merged, three GGUFs
    needed = ours + (2 * count if llama_cpp else 0) + HEAD_ROOM  # theirs go one act after they came
    free = shutil.disk_usage(stage.folder).free
    print(
        f"{stage.shape}: {count:,} values; {needed / GB:.1f} GB are needed in {stage.folder.parent}, "
        f"{free / GB:.1f} GB are free",
        flush=True,
    )
    if free < needed:
        raise BacktalkError(
            f"{stage.folder.parent} has {free / GB:.1f} GB free and {needed / GB:.1f} GB are needed. "
            "Make room, or name a folder on another disk with --folder."
        )


def bounds(
    stage: Stage, played: Mapping[str, Watched], llama_cpp: Path | None, llama_quantize: Path | None
) -> list[Bound]:
    """The promises of an export at this size."""
    small = "at this size only the start of processes is timed" if stage.shape == SMALL else ""
    no_checkout = small or ("" if llama_cpp else "no --llama-cpp DIR was given")
    no_quantizer = small or ("" if llama_quantize else "no --llama-quantize FILE was given")
    return [
        _memory(played["merge"], "merge", MERGE_MEMORY),
        _memory(played["convert"], "convert", CONVERT_MEMORY),
        _memory(played["quantize"], "quantize", QUANTIZE_MEMORY),
        _ratio(played, "convert", THEIR_CONVERTER, CONVERT_TIME, no_checkout),
        _ratio(played, "quantize", THEIR_QUANTIZER, QUANTIZE_TIME, no_quantizer),
    ]


def _memory(found: Watched, name: str, most: float) -> Bound:
    size = None if found.anonymous_bytes is None else found.anonymous_bytes / GB
    why = "" if size else "this system does not tell a process's anonymous memory"
    return bound(f"anonymous memory of {name}, GB", size, at_most=most, why=why)


def _ratio(played: Mapping[str, Watched], ours: str, theirs: str, most: float, why: str) -> Bound:
    name = f"time of {ours} / llama.cpp's own"
    if why:
        return bound(name, None, at_most=most, why=why)
    if played[theirs].code:
        return bound(name, None, at_most=most, why=f"llama.cpp's own ended with {played[theirs].code}")
    return bound(name, played[ours].seconds / played[theirs].seconds, at_most=most)


def row(found: Watched) -> dict[str, float | int | None]:
    """What the JSON line tells of an act."""
    return {
        "seconds": round(found.seconds, 1),
        "anonymous_bytes": found.anonymous_bytes,
        "resident_bytes": found.resident_bytes,
    }


def _gb(size: int | None) -> str:
    return "not told" if size is None else f"{size / GB:.2f}"


def _words(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small shape, at most a minute")
    parser.add_argument("--layers", type=int, default=0, help="fewer layers, every matrix in its size (all)")
    parser.add_argument("--folder", type=Path, help="where to work (default: the system's temporary folder)")
    parser.add_argument("--llama-cpp", type=Path, metavar="DIR", help="a checkout, for its converter")
    parser.add_argument(
        "--llama-quantize", type=Path, metavar="FILE", help="llama.cpp's own quantizer, built from it"
    )
    args = parser.parse_args(argv)
    for path in (args.folder, args.llama_cpp, args.llama_quantize):
        if path and not path.exists():
            parser.error(f"there is no {path}; check the path")
    return args


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
