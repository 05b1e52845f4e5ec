"""The desk where answers are made: a model that loads beside the page, and that another may relieve.

An answer is written to its end by the model that began it; whoever asks after a swap is answered by the new
one. The old one is closed when its last answer has ended.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from app.desk.conversation import LONGEST_MESSAGE, Controls, checked_text, to_send
from app.desk.shift import Shift
from app.desk.transcript import Message, new_id, sign
from backtalk.engine import Ending, Engine, Place, Stream
from backtalk.engine import load as load_engine
from backtalk.errors import BacktalkError, ModelError, WordsError
from backtalk.models import resolve
from backtalk.prompt import Prompt

LOADING, READY, FAILED = "loading", "ready", "failed"
MOST_SIBLINGS = 50  # earlier answers to one question that the newest one remembers
UPDATE_SECONDS = 0.05  # a page redraws 20 times a second at most
LINE_SECONDS = 1.0  # a place in line is told anew so often
LOOK_SECONDS = 0.05  # between two looks whether the turn has come
GOODBYE_SECONDS = 2.0  # for a relieved model to be closed when the desk is; its answers were stopped before


class Desk:
    """Loads a model in the background and answers with it. `state` is loading, ready or failed with a
    `fault`.
    """

    def __init__(self, open_engine: Callable[[], Engine]):
        self._open_engine = open_engine
        self._shift: Shift | None = None
        self._relieved: list[threading.Thread] = []
        self._swapping = threading.Lock()
        self._settled = threading.Event()
        self._closed = False
        self.state = LOADING
        self.fault: ModelError | None = None

    @staticmethod
    def for_model(ref: str, context: int, threads: int) -> "Desk":
        return Desk(lambda: load_engine(resolve(ref), context, threads))

    def start(self) -> "Desk":
        threading.Thread(target=self._load, name="load model", daemon=True).start()
        return self

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until the model is loaded or has failed to; False when the time was up first."""
        return self._settled.wait(seconds)

    @property
    def reason(self) -> str:
        """Why there is no model, in one sentence; empty where none has failed to load."""
        return str(self.fault or "")

    @property
    def told(self) -> dict[str, Any]:
        """The state for a page, with the words for its reason."""
        fault = self.fault
        return {"state": self.state, "reason": str(fault or ""), **(fault.words if fault else {})}

    @property
    def engine(self) -> Engine:
        """The engine that answers. Raises ModelError while there is none."""
        return self._at_work().engine

    def _at_work(self) -> Shift:
        if fault := self.fault:
            raise _no_model(fault)
        if self._shift is None:
            raise ModelError(
                "The model is still loading. Your message is kept; send it again in a moment."
            ).called("loading")
        return self._shift

    def swap(self, engine: Engine) -> int:
        """From the next question on, `engine` answers. Returns how many answers the one before still owes."""
        with self._swapping:
            if self._closed:
                engine.close()
                return 0
            before, self._shift = self._shift, Shift(engine)
            self.state, self.fault = READY, None
        if before is None:
            return 0
        self._relieved = [thread for thread in self._relieved if thread.is_alive()] + [before.relieve()]
        return before.owed

    def ask(
        self,
        visitor: str,
        conversation: str,
        messages: Sequence[Message],
        question: Any,
        controls: Controls,
    ) -> "Answer":
        """Begins an answer to `question`, or to the last question of `messages` again when it is None.

        Raises WordsError for an empty or oversized question, ModelError without a model, ContextError when
        the question does not fit.
        """
        self._at_work()
        path, replaced = list(messages), []
        if question is None:
            while path and path[-1].role == "assistant":
                replaced.append(path.pop())
            if not path:
                raise WordsError("There is no question to answer again. Write one.").called("no_question")
        else:
            text = checked_text(question, "message", LONGEST_MESSAGE)
            if not text:
                raise WordsError("The message is empty. Write a question.").called("empty")
            parent = path[-1].id if path else ""
            path.append(sign(Message(new_id(), conversation, parent, "user", text, _now()), visitor))
        shift = self.hold()
        try:
            return Answer(shift, visitor, path, controls, siblings=_ids_to_here(replaced))
        except BaseException:
            shift.end()
            raise

    def hold(self) -> Shift:
        """The shift at work, held for one answer: whoever takes it calls its `end`. Raises ModelError."""
        with self._swapping:
            shift = self._at_work()
            shift.begin()
        return shift

    def close(self) -> None:
        """Lets running answers end, then frees every model."""
        with self._swapping:
            self._closed = True
            shift = self._shift
        if shift is not None:
            shift.engine.close()
        for thread in self._relieved:
            thread.join(GOODBYE_SECONDS)

    def _load(self) -> None:
        try:
            engine = self._open_engine()
        except BacktalkError as fault:
            self.state, self.fault = FAILED, _no_model(fault)
        else:
            self.swap(engine)
        finally:
            self._settled.set()


