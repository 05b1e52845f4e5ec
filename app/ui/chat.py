"""The chat tab: what the page asks the server, each question one JSON object, each answer one too.

    enter    a visitor comes in        -> visitor token, state of the model
    status   how is the model?         -> state of the model
    ask      a question                -> question, place in line, text as it grows, signed answer   (streams)
    stop     no more of this answer    -> stopped
    open     a kept conversation       -> its answers as HTML, quiet lines, flags
    save     a vote and its details    -> "saved" once it is on disk
    preview  the same, to be looked at -> the texts as they would be stored, their masks marked
    agree    what may leave            -> the flags of this conversation, or all, under that consent
    receipts where are these flags?    -> saved here, waiting, or on the Hub at a commit

Promise: only `ask` waits in the queue; a fault comes back as {"error": one sentence}, whatever was sent.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from app.desk.answering import READY, Answer, Desk, describe
from app.desk.conversation import Controls, sent_facts, title
from app.desk.transcript import Message, conversation_id, new_visitor, verify
from app.desk.transcript import visitor as visitor_of
from app.flags.consent import version
from app.flags.fixes import Fixes
from app.flags.flagging import Flagging
from app.ui.endpoint import Json, as_object, at_once, calmly, streamed, told
from app.ui.markdown import render
from app.ui.running import Running, request_id
from app.ui.shop import is_shop
from backtalk.attribution import built_with
from backtalk.engine import Limits
from backtalk.errors import BacktalkError, TranscriptError, WordsError

BEYOND = 8  # more than the engine lets in: whoever is too many hears so from it, and does not wait unseen
ANSWERS_AT_ONCE = Limits.live + Limits.queue + BEYOND  # the engine itself decides whose turn it is


class Chat:
    """Answers the page. Holds nothing of a visitor but the answers that are being written."""

    name = "chat"

    def __init__(self, desk: Desk, flagging: Flagging):
        self._desk, self._flagging = desk, flagging
        self._running = Running()
        self._fixes = Fixes()

    def stop_all(self) -> None:
        """Stops every answer that is being written; what was written reaches its visitor."""
        self._running.stop_all()

    def close(self) -> None:
        self.stop_all()
        self._flagging.close()

    def endpoints(self) -> None:
        """Registers the questions above with the Gradio app that is being built."""
        questions = (
            self.enter, self.status, self.stop, self.open, self.save, self.preview, self.agree, self.receipts
        )  # fmt: skip
        for answer in questions:
            at_once(answer)
        streamed(self.ask, most=ANSWERS_AT_ONCE, line="desk")

    @calmly
    def enter(self, request: Json) -> Json:
        token = request.get("visitor")
        try:
            visitor_of(token)
        except TranscriptError:
            token = new_visitor()
        return {"visitor": token, "consent_version": version(), **self._state()}

    @calmly
    def status(self, request: Json) -> Json:
        return self._state()

    def ask(self, request: Json) -> Iterator[Json]:
        try:
            with self._begun(as_object(request)) as (answer, path_title):
                yield {"question": answer.question.to_json(), "title": path_title, "by": _named(answer.model)}
                for place in answer.in_line():
                    yield {"place": place.position, "seconds": round(place.seconds)}
                for text in answer:
                    yield {"html": render(text)}
                yield {"answer": answer.message.to_json(), **_shown(answer.message)}
        except BacktalkError as fault:
            yield told(fault)

    @calmly
    def stop(self, request: Json) -> Json:
        self._running.stop(visitor_of(request.get("visitor")), request_id(request))
        return {"stopped": True}

    @calmly
    def open(self, request: Json) -> Json:
        visitor, messages = _transcript(request)
        answers = [message for message in messages if message.role == "assistant"]
        return {
            "shown": {message.id: _shown(message) for message in answers},
            **self._flags(visitor, messages),
        }

    @calmly
    def save(self, request: Json) -> Json:
        visitor, messages = _transcript(request)
        message = _flagged(request)
        saved = self._flagging.save(visitor, messages, message, as_object(request.get("choice")))
        return {**saved, **self._flags(visitor, messages)}

    @calmly
    def preview(self, request: Json) -> Json:
        visitor, messages = _transcript(request)
        return self._flagging.preview(visitor, messages, _flagged(request), as_object(request.get("choice")))

    @calmly
    def agree(self, request: Json) -> Json:
        visitor, messages = _transcript(request)
        consent, everywhere = as_object(request.get("consent")), request.get("everywhere") is True
        count = self._flagging.agree(visitor, messages, consent, everywhere)
        return {"count": count, **self._flags(visitor, messages)}

    @calmly
    def receipts(self, request: Json) -> Json:
        return {
            "receipts": self._flagging.receipts(visitor_of(request.get("visitor")), request.get("answers"))
        }

    def _flags(self, visitor: str, messages: list[Message]) -> Json:
        """What stands on these messages, how far it has come, and what became of it; withdrawals have
        receipts too.
        """
        newest_first = [message.id for message in reversed(messages) if message.role == "assistant"]
        standing = self._flagging.standing(visitor, messages)
        return {
            "flags": standing,
            "receipts": self._flagging.receipts(visitor, newest_first),
            "fixes": self._fixed(standing),
        }

    def _fixed(self, standing: dict[str, Json]) -> Json:
        """By message: what the rounds up to the one that answers now made of these flags."""
        if self._desk.state != READY:
            return {}
        flags = {flag["flag_id"]: message for message, flag in standing.items()}
        found = self._fixes.of(flags, self._desk.engine.model.round)
        return {flags[flag]: fix for flag, fix in found.items()}

    @contextmanager
    def _begun(self, request: Json) -> Iterator[tuple[Answer, str]]:
        """The answer that was asked for, stoppable while the block runs, stopped when it is left."""
        visitor, messages = _transcript(request)
        controls = Controls.from_form(**as_object(request.get("controls", {})))
        answer = self._desk.ask(visitor, request["conversation"], messages, request.get("question"), controls)
        try:
            with self._running.holding(visitor, request_id(request), answer):
                yield answer, title([*messages, answer.question])
        finally:
            answer.leave()  # never blocks: a reader who went away is noticed on the server's event loop

    def _state(self) -> Json:
        state: Json = self._desk.told
        if self._desk.state == READY:
            engine = self._desk.engine
            model = engine.model
            more = {"built_with": built_with(model), "shop": is_shop(model)}
            state["model"] = {**_named(describe(engine)), **more}
            state["fixes"] = self._fixes.edition(model.round)
        return {**state, "flagging": self._flagging.state}


def _transcript(request: Json) -> tuple[str, list[Message]]:
    visitor = visitor_of(request.get("visitor"))
    conversation = conversation_id(request.get("conversation"))
    return visitor, verify(request.get("messages"), visitor, conversation)


def _flagged(request: Json) -> str:
    message = request.get("message")
    if not isinstance(message, str):
        raise WordsError("The flag names no answer. Reload the page and choose again.").called("out_of_step")
    return message


def _named(model: Json) -> Json:
    """What the page tells models apart by."""
    return {name: model[name] for name in ("name", "round", "gguf_sha256")}


def _shown(message: Message) -> Json:
    return {"html": render(message.text), "line": sent_facts(message)}
