"""`/v1/chat/completions` and `/v1/models` for programs that show the key, as OpenAI's own clients ask.

    app = Api(desk, key)        an ASGI app

Programs stand in one line with the page's visitors and are answered by the page's model. Nothing of what they
ask is kept. Whoever hangs up ends the answer.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from threading import Thread

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from app.access.incoming import understood
from app.access.key import Key
from app.desk.answering import LINE_SECONDS, Desk
from app.programs.completions import (
    ANY_MODEL,
    Json,
    Refused,
    Wanted,
    chunk,
    fault,
    first_chunk,
    last_chunks,
    models,
    whole,
)
from backtalk.engine import Engine, Stream
from backtalk.errors import BacktalkError, WordsError

COMPLETIONS, MODELS = "/v1/chat/completions", "/v1/models"
LARGEST_REQUEST = 2**20  # bytes: more than any model here reads at once
JSON, EVENTS = b"application/json", b"text/event-stream"

Piece = str | Exception | None
"""Text; why there is no more; None at the end."""


class Api:
    """A desk, opened to programs."""

    def __init__(self, desk: Desk, key: Key):
        self._desk, self._key = desk, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply = Reply(send)
        try:
            await self._answer(Request(scope, receive), reply)
        except BacktalkError as error:
            await reply.fail(error)
        except ClientDisconnect:
            pass

    async def _answer(self, request: Request, reply: "Reply") -> None:
        if not self._key.opens(request.headers.get("authorization", "")):
            raise Refused("The key is missing or not this server's. Send: Authorization: Bearer KEY.", 401)
        if request.url.path == MODELS:
            await reply.whole(200, models(self._desk.engine.model.name))
            return
        wanted = self._for_our_model(Wanted.from_json(await _json(request)))
        async with self._begun(wanted) as stream, _hung_up(request.receive, stream.cancel):
            if wanted.is_streamed:
                await _send_events(wanted, stream, reply)
            else:
                text = "".join([piece async for piece in _pieces(stream)])
                await reply.whole(200, whole(wanted, text, stream.ending))

    def _for_our_model(self, wanted: Wanted) -> Wanted:
        name = self._desk.engine.model.name
        if wanted.model not in (name, ANY_MODEL):
            raise Refused(
                f"The model '{wanted.model[:80]}' is not served here. Ask for '{name}', "
                f"or for '{ANY_MODEL}', which is whatever answers.",
                404,
            )
        return replace(wanted, model=name)

    @asynccontextmanager
    async def _begun(self, wanted: Wanted) -> AsyncIterator[Stream]:
        """The answer that was asked for; its model is held until the block is left."""
        shift = self._desk.hold()
        try:
            stream = await run_in_threadpool(_ask, shift.engine, wanted)
            try:
                yield stream
            finally:
                stream.cancel()
        finally:
            shift.end()


class Reply:
    """One HTTP answer: whole, or event by event."""

    def __init__(self, send: Send):
        self._send = send
        self._has_begun = False

    async def whole(self, status: int, value: Json) -> None:
        await self._begin(status, JSON)
        await self._send({"type": "http.response.body", "body": json.dumps(value).encode()})

    async def event(self, value: Json) -> None:
        await self._write(f"data: {json.dumps(value)}\n\n")

    async def remark(self, text: str) -> None:
        """What clients read over; it keeps a connection from being taken for dead."""
        await self._write(f": {text}\n\n")

    async def done(self) -> None:
        await self._write("data: [DONE]\n\n", more=False)

    async def fail(self, error: BacktalkError) -> None:
        """As a status where nothing was sent yet, else as the last event."""
        status, value = fault(error)
        if not self._has_begun:
            await self.whole(status, value)
        else:
            await self._write(f"data: {json.dumps(value)}\n\n", more=False)

    async def _write(self, text: str, more: bool = True) -> None:
        if not self._has_begun:
            await self._begin(200, EVENTS)
        await self._send({"type": "http.response.body", "body": text.encode(), "more_body": more})

    async def _begin(self, status: int, kind: bytes) -> None:
        self._has_begun = True
        headers = [(b"content-type", kind), (b"cache-control", b"no-store")]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})


def _ask(engine: Engine, wanted: Wanted) -> Stream:
    """Programs of one user are as fair to others as one visitor; without a user they are not told apart."""
    prompt = engine.prompt(wanted.messages, wanted.sampling.max_tokens)
    return engine.stream(prompt, wanted.sampling, f"program {wanted.user}" if wanted.user else "")


async def _send_events(wanted: Wanted, stream: Stream, reply: Reply) -> None:
    await reply.event(first_chunk(wanted))
    async for text in _pieces(stream, idle=lambda: reply.remark(_waiting(stream))):
        await reply.event(chunk(wanted, text))
    for last in last_chunks(wanted, stream.ending):
        await reply.event(last)
    await reply.done()


def _waiting(stream: Stream) -> str:
    place = stream.place
    return f"number {place.position} in line, about {place.seconds:.0f} seconds" if place else "reading"


async def _pieces(stream: Stream, idle: Callable[[], Awaitable[None]] | None = None) -> AsyncIterator[str]:
    """The text as it comes, read in a thread of its own; `idle` is awaited each second without a word."""
    arrived: asyncio.Queue[Piece] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def hand_over(piece: Piece) -> None:
        with suppress(RuntimeError):  # the server has ended meanwhile
            loop.call_soon_threadsafe(arrived.put_nowait, piece)

    Thread(target=_read, args=(stream, hand_over), name="read for a program", daemon=True).start()
    while True:
        try:
            piece = await asyncio.wait_for(arrived.get(), LINE_SECONDS)
        except TimeoutError:
            if idle:
                await idle()
            continue
        if piece is None:
            return
        if isinstance(piece, Exception):
            raise piece
        yield piece


def _read(stream: Stream, hand_over: Callable[[Piece], None]) -> None:
    try:
        for text in stream:
            hand_over(text)
    except Exception as fault:
        hand_over(fault)
    else:
        hand_over(None)


@asynccontextmanager
async def _hung_up(receive: Receive, act: Callable[[], None]) -> AsyncIterator[None]:
    """Acts when the client goes away while the block runs."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        act()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


async def _json(request: Request) -> object:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_REQUEST:
            raise Refused(f"The request is larger than {LARGEST_REQUEST >> 20} MiB. Send less.", 413)
    try:
        return understood(body)
    except ValueError as fault:
        raise WordsError(str(fault)) from None
