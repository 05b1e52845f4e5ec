"""One request of a hostile client, and all that came back: HTTP spelled by hand, from many addresses.

    answer = Wire(port).send(Request("POST", "/gradio_api/run/mine", body=b"..."))
    answer.status, answer.text

What is answered in the queue is followed to its end. Each request comes from an address of its own within
127.0.0.0/8, where the system allows that, so that a pace for each address does not hide what lies behind it.
"""

import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

JSON = {"content-type": "application/json"}
SECONDS = 120.0  # that an answer may take
GLANCE_SECONDS = 3.0  # at a stream that may have no end
LARGEST_ANSWER = 4 * 2**20
QUEUED = re.compile(r"/gradio_api/call/\w+")
JOIN = "/gradio_api/queue/join"
LISTEN = "/gradio_api/queue/data"


@dataclass(frozen=True)
class Request:
    """`raw`: bytes that are sent as they are, in place of everything else."""

    method: str = "GET"
    path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    raw: bytes = b""


@dataclass(frozen=True)
class Answer:
    """`status` 0: the connection ended without one. `text` has everything, streams included."""

    status: int
    text: str

    @property
    def events(self) -> Iterator[object]:
        """What a stream told, event by event; of an answer without one, its JSON."""
        lines = [line[6:] for line in self.text.splitlines() if line.startswith("data: ")]
        for line in lines or [self.text]:
            try:
                yield json.loads(line)
            except ValueError:
                continue


class Wire:
    """Sends to one port of this machine."""

    def __init__(self, port: int):
        self._port = port

    def send(self, request: Request, number: int = 0) -> Answer:
        """`number` chooses the address that it comes from."""
        if request.raw:
            return self._spoken(request.raw, number)
        answer = self._asked(request, number)
        if answer.status != 200 or request.method != "POST":
            return answer
        if QUEUED.fullmatch(request.path) and (event := _named(answer.text, "event_id")):
            return self._asked(Request("GET", f"{request.path}/{event}", request.headers), number)
        session = _named(request.body.decode("utf-8", "replace"), "session_hash")
        if request.path.partition("?")[0] == JOIN and session:
            return self._asked(Request("GET", f"{LISTEN}?session_hash={session}"), number)
        return answer

    def _asked(self, request: Request, number: int) -> Answer:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._port, SECONDS, source_address=_source(number)
        )
        try:
            response = self._begin(connection, request)
            return Answer(response.status, _read(response, _patience(request)))
        except (OSError, http.client.HTTPException, ValueError) as fault:
            return Answer(0, repr(fault))
        finally:
            connection.close()

    def _begin(self, connection: http.client.HTTPConnection, request: Request) -> http.client.HTTPResponse:
        """Raises ValueError for what this client itself would not say."""
        connection.putrequest(request.method, request.path, skip_accept_encoding=True)
        for name, value in {"content-length": str(len(request.body)), **request.headers}.items():
            connection.putheader(name, value.encode("utf-8", "replace"))
        with suppress(BrokenPipeError, ConnectionResetError):  # it may be answered before it was read whole
            connection.endheaders(request.body)
        return connection.getresponse()

    def _spoken(self, raw: bytes, number: int) -> Answer:
        try:
            with socket.create_connection(("127.0.0.1", self._port), GLANCE_SECONDS, _source(number)) as line:
                line.sendall(raw)
                heard = line.recv(2**16)
        except OSError as fault:
            return Answer(0, repr(fault))
        found = re.match(rb"HTTP/1\.[01] (\d{3})", heard)
        return Answer(int(found[1]) if found else 0, heard.decode("utf-8", "replace"))


def _patience(request: Request) -> float:
    """Seconds for the whole answer: what is known to end is waited for."""
    ends = request.method == "POST" or "/call/" in request.path or request.path.startswith(LISTEN)
    return SECONDS if ends else GLANCE_SECONDS


def _source(number: int) -> tuple[str, int]:
    if not _has_many_addresses():
        return ("127.0.0.1", 0)
    return (f"127.{1 + number // 60_000 % 200}.{number // 250 % 240}.{1 + number % 250}", 0)


def _has_many_addresses() -> bool:
    try:
        with socket.socket() as probe:
            probe.bind(("127.1.2.3", 0))
        return True
    except OSError:
        return False


def _read(response: http.client.HTTPResponse, seconds: float) -> str:
    """The whole body, or what came of it in that time."""
    parts, size, deadline = [], 0, time.monotonic() + seconds
    if response.fp is not None and (raw := getattr(response.fp, "raw", None)) is not None:
        raw._sock.settimeout(seconds)
    try:
        while size < LARGEST_ANSWER and time.monotonic() < deadline and (part := response.read1(2**16)):
            parts.append(part)
            size += len(part)
    except (OSError, http.client.HTTPException):
        pass
    return b"".join(parts).decode("utf-8", "replace")


def _named(text: str, name: str) -> str:
    """A part of an object's JSON that is plain text; empty where there is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) and re.fullmatch(r"[\w-]+", found) else ""
