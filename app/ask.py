"""`backtalk ask TEXT`: one answer in the terminal, streamed as it is written.

backtalk ask "where is my order 4821?"
"""

import secrets
import signal
import sys
from contextlib import closing
from dataclasses import asdict
from types import FrameType

from app.desk.answering import describe
from app.desk.conversation import LONGEST_MESSAGE, Controls, checked_text
from backtalk.engine import Limits, Stream, load
from backtalk.errors import WordsError
from backtalk.models import resolve
from backtalk.verb import Parser, report_json


def main(argv: list[str]) -> int:
    parser = Parser("ask", "One answer in the terminal.", example='backtalk ask "where is my order 4821?"')
    parser.add_argument("text", help="the question; - reads it from standard input")
    parser.add_argument(
        "--model", default="", metavar="REF", help="which model answers (default: promoted, else mini)"
    )
    parser.add_argument("--system", default="", metavar="TEXT", help="a system prompt")
    parser.add_argument(
        "--temperature", type=float, default=0.0, metavar="X", help="0 is the likeliest answer (default: 0)"
    )
    parser.add_argument(
        "--max-tokens", type=int, default=256, metavar="N", help="longest answer (default: 256)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=-1,
        metavar="N",
        help="draws repeat with the same seed (default: a fresh one)",
    )
    parser.add_json()
    args = parser.parse_args(argv)
    controls = Controls.from_form(
        system_prompt=args.system, temperature=args.temperature, max_tokens=args.max_tokens, seed=args.seed
    )
    question = checked_text(sys.stdin.read() if args.text == "-" else args.text, "question", LONGEST_MESSAGE)
    if not question:
        raise WordsError('The question is empty. For example: backtalk ask "where is my order 4821?"')
    return ask(question, args.model, controls, as_json=args.json)


def ask(question: str, ref: str, controls: Controls, as_json: bool) -> int:
    """Streams one answer to stdout; with `as_json` the last line tells what was sent and how it ended."""
    system = [{"role": "system", "content": controls.system_prompt}] if controls.system_prompt else []
    with closing(load(resolve(ref), limits=Limits(live=1))) as engine:
        prompt = engine.prompt([*system, {"role": "user", "content": question}], controls.max_tokens)
        sampling = controls.sampling(controls.seed if controls.seed >= 0 else secrets.randbelow(2**31))
        stream = engine.stream(prompt, sampling)
        cancel_on_interrupt(stream)
        answer = ""
        for piece in stream:
            answer += piece
            print(piece, end="", flush=True)
        print()
        if as_json:
            report_json(
                {
                    "answer": answer,
                    "model": describe(engine),
                    "sampling": asdict(sampling),
                    "ending": asdict(stream.ending),
                }
            )
    return 0


def cancel_on_interrupt(stream: Stream) -> None:
    """The first Ctrl-C stops the answer and keeps what is written; the next one ends the command."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stream.cancel()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, stop)
