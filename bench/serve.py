"""How fast the chat is there and how fast it writes: cold start, decode speed, `--help`, imports.

    python bench/serve.py [--quick] [--model REF]

Cold start is measured on the real command, process start included: to the first byte of the page (at first
a page that says "loading the model" and opens by itself), to the chat page, to the model being ready, to
the first token of an answer. Decode speed is a ratio to a bare llama.cpp loop on the same file in the same
run (bench/decode.py).
"""

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backtalk.models import resolve
from backtalk.visitor import Server
from bench.decode import decode_ratio
from bench.report import bound, report

HELP_SECONDS = 0.3
DECODE_RATIO = 0.95
PATIENCE = 120.0
MOMENTS = ("first byte", "chat page", "model ready", "first token")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="at most a minute; the figures are not quoted")
    parser.add_argument("--model", default="mini")
    args = parser.parse_args()
    starts = [cold_start(args.model) for _ in range(1 if args.quick else 5)]
    helps = [seconds_of([sys.executable, "-m", "backtalk", "--help"]) for _ in range(5 if args.quick else 20)]
    imported = import_app()
    model = resolve(args.model)
    speed = decode_ratio(model, rounds=3 if args.quick else 15)

    print(
        f"cold start of `backtalk chat --model {args.model}`, seconds: "
        f"median of {len(starts)}, lowest, highest"
    )
    for moment in MOMENTS:
        times = [start[moment] for start in starts]
        print(f"  to {moment:<12} {statistics.median(times):6.2f}  {min(times):6.2f}  {max(times):6.2f}")
    print(f"`backtalk --help`  {statistics.median(helps):.3f} s (highest {max(helps):.3f})")
    print(f"`import app`       {imported['seconds']:.2f} s, torch loaded: {imported['torch']}")
    print(
        f"decode on {model.path.name} ({speed['threads']:.0f} threads): "
        f"engine {speed['engine']:.0f} tokens/s, bare loop {speed['bare']:.0f}, ratio {speed['ratio']:.3f}"
    )
    report(
        "serve",
        [
            bound("backtalk --help, seconds", statistics.median(helps), at_most=HELP_SECONDS),
            bound("torch modules after import app", imported["torch_modules"], at_most=0),
            bound("decode, engine / bare llama.cpp loop", speed["ratio"], at_least=DECODE_RATIO),
        ],
        cold_start={moment: [start[moment] for start in starts] for moment in MOMENTS},
    )


def cold_start(ref: str) -> dict[str, float]:
    """Seconds from starting the process to each moment."""
    port = free_port()
    at = f"http://127.0.0.1:{port}"
    server = Server(at)
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "BACKTALK_HOME": home}
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "backtalk", "chat", "--model", ref, "--port", str(port)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            moments = {}
            wait_for(lambda: get(f"{at}/"))
            moments["first byte"] = time.perf_counter() - started
            wait_for(lambda: b"gradio" in get(f"{at}/"))
            moments["chat page"] = time.perf_counter() - started
            server.wait(PATIENCE)
            moments["model ready"] = time.perf_counter() - started
            first_piece_of_an_answer(server)
            moments["first token"] = time.perf_counter() - started
            return moments
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


def first_piece_of_an_answer(server: Server) -> None:
    """Asks as the page does and returns when the first text arrives."""
    request = {
        "visitor": server.run("enter", {})["visitor"],
        "conversation": "bench-conversation",
        "request": "bench-request",
        "messages": [],
        "question": "where is my order 4821?",
        "controls": {"temperature": 0},
    }
    for step in server.ask(request):
        if "error" in step:
            raise RuntimeError(step["error"])
        if "html" in step:
            return
    raise RuntimeError("the answer ended without a piece of text")


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        return answer.read()


def wait_for(arrived: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if arrived():
                return
        except (urllib.error.URLError, ConnectionError, ValueError):
            pass
        time.sleep(0.01)
    raise TimeoutError(f"nothing after {PATIENCE:g} s")


def seconds_of(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def import_app() -> dict[str, Any]:
    code = (
        "import sys, time; t = time.perf_counter(); import app.serve; "
        "import app.desk.answering, app.flags.flagging; "
        "print(time.perf_counter() - t, sum(name.partition('.')[0] == 'torch' for name in sys.modules))"
    )
    seconds, modules = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    return {"seconds": float(seconds), "torch": int(modules) > 0, "torch_modules": int(modules)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    main()
