"""How fast a file answers on this machine and what memory it takes, in a process of its own that serves it.

    python -m export.checks.serving exports/shop/shop-Q4_K_M.gguf

It is loaded and asked through the same engine as in the app, greedily, the thirty conversations' questions.
"""

import json
import subprocess
import sys
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from backtalk.engine import Ending, Sampling, load
from backtalk.errors import BacktalkError, ModelError
from backtalk.files import sha256_of
from backtalk.models import Model
from export.checks.template import conversations

QUESTIONS = 8
LONGEST_ANSWER = 48  # tokens
STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Serving:
    """Tokens per second of prompts and of answers; peak memory in bytes, all of it and the anonymous part.

    A mapped file counts for the first and not for the second. 0: this system does not tell.
    """

    prompt_tokens_per_second: float
    tokens_per_second: float
    peak_bytes: int
    anonymous_bytes: int


def measure_serving(gguf: Path) -> Serving:
    """Raises ModelError where the file cannot be served."""
    done = subprocess.run(
        [sys.executable, "-m", "export.checks.serving", str(gguf)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"the process ended with {done.returncode}"]
        raise ModelError(f"{gguf} cannot be served: {said[-1]}")
    return Serving(**json.loads(done.stdout.splitlines()[-1]))


def _serve(gguf: Path) -> Serving:
    with closing(load(Model(gguf.stem, gguf, sha256_of(gguf)))) as engine:
        endings = []
        for chat in conversations()[:QUESTIONS]:
            question = [message for message in chat if message["role"] == "user"][:1]
            prompt = engine.prompt(question, LONGEST_ANSWER)
            stream = engine.stream(prompt, Sampling(temperature=0, max_tokens=LONGEST_ANSWER))
            for _ in stream:
                pass
            endings.append(stream.ending)
        return Serving(*_speeds(endings), _kilobytes("VmHWM") * 1024, _kilobytes("RssAnon") * 1024)


def _speeds(endings: list[Ending]) -> tuple[float, float]:
    """Of prompts and of answers. The first token of an answer belongs to its prompt."""
    read = sum(ending.prompt_tokens - ending.cached_tokens for ending in endings)
    reading = sum(ending.first_token_ms for ending in endings) / 1000
    fluent = [ending for ending in endings if ending.tokens_per_second]
    written = sum(ending.completion_tokens - 1 for ending in fluent)
    writing = sum((ending.completion_tokens - 1) / ending.tokens_per_second for ending in fluent)
    return round(read / reading, 1) if reading else 0.0, round(written / writing, 1) if writing else 0.0


def _kilobytes(name: str) -> int:
    """A line of the kernel's record of this process; memory is never given back before the end."""
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


def main() -> int:
    try:
        print(json.dumps(asdict(_serve(Path(sys.argv[1]).resolve()))))
        return 0
    except BacktalkError as fault:
        print(fault, file=sys.stderr)
        return fault.exit_code


if __name__ == "__main__":
    sys.exit(main())
