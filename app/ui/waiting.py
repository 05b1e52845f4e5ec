"""The page before the page: answers on the port from the first moment, while the real server is imported.

It speaks the language that the browser asks for, as the page does.

with WaitingRoom(listener): import the rest
server.run(sockets=[listener])        connections that came in between wait in the socket's queue
"""

import re
import socket
import threading
from functools import cache
from html import escape
from types import TracebackType

from app.ui.words import read_words, wanted

PATIENCE_SECONDS = 0.5  # for a browser to say what it wants
LISTEN_SECONDS = 0.05  # how often the room looks whether it is to close
ACCEPTED = re.compile(rb"^accept-language:(.*)$", re.IGNORECASE | re.MULTILINE)

PAGE = """<!doctype html>
<html lang="{language}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><meta http-equiv="refresh" content="1"><title>{title}</title>
<style>body {{ font: 1rem/1.6 system-ui, sans-serif; display: grid; place-content: center; min-height: 90vh;
text-align: center; color: light-dark(#211e19, #ece7de); background: light-dark(#faf8f4, #171614) }}
h1 {{ font: 600 2rem ui-serif, Georgia, serif; margin: 0 }}
p {{ color: light-dark(#5d574d, #a9a297) }}</style></head>
<body><main><h1>{waiting}</h1><p>{loading} · {waiting_note}</p></main></body></html>
"""


class WaitingRoom:
    """Serves one small page to everybody on a listening socket until the block ends."""

    def __init__(self, listener: socket.socket):
        self._listener = listener
        self._closing = threading.Event()
        self._host = threading.Thread(target=self._welcome, name="waiting room", daemon=True)

    def __enter__(self) -> "WaitingRoom":
        self._listener.settimeout(LISTEN_SECONDS)
        self._host.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._host.join()

    def _welcome(self) -> None:
        while not self._closing.is_set():
            try:
                guest, _ = self._listener.accept()
            except TimeoutError:
                continue
            with guest:
                self._answer_one(guest)

    def _answer_one(self, guest: socket.socket) -> None:
        try:
            guest.settimeout(PATIENCE_SECONDS)
            asked = ACCEPTED.search(guest.recv(65536))
            guest.sendall(_answer_in(wanted(asked[1].decode("latin-1") if asked else "")))
            guest.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # a guest who left needs no page


@cache
def _answer_in(language: str) -> bytes:
    words, names = read_words(language), ("title", "waiting", "loading", "waiting_note")
    body = PAGE.format(language=language, **{name: escape(words[name]) for name in names}).encode()
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    return head + body
