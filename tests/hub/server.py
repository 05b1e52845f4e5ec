"""The local test Hub as a server: requests in, answers out, and the faults between them.

    with Hub(folder) as hub:                   http://127.0.0.1:<free port>, in a thread
        hub.faults.next("commit", cut(after=True))
        HfApi(endpoint=hub.endpoint, token="hf_write").create_repo("somebody/flags", repo_type="dataset")
    hub.requests                               what was asked, in order: "commit", "preupload", ...

One request is carried out at a time, as the Hub lets one commit at a time into a repository. The socket is
ours, so a connection can be cut at any point.
"""

import socket
import struct
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

from tests.hub.api import Api
from tests.hub.call import EVERYTHING, Answer, Request, Token, answer_json
from tests.hub.faults import Fault, Faults
from tests.hub.store import Refused, Store

POLL_SECONDS = 0.01  # how long at most a test waits for its Hub to end; some hundreds have one
TOKENS = {"hf_write": Token("somebody", (EVERYTHING,)), "hf_read": Token("somebody")}


class Hub:
    """A Hub on this machine."""

    def __init__(self, folder: Path, port: int = 0, tokens: Mapping[str, Token] = TOKENS):
        self.faults = Faults()
        self.requests: list[str] = []
        self._one_at_a_time = Lock()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.hub = self
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.store = Store(folder)
        self.tokens = dict(tokens)
        self._api = Api(self.store, self.tokens, self.endpoint)

    def __enter__(self) -> "Hub":
        self._thread = Thread(target=self._server.serve_forever, args=(POLL_SECONDS,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve_forever(self) -> None:
        self._server.serve_forever()

    def answer(self, request: Request) -> tuple[Answer, Fault]:
        """What to send back, and what is to go wrong while sending it."""
        route, carry_out = self._api.route(request)
        self.requests.append(route)
        fault = self.faults.draw(route) or Fault()
        if fault.delay:
            time.sleep(fault.delay)
        if (fault.cut or fault.status) and not fault.after:
            return _faulty(route, fault), fault
        with self._one_at_a_time:
            try:
                answer = carry_out()
            except Refused as refusal:
                answer = _refused(refusal)
        return (_faulty(route, fault) if fault.status else answer), fault


def _refused(refusal: Refused) -> Answer:
    headers = {"X-Error-Message": refusal.message}
    if refusal.code:
        headers["X-Error-Code"] = refusal.code
    if refusal.more:
        headers["X-Repo-Commit"] = refusal.more["commit"]
    return answer_json({"error": refusal.message}, refusal.status, **headers)


def _faulty(route: str, fault: Fault) -> Answer:
    busy = "Cannot create repo: another conflicting operation is in progress"
    said = busy if route == "create" and fault.status == 409 else "A fault of the test Hub."
    more = {"Retry-After": fault.retry_after} if fault.retry_after else {}
    return answer_json({"error": said}, fault.status, **more)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    hub: Hub

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is nobody's fault."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _serve(self) -> None:
        address = urlsplit(self.path)
        query = parse_qs(address.query)
        request = Request(self.command, address.path, query, self.headers, self._body())
        answer, fault = self.server.hub.answer(request)
        if fault.cut and not fault.half:
            self._cut()
        else:
            self._send(answer, half=fault.half)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(iter(self._chunk, b""))
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline().split(b";")[0], 16)
        content = self.rfile.read(size)
        self.rfile.readline()
        return content

    def _send(self, answer: Answer, half: bool) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[: len(answer.body) // 2] if half else answer.body)
        if half:
            self._cut()

    def _cut(self) -> None:
        """Ends the connection at once, without the goodbye that would make it look orderly."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, format: str, *words: object) -> None:
        """Nothing: `hub.requests` knows."""
