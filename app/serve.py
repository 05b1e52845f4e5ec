"""`backtalk chat`: serves the chat in a browser.

    backtalk chat --model mini --port 7860

The port is taken first, so that a port in use is said at once and the first visitor sees a page while the
rest is imported; the model loads beside it. Without --model, or with `promoted`, what is promoted later takes
over between two answers. Where a dataset and a token are set, flags go there in the background. Where a key
is given, programs may ask at /v1/chat/completions. SIGTERM and Ctrl-C end it with exit code 0, after a last
flush of at most ten seconds.
"""

import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from app.access.key import Key, read_key
from app.settings import Settings
from backtalk.config import add_flags, from_sources
from backtalk.errors import WordsError
from backtalk.malloc import give_back_what_is_freed, share_one_arena
from backtalk.verb import Parser

if TYPE_CHECKING:
    import uvicorn

    from app.desk.answering import Desk
    from app.desk.follow import Follower
    from app.programs.beside import Beside
    from app.ui.sign_in import SignIn
    from app.ui.views import Views
    from backtalk.engine import Engine

GOODBYE_SECONDS = 1  # for streams to end; then their connections are closed
BACKLOG = 128
PORTS_TRIED = 20
SIGNALS = (signal.SIGTERM, signal.SIGINT)
ANYWHERE = ("0.0.0.0", "::")
PAGES = Path("/proc/self/statm")
MB = 2**20


def main(argv: list[str]) -> int:
    parser = Parser("chat", "Serve the chat in a browser.", example="backtalk chat --port 7861")
    add_flags(parser, Settings)
    settings = from_sources(Settings, flags=vars(parser.parse_args(argv)))
    return serve(settings)


def serve(settings: Settings) -> int:
    """Serves until a signal; returns the exit code."""
    from app.desk.answering import Desk
    from app.ui.waiting import WaitingRoom

    key = read_key(settings.api_key_file)
    share_one_arena()
    give_back_what_is_freed()
    for number in SIGNALS:
        signal.signal(number, leave_at_once)
    with listen(settings.host, settings.port) as listener:
        print(f"Backtalk is starting on {address(settings)}", flush=True)
        desk = Desk.for_model(settings.model, settings.context, settings.threads).start()
        follower = follow(desk, settings)
        threading.Thread(target=tell_state, args=(desk, follower is not None), daemon=True).start()
        with WaitingRoom(listener):
            views, beside = open_views(desk, settings, key)
            server = web_server(views, settings, beside, open_sign_in(settings))
        try:
            run_until_signal(server, listener, views.stop_all)
        finally:
            views.close()
            if follower:
                follower.stop()
            desk.close()
    return 0


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises WordsError when the port is taken, naming a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as fault:
        listener.close()
        raise WordsError(_cannot_listen(fault, host, port, family)) from fault
    return listener


def open_views(desk: "Desk", settings: Settings, key: Key | None) -> "tuple[Views, Beside]":
    """The tabs at a desk, and what is served beside the page; what they import takes seconds, which is why
    that is done here.
    """
    from app.flags.flagging import Flagging
    from app.programs.beside import beside_page
    from app.ui.views import open_views

    flagging = Flagging.at_home().start_sending()
    return open_views(desk, flagging, settings), beside_page(desk, flagging, settings, key)


def open_sign_in(settings: Settings) -> "SignIn":
    """Who may sign in: on a Space with the Hub's accounts, elsewhere whoever reads the link here."""
    from app.access.accounts import Accounts, Link
    from app.access.maintainers import maintainers
    from app.access.oauth import hub_sign_in
    from app.ui.sign_in import SignIn
    from backtalk.home import on_space

    hub = hub_sign_in()
    link = None if on_space() else Link()
    accounts = Accounts(maintainers(), link, framed=on_space())

    def tell_link() -> None:
        if link:
            print(
                f"To maintain it, open this link; it works once: {address(settings)}/#/sign-in/{link.key}",
                flush=True,
            )

    if on_space() and not hub:
        print("Nobody can sign in to maintain this Space: its README needs hf_oauth: true.", file=sys.stderr)
    tell_link()
    return SignIn(accounts, hub, tell_link)


def follow(desk: "Desk", settings: Settings) -> "Follower | None":
    """Takes over what is promoted while the chat runs; None where --model names one file for good."""
    from app.desk.follow import Follower
    from backtalk.promoted import pointer_of

    pointer = pointer_of(settings.model)
    return Follower(desk, pointer, settings.context, settings.threads).start() if pointer else None


def web_server(views: "Views", settings: Settings, beside: "Beside", sign_in: "SignIn") -> "uvicorn.Server":
    import uvicorn

    from app.ui.page import serve_page

    app = serve_page(views, settings, {**beside, **sign_in.routes()}, sign_in.maintainer)
    return uvicorn.Server(
        uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GOODBYE_SECONDS, lifespan="on")
    )


def run_until_signal(
    server: "uvicorn.Server", listener: socket.socket, stop_answers: Callable[[], None]
) -> None:
    """Runs the server; the first signal lets it end within a second, the next one ends it at once."""

    def leave(_signal: int, _frame: FrameType | None) -> None:
        server.force_exit = server.should_exit
        server.should_exit = True
        stop_answers()

    for number in SIGNALS:
        signal.signal(number, leave)
    # In a thread of its own, uvicorn leaves the signals to us: it would end with the signal's code, not 0.
    running = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="web server")
    running.start()
    while running.is_alive():
        running.join(0.2)


def leave_at_once(_signal: int, _frame: FrameType | None) -> None:
    """Before anybody can have asked anything there is nothing to end."""
    sys.exit(0)


def tell_state(desk: "Desk", follows: bool) -> None:
    """One line in the terminal when the model is there, or why it is not."""
    desk.wait()
    if desk.reason:
        print(f"{desk.reason} The page stays open and says so.", file=sys.stderr, flush=True)
        return
    stays = "" if follows else " It stays, whatever is promoted: --model names it."
    print(f"The model {desk.engine.model.name} is ready{what_it_takes(desk.engine)}.{stays}", flush=True)


def what_it_takes(engine: "Engine") -> str:
    """How many threads compute, and the memory that is in use now that it is loaded, as far as is known."""
    from backtalk.memory import free_bytes

    if engine.model.endpoint:
        return ", on another server"
    used, free = memory_in_use(), free_bytes()
    threads = f": {engine.threads} thread{'s' * (engine.threads != 1)}"
    return threads + (
        f", {used / MB:,.0f} MB of memory in use and {free / MB:,.0f} MB free" if used and free else ""
    )


def memory_in_use() -> int:
    """Bytes of RAM that this process holds; 0 where the system does not tell."""
    try:
        return int(PAGES.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def address(settings: Settings) -> str:
    """Where a browser on this machine finds the page."""
    host = "127.0.0.1" if settings.host in ANYWHERE else settings.host
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _cannot_listen(fault: Exception, host: str, port: int, family: int) -> str:
    if getattr(fault, "errno", None) == errno.EADDRINUSE:
        free = _free_port(host, port, family)
        return f"Port {port} is in use by another program. Take a free one: backtalk chat --port {free}"
    if getattr(fault, "errno", None) == errno.EACCES:
        return f"Port {port} is reserved for the system. Take one from 1024 on, such as --port 7860."
    return f"This machine cannot listen on {host}, port {port} ({fault}). Try --host 127.0.0.1."


def _free_port(host: str, port: int, family: int) -> int:
    for candidate in range(port + 1, min(port + PORTS_TRIED, 65536)):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except OSError:
                continue
            return candidate
    return 0
