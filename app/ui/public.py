"""What programs find here with gradio_client: three functions, typed and described, beside the page's own.

    client = Client("http://127.0.0.1:7860")
    said = client.predict("Where is order 4821?", api_name="/chat")
    client.predict(said["conversation"], "bad", reasons=["outdated"], api_name="/flag")
    client.predict(api_name="/stats")

A program is a visitor like any other: it holds its conversation, signed by this server, and nobody else's is
within its reach. Programs never wait in Gradio's queue, which has room for so many of the page's visitors:
whoever is too many hears so at once. A fault is raised at the client with its sentence.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import BoundedSemaphore
from typing import Any

import gradio as gr

from app.access.pace import Pace
from app.desk.answering import READY, Desk, describe
from app.desk.conversation import Controls
from app.desk.transcript import Message, conversation_id, new_id, new_visitor, verify
from app.desk.transcript import visitor as visitor_of
from app.flags.consent import version
from app.flags.flagging import Flagging
from app.flags.insights import Board
from app.ui.words import read_words
from backtalk.errors import BacktalkError, BusyError, WordsError
from backtalk.home import on_space

PROGRAMS_AT_ONCE = 6  # that are being answered: most of what the engine can do stays with the page
A_MINUTE = 60  # requests from one address
NAMES = ("chat", "flag", "stats")
PARTS = {"visitor", "id", "messages"}
BY_DEFAULT = Controls()

Json = dict[str, Any]


class Public:
    """The chat, its flags and its figures, for programs. It has endpoints like a tab, and no tab."""

    name = "public"

    def __init__(self, desk: Desk, flagging: Flagging, board: Board):
        self._desk, self._flagging, self._board = desk, flagging, board
        self._seats = BoundedSemaphore(PROGRAMS_AT_ONCE)
        self._pace = Pace(A_MINUTE)

    def endpoints(self) -> None:
        consent = f"\n\nThe text of consent {version()}: {read_words()['consent_text']}"
        for name, more in zip(NAMES, ("", consent, ""), strict=True):
            answer = getattr(self, name)
            gr.api(answer, api_name=name, api_description=_described(answer) + more, concurrency_limit=None)

    def chat(
        self,
        asking: gr.Request,
        message: str,
        conversation: dict[str, Any] | None = None,
        history: str = BY_DEFAULT.history,
        last_n: int = BY_DEFAULT.last_n,
        system_prompt: str = BY_DEFAULT.system_prompt,
        temperature: float = BY_DEFAULT.temperature,
        top_p: float = BY_DEFAULT.top_p,
        max_tokens: int = BY_DEFAULT.max_tokens,
        seed: int = BY_DEFAULT.seed,
    ) -> Iterator[Json]:
        """Asks a question and returns the answer. It streams: each step holds the text so far as "answer";
        the last one has "done": true, the "model" that answered, the "answer_id", how it ended as
        "finish_reason", and the signed "conversation". Give that back with the next question to go on, or
        with its "messages" emptied to begin anew as the same visitor. "history" decides what the model sees
        of it: "full", "last_n" (that many turns) or "off".
        """
        controls = {
            "history": history, "last_n": last_n, "system_prompt": system_prompt, "temperature": temperature,
            "top_p": top_p, "max_tokens": max_tokens, "seed": seed,
        }  # fmt: skip
        with _aloud(), self._seat(asking):
            token, path = _transcript(conversation)
            visitor, name = visitor_of(token), path[0].conversation if path else new_id()
            answer = self._desk.ask(visitor, name, path, _text(message), Controls.from_form(**controls))
            try:
                for text in answer:
                    yield {"answer": text, "done": False}
                said = answer.message
                messages = [one.to_json() for one in (*path, answer.question, said)]
                yield {
                    "answer": said.text,
                    "done": True,
                    "answer_id": said.id,
                    "finish_reason": said.ending["finish_reason"],
                    "model": _named(said.model),
                    "conversation": {"visitor": token, "id": name, "messages": messages},
                }
            finally:
                answer.leave()  # never blocks: a program that hangs up is noticed on the server's event loop

    def flag(
        self,
        asking: gr.Request,
        conversation: dict[str, Any],
        verdict: str,
        reasons: list[str] | None = None,
        severity: str = "",
        comment: str = "",
        correction: str = "",
        answer_id: str = "",
        consent: str = "",
        consent_version: str = "",
        training: bool = False,
    ) -> Json:
        """Says that an answer was "good" or "bad"; an empty verdict takes that back. "answer_id" names
        the answer; by default it is the conversation's last. What is left empty stays as it was said before.
        Returns "saved" once it is on disk, the "flag" as it stands and the "receipt" that says where it is.
        Nothing leaves the server without the consent of the person who flags: "flag_only" or "flag+thread"
        (with the earlier turns), the "consent_version" of the text that they read, and whether a model may be
        trained on it.
        """
        with _aloud():
            self._pace_of(asking)
            token, path = _transcript(conversation)
            visitor, answer = visitor_of(token), answer_id or _last_answer(path)
            said = {"reasons": reasons, "severity": severity, "comment": comment, "correction": correction}
            choice: Json = {"verdict": verdict, **{name: part for name, part in said.items() if part}}
            if consent:
                choice["consent"] = _consent(consent, consent_version, training)
            saved = self._flagging.save(visitor, path, answer, choice)
            return {
                **saved,
                "flag": self._flagging.standing(visitor, path).get(answer),
                "receipt": self._flagging.receipts(visitor, [answer]).get(answer),
            }

    def stats(self, asking: gr.Request) -> Json:
        """What visitors say, counted: how many flags stand, the share of good ones with its 95 % interval
        (from, to) by "models" and "rounds", the "reasons", what rounds fixed, median "hours"; and the
        "model" that answers now, null while there is none. Groups with fewer than ten flags are hidden.
        """
        with _aloud():
            self._pace_of(asking)
            ready = self._desk.state == READY
            return {**self._board.now(), "model": _named(describe(self._desk.engine)) if ready else None}

    def close(self) -> None:
        """Nothing is held."""

    @contextmanager
    def _seat(self, asking: gr.Request) -> Iterator[None]:
        """Room for one more answer. Raises BusyError where there is none."""
        self._pace_of(asking)
        if not self._seats.acquire(blocking=False):
            raise BusyError(f"{PROGRAMS_AT_ONCE} programs are being answered already. Ask again in a moment.")
        try:
            yield
        finally:
            self._seats.release()

    def _pace_of(self, asking: gr.Request) -> None:
        if not self._pace.admits(_address(asking)):
            raise BusyError(
                f"More than {A_MINUTE} requests a minute came from your address. Ask again in a minute."
            )


@contextmanager
def _aloud() -> Iterator[None]:
    """A fault that the reader can act on is raised at the client, in its own words."""
    try:
        yield
    except BacktalkError as fault:
        raise gr.Error(str(fault), print_exception=False) from None


def _described(answer: Any) -> str:
    return " ".join((answer.__doc__ or "").split())


def _address(asking: gr.Request) -> str:
    """Where a request comes from; a Space's own proxy says so in a header."""
    forwarded = asking.headers.get("x-forwarded-for", "") if on_space() else ""
    return forwarded.split(",")[0].strip() or (asking.client.host if asking.client else "")


