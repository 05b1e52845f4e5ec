"""`backtalk experiment watch`: curves, table and control buttons of experiments in a browser.

    backtalk experiment watch --port 7870

The page reads what the experiment writes, and asks through the same verbs as a terminal; it may be opened and
closed while an experiment runs, and shows finished ones too. It listens on this machine alone unless told
otherwise: whoever reaches it may stop a configuration.
"""

import os

from app.maintain.watching import names
from backtalk.errors import WordsError, nearest
from backtalk.verb import Parser

PORT = 7870


def main(argv: list[str]) -> int:
    """`backtalk experiment watch`."""
    parser = Parser(
        "experiment watch",
        "Curves, table and control buttons of experiments in a browser, live.",
        example="backtalk experiment watch --port 7870",
    )
    parser.add_argument("id", nargs="?", default="", metavar="ID", help="the experiment that is shown first")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (this machine alone)")
    parser.add_argument("--port", type=int, default=PORT, help=f"the port ({PORT})")
    args = parser.parse_args(argv)
    found = [name for name in names() if name.startswith(args.id)]
    if args.id and not found:
        raise WordsError(f"There is no experiment '{args.id}' that has begun.{nearest(args.id, names())}")
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    from app.ui.experiments import serve_experiments

    print(f"Experiments are shown on http://{args.host}:{args.port}", flush=True)
    try:
        serve_experiments(args.host, args.port, found[0] if args.id else "")
    except OSError as fault:
        raise WordsError(
            f"Port {args.port} is taken ({fault}). Choose another: --port {args.port + 1}"
        ) from fault
    return 0
