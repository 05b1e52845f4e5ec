"""Does the loop learn, keep, resist and forget? Simulated stakeholders, real rounds on the bundled model.

    python bench/loop.py [--part one five poison votes gate kills retract hub] [--seeds 1 2 3 4 5] [--quick]

Each part is one promise of the round and takes less than 45 minutes on two cores: one round, five in a row, a
fifth of the flags poisoned, votes alone, the gate's errors, rounds that are killed, flags that are withdrawn,
and one round over a Hub, from a chat that uploads its flags to a chat that picks the new model up.
What is finished is kept under --work, and the same command goes on from there.
"""

import argparse
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.loop_parts.setting import Part, Setting
from bench.report import Bound, report

PARTS = ("one", "five", "poison", "votes", "gate", "kills", "retract", "hub")
QUICK_PARTS = ("one",)
SEEDS = (1, 2, 3, 4, 5)
WORK = Path(".backtalk") / "loop"


def main() -> int:
    args = _words()
    bounds: list[Bound] = []
    figures = {}
    for name in args.part:
        began = time.monotonic()
        work = (args.work / ("quick" if args.quick else "whole")).resolve()
        work.mkdir(parents=True, exist_ok=True)
        run: Callable[[Setting], Part] = import_module(f"bench.loop_parts.{name}").run
        part = run(Setting(work, tuple(args.seeds), args.quick))
        print(
            f"\n{name}\n{part.table}\n{time.monotonic() - began:.0f} s, what was finished before left out\n"
        )
        bounds += part.bounds
        figures[name] = part.figures
    report("loop", bounds, figures=figures, quick=args.quick)
    return 0 if args.quick or all(entry.holds is not False for entry in bounds) else 1


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", nargs="+", choices=PARTS, help="which parts (all; with --quick: one)")
    parser.add_argument(
        "--seeds", nargs="+", type=int, default=[], help="of parts one and poison; others take the first"
    )
    parser.add_argument("--quick", action="store_true", help="at most a minute; the figures say nothing")
    parser.add_argument("--work", type=Path, default=WORK, help=f"where what is finished is kept ({WORK})")
    args = parser.parse_args()
    args.part = args.part or (QUICK_PARTS if args.quick else PARTS)
    args.seeds = args.seeds or (SEEDS[:1] if args.quick else SEEDS)
    return args


if __name__ == "__main__":
    sys.exit(main())