def _transcript(conversation: Any) -> tuple[str, list[Message]]:
    """The visitor's token and the messages as they were signed; a new visitor where there is nothing yet."""
    if conversation is None:
        return new_visitor(), []
    if not isinstance(conversation, dict) or set(conversation) != PARTS:
        raise WordsError('The conversation is not one that "/chat" returned. Give back its "conversation".')
    token = conversation["visitor"]
    path = verify(conversation["messages"], visitor_of(token), conversation_id(conversation["id"]))
    return token, path


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise WordsError(f"The message came as a {type(value).__name__}; text was wanted.")
    return value


def _last_answer(path: list[Message]) -> str:
    answers = [message.id for message in path if message.role == "assistant"]
    if not answers:
        raise WordsError("The conversation holds no answer to flag. Ask something first.")
    return answers[-1]


def _consent(scope: Any, read: Any, training: Any) -> Json:
    """What the person behind the program agreed to; only the text of today counts."""
    if read != version():
        raise WordsError(
            f"The consent names the text {str(read)[:20]!r}, and today's is {version()!r}. Show whoever "
            "flags the text that is in the description of /flag, and name its version."
        )
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"version": version(), "scope": scope, "training": training is True, "at": at}


def _named(model: Json) -> Json:
    return {name: model[name] for name in ("name", "round", "gguf_sha256")}
