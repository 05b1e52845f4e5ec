"""An engine behind the smallest HTTP server: what bench/visitors.py talks to, as it talks to the peers.

    main(["backtalk", "model.gguf", "--port", "8081", "--live", "8"])
    main(["locked", "model.gguf", "--port", "8081"])      llama-cpp-python's Llama and a lock

It answers POST /v1/chat/completions, streamed; GET /health; and GET /metrics where the engine has numbers.
"""

import argparse
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backtalk.errors import BacktalkError

Chunk = dict[str, Any]


class Answering(Protocol):
    """What is served."""

    def chunks(self, request: dict[str, Any]) -> Iterator[Chunk]: ...

    def metrics(self) -> str: ...


class Ours:
    """Backtalk's engine."""

    def __init__(self, path: Path, context: int, live: int, threads: int):
        from backtalk.engine import Limits, load
        from backtalk.models import Model

        self._engine = load(Model(path.stem, path, ""), context, threads, Limits(live=live, queue=1000))

    def chunks(self, request: dict[str, Any]) -> Iterator[Chunk]:
        from backtalk.engine import Sampling

        most = request["max_tokens"]
        sampling = Sampling(request["temperature"], max_tokens=most, seed=request["seed"])
        prompt = self._engine.prompt(request["messages"], most)
        stream = self._engine.stream(prompt, sampling, request.get("user", ""))
        try:
            for text in stream:
                yield _chunk(text)
        finally:
            stream.cancel()
        ending = stream.ending
        usage = {
            "prompt_tokens": ending.prompt_tokens,
            "completion_tokens": ending.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": ending.cached_tokens},
        }
        yield {**_chunk("", ending.finish_reason), "usage": usage}

    def metrics(self) -> str:
        from backtalk.engine.prometheus import as_text

        return as_text(self._engine.metrics())


class Locked:
    """llama-cpp-python's own class, one visitor at a time."""

    def __init__(self, path: Path, context: int, live: int, threads: int):
        from llama_cpp import Llama

        self._llama = Llama(
            str(path), n_ctx=context, n_threads=threads, n_threads_batch=threads, verbose=False
        )
        self._lock = threading.Lock()

    def chunks(self, request: dict[str, Any]) -> Iterator[Chunk]:
        wanted = {name: request[name] for name in ("messages", "max_tokens", "temperature", "seed")}
        with self._lock:
            yield from self._llama.create_chat_completion(**wanted, stream=True)

    def metrics(self) -> str:
        return ""


def _chunk(text: str, reason: str | None = None) -> Chunk:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=("backtalk", "locked"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--live", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    kind = {"backtalk": Ours, "locked": Locked}[args.kind]
    serve(kind(args.file, args.context, args.live, args.threads), args.port)


def serve(answering: Answering, port: int) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"  # the answer's end is the connection's

        def do_GET(self) -> None:
            self._begin("text/plain")
            self.wfile.write(answering.metrics().encode() if self.path == "/metrics" else b"ok")

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            chunks = answering.chunks(request)
            try:
                self._begin("text/event-stream")
                for chunk in chunks:
                    self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
                self.wfile.write(b"data: [DONE]\n\n")
            except BacktalkError as fault:
                self.wfile.write(f"data: {json.dumps({'error': str(fault)})}\n\n".encode())
            except OSError:  # the visitor has gone
                pass
            finally:
                chunks.close()  # type: ignore[attr-defined]

        def _begin(self, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 256
        daemon_threads = True

    Server(("127.0.0.1", port), Handler).serve_forever()
