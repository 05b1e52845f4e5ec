"""kill -9 in the midst of an export: does the next start finish with the same files?

    python bench/export.py [--quick] [--rounds 50] [--seed 1]

The bundled model is exported once undisturbed, which gives the hashes to end with and the time that it takes.
Then, round by round in a fresh state folder: the same command is killed (SIGKILL) at a random moment of that
time, the folder is looked at (no half file under a final name, no card), and the command is started again,
which has to finish with the same sha256 of every file.
"""

import argparse
import io
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backtalk.files import sha256_of, write_jsonl
from bench.report import bound, report
from export.chain import main as export
from export.checks.template import conversations

MODEL = Path(__file__).resolve().parents[1] / "models" / "mini"
ROUNDS, QUICK_ROUNDS = 50, 3
QUANTS = "Q8_0,Q4_K_M"
TEXTS = 4  # that are compared; what is killed matters here, not what is measured


@dataclass
class Tally:
    """What happened in all rounds together."""

    killed: int = 0
    half_files: int = 0
    unfinished: int = 0
    different: int = 0


def main() -> int:
    args = _words()
    chance, tally = random.Random(args.seed), Tally()
    with tempfile.TemporaryDirectory(prefix="backtalk-export-") as place:
        texts = Path(place) / "texts.jsonl"
        write_jsonl(texts, ({"messages": chat} for chat in conversations()[:TEXTS]))
        words = [str(MODEL), "--quants", QUANTS, "--texts", str(texts)]
        began = time.monotonic()
        assert _finish(Path(place) / "undisturbed", words)
        whole = time.monotonic() - began
        wanted = _hashes(Path(place) / "undisturbed")
        for number in count():
            if tally.killed == args.rounds:
                break  # one that was faster than its killer does not count
            _play_round(Path(place) / str(number), words, chance.uniform(0, whole), wanted, tally)
            print(f"{number + 1:>4} rounds  {tally.killed} killed  {tally.different} different", flush=True)
    print(f"\nan undisturbed export took {whole:.1f} s\n")
    bounds = [
        bound("exports killed", tally.killed, at_least=QUICK_ROUNDS if args.quick else ROUNDS),
        bound("half files under a final name", tally.half_files, at_most=0),
        bound("exports that the next start did not finish", tally.unfinished, at_most=0),
        bound("exports with another sha256", tally.different, at_most=0),
    ]
    report("export", bounds, seconds=round(whole, 1))
    return 0 if all(entry.holds for entry in bounds) else 1


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds, at most a minute")
    parser.add_argument("--rounds", type=int, default=0, help=f"how many rounds (default: {ROUNDS})")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments (default: 1)")
    args = parser.parse_args()
    args.rounds = args.rounds or (QUICK_ROUNDS if args.quick else ROUNDS)
    return args


def _play_round(home: Path, words: list[str], after: float, wanted: dict[str, str], tally: Tally) -> None:
    pid = _start(home, words)
    time.sleep(after)
    os.kill(pid, signal.SIGKILL)
    tally.killed += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    tally.half_files += sum(sha256 != wanted[name] for name, sha256 in _hashes(home).items())
    tally.unfinished += not _finish(home, words)
    tally.different += _hashes(home) != wanted


def _finish(home: Path, words: list[str]) -> bool:
    status = os.waitpid(_start(home, words), 0)[1]
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0


def _start(home: Path, words: list[str]) -> int:
    """The verb in a child of this process, which has loaded the libraries once for all; its pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.environ["BACKTALK_HOME"] = str(home)
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            code = export(words)
    finally:
        os._exit(code)


def _hashes(home: Path) -> dict[str, str]:
    """Of the files under final names; what is made on the way lies in folders of its own."""
    found = (path for path in home.glob("exports/*/*.gguf") if path.parent.suffix != ".parts")
    return {path.name: sha256_of(path) for path in found}


if __name__ == "__main__":
    import matplotlib.figure  # noqa: F401
    from transformers import LlamaForCausalLM  # noqa: F401

    sys.exit(main())