class Answer:
    """One answer in the making: iterate it for the text so far, then take the signed `message`.

    It holds its model until it was read to the end or left.
    """

    def __init__(
        self, shift: Shift, visitor: str, path: list[Message], controls: Controls, siblings: Sequence[str]
    ):
        self.question = path[-1]
        self._siblings = list(siblings)
        engine = self._engine = shift.engine
        self._visitor, self._controls = visitor, controls
        self._chosen = to_send(path, controls)
        self._prompt = engine.prompt(self._as_sent(), controls.max_tokens)
        self._sampling = controls.sampling(controls.seed if controls.seed >= 0 else secrets.randbelow(2**31))
        self._stream: Stream = engine.stream(self._prompt, self._sampling, visitor)
        self._text = ""
        self._message: Message | None = None
        self._let_go = _once(shift.end)

    def in_line(self) -> Iterator[Place]:
        """Where it stands in line, once a second until its turn; nothing where its turn is at once."""
        told_at = 0.0
        while place := self._stream.place:
            now = time.monotonic()
            if now - told_at >= LINE_SECONDS:
                told_at = now
                yield place
            time.sleep(LOOK_SECONDS)

    def __iter__(self) -> Iterator[str]:
        """The text so far, at most 20 times a second; then `message` is there."""
        shown_at = 0.0
        try:
            for piece in self._stream:
                self._text += piece
                now = time.monotonic()
                if now - shown_at >= UPDATE_SECONDS:
                    shown_at = now
                    yield self._text
            self._message = sign(self._signed_fields(), self._visitor)
        finally:
            self._let_go()
        yield self._text

    @property
    def model(self) -> dict[str, Any]:
        """The model that writes it."""
        return describe(self._engine)

    def cancel(self) -> None:
        """Stops within one step of the model; what was written so far becomes the answer."""
        self._stream.cancel()

    def leave(self) -> None:
        """The reader goes: the answer is stopped and lets go of its model. Never blocks."""
        self._stream.cancel()
        self._let_go()

    @property
    def message(self) -> Message:
        if self._message is None:
            raise RuntimeError("the answer was asked for before it was read to the end")
        return self._message

    def _as_sent(self) -> list[dict[str, str]]:
        system = self._controls.system_prompt
        opening = [{"role": "system", "content": system}] if system else []
        return opening + [{"role": message.role, "content": message.text} for message in self._chosen]

    def _signed_fields(self) -> Message:
        return Message(
            id=new_id(),
            conversation=self.question.conversation,
            parent=self.question.id,
            role="assistant",
            text=self._text,
            at=_now(),
            model=self.model,
            sampling=asdict(self._sampling),
            sent=self._sent(self._prompt, self._stream.ending),
            ending=asdict(self._stream.ending),
        )

    def _sent(self, prompt: Prompt, ending: Ending) -> dict[str, Any]:
        system_count = 1 if self._controls.system_prompt else 0
        sent = self._chosen[len(self._chosen) - (len(prompt.messages) - system_count) :]
        return {
            "history_mode": self._controls.history,
            "message_ids": [message.id for message in sent],
            "earlier_turns": sum(message.role == "user" for message in sent[:-1]),
            "truncated_turns": prompt.dropped_turns,
            "prompt_tokens": ending.prompt_tokens,  # an endpoint counts them, or nobody does
            "system_prompt": self._controls.system_prompt,
            "siblings": self._siblings,
        }


def describe(engine: Engine) -> dict[str, Any]:
    """The answering model, whole: what a flag needs to be traced back to a file."""
    model = engine.model
    return {
        "name": model.name,
        "repo": model.repo,
        "revision": model.revision,
        "gguf_file": model.path.name,
        "gguf_sha256": model.sha256,
        "quant": model.quant,
        "round": model.round,
        "template_sha256": engine.template_sha256,
        "engine": engine.name,
        "context": engine.context,
        "threads": engine.threads,
    }


def _no_model(fault: BacktalkError) -> ModelError:
    """Why there is no model, as an error of its own: each of those who ask is told."""
    again = ModelError(str(fault))
    return again.called(fault.name, **fault.gaps) if fault.name else again.called("no_model")


def _once(act: Callable[[], None]) -> Callable[[], None]:
    """`act` at the first call, nothing at the others, from whichever thread they come."""
    acts = [act]

    def at_first() -> None:
        try:
            act = acts.pop()
        except IndexError:
            return
        act()

    return at_first


def _ids_to_here(replaced: Sequence[Message]) -> list[str]:
    """The earlier answers to the same question: those that the replaced one names, then itself."""
    return [name for answer in replaced for name in (*answer.sent.get("siblings", []), answer.id)][
        -MOST_SIBLINGS:
    ]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
