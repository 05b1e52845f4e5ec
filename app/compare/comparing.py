"""Two models, one question: who stands where is drawn here, sealed, and told after the vote.

    comparing = Comparing(side_desk, flagging)
    pairing = comparing.begin(visitor, two_contenders, "How long can I return things?", controls)
    for side, text in pairing: ...          "a" or "b" and its text so far; both are written at once
    comparing.vote(visitor, pairing.sealed, {"choice": "a_better", ...})      saved, and the names

Promise: before the vote nothing that leaves this server tells which model is A; what is voted on is what the
models said, whatever the page sends. A vote is two flags, one on each answer, that name each other.
"""

import queue
import secrets
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from app.access.seal import seal, unseal
from app.compare.contenders import Contender
from app.compare.side_desk import SideDesk
from app.compare.tally import A_BETTER, B_BETTER, BOTH_BAD, BOTH_GOOD, Side, Tallies
from app.desk.answering import Answer
from app.desk.conversation import LONGEST_MESSAGE, Controls, checked_text
from app.desk.transcript import Message, new_id, sign
from app.flags.flagging import Flagging
from backtalk.engine import Place
from backtalk.errors import BacktalkError, FlagError, WordsError
from backtalk.home import secret
from feedback.schema import Extras, FlagEvent, SideBySide, flag_id, now, pseudonym

PURPOSE = "comparison"
A, B = SIDES = ("a", "b")
VERDICTS = {A_BETTER: "mixed", B_BETTER: "mixed", BOTH_GOOD: "good", BOTH_BAD: "bad", "": ""}
PARTS = {"choice", "reasons", "consent", "preview_shown"}

Json = dict[str, Any]
Step = tuple[str, str | Place]


class Comparing:
    """Begins comparisons and takes the votes on them; holds nothing of a visitor in between."""

    def __init__(self, side_desk: SideDesk, flagging: Flagging):
        self._side_desk, self._flagging = side_desk, flagging
        self._tallies: Tallies | None = None

    def begin(self, visitor: str, pair: Sequence[Contender], question: Any, controls: Controls) -> "Pairing":
        """Both answers, begun. Raises WordsError, ModelError, ContextError or BusyError."""
        text = checked_text(question, "question", LONGEST_MESSAGE)
        if not text:
            raise WordsError("The question is empty. Write one.").called("empty")
        asked = sign(Message(new_id(), new_id(), "", "user", text, now()), visitor)
        seed = controls.seed if controls.seed >= 0 else secrets.randbelow(2**31)
        drawn = list(pair)
        secrets.SystemRandom().shuffle(drawn)
        answers: dict[str, Answer] = {}
        try:
            for side, contender in zip(SIDES, drawn, strict=True):
                answers[side] = self._answer(contender, visitor, asked, replace(controls, seed=seed))
        except BaseException:
            for answer in answers.values():
                answer.leave()
            raise
        return Pairing(visitor, asked, answers)

    def vote(self, visitor: str, sealed: Any, choice: Any) -> Json:
        """Saves the vote, or takes it back where the choice is empty; tells the names and the tally.

        Raises TranscriptError for what was not sealed for this visitor, FlagError or OutboxError.
        """
        asked, answers = _opened(visitor, sealed)
        said = _checked(choice)
        blind = self._is_blind(visitor, answers[A], said["choice"])
        done: Json = {}
        for side, other in ((A, B), (B, A)):
            beside = SideBySide(
                answers[other].id, str(Side.of(answers[other].model)), said["choice"], blind, side
            )
            extras = Extras(comparison=beside) if said["choice"] else None
            part = _of_side(said, side)
            saved = self._flagging.save(visitor, [asked, answers[side]], answers[side].id, part, extras)
            done = {"saved": saved["saved"], "left": done.get("left") or saved["left"]}
        return {**done, **self.told(visitor, answers)}

    def preview(self, visitor: str, sealed: Any, choice: Any) -> Json:
        """What `vote` would store: the texts of answer A's flag, then the other answer."""
        asked, answers = _opened(visitor, sealed)
        said = _checked(choice)
        shown = [
            self._flagging.preview(visitor, [asked, answers[side]], answers[side].id, _of_side(said, side))
            for side in SIDES
        ]
        other = [text for text in shown[1]["texts"] if text["part"] == "answer"]
        masked = sum(one["masked"] for one in shown)
        return {"texts": [*shown[0]["texts"], *other], "masked": masked, "scope": shown[0]["scope"]}

    def told(self, visitor: str, answers: dict[str, Message]) -> Json:
        """What is told after a vote: who was who, where the vote is, how the votes between the two stand."""
        ids = [answers[side].id for side in SIDES]
        first, second = (Side.of(answers[side].model) for side in SIDES)
        return {
            "names": {side: _named(answers[side].model) for side in SIDES},
            "messages": dict(zip(SIDES, ids, strict=True)),
            "receipts": self._flagging.receipts(visitor, ids),
            "tally": self.tallies.of(first, second).to_json(),
        }

    @property
    def tallies(self) -> Tallies:
        if self._tallies is None:
            self._tallies = Tallies(self._flagging.outbox)
        return self._tallies

    def _answer(self, contender: Contender, visitor: str, asked: Message, controls: Controls) -> Answer:
        shift = self._side_desk.hold(contender)
        try:
            return Answer(shift, visitor, [asked], controls, siblings=())
        except BaseException:
            shift.end()
            raise

    def _is_blind(self, visitor: str, answer: Message, choice: str) -> bool:
        """A first vote is; a changed one is not, since the names were told after the first."""
        history = self._history(visitor, answer)
        if not history:
            return True
        last = history[-1].extras.comparison
        return last.blind and last.choice == choice

    def _history(self, visitor: str, answer: Message) -> list[FlagEvent]:
        return self._flagging.outbox.history(flag_id(pseudonym(secret(), visitor), answer.id))


class Pairing:
    """Two answers in the making: iterate it for side and text so far, then take what is `sealed`."""

    def __init__(self, visitor: str, asked: Message, answers: dict[str, Answer]):
        self._visitor, self._asked, self._answers = visitor, asked, answers
        self._steps: queue.SimpleQueue[tuple[str, str | Place | BacktalkError | None]] = queue.SimpleQueue()

    def __iter__(self) -> Iterator[Step]:
        for side in SIDES:
            threading.Thread(target=self._read, args=(side,), name=f"answer {side}", daemon=True).start()
        left = set(SIDES)
        while left:
            side, step = self._steps.get()
            if isinstance(step, BacktalkError):
                raise step
            if step is None:
                left.discard(side)
            else:
                yield side, step

    @property
    def sealed(self) -> str:
        """Question and answers, for the browser to keep until the vote."""
        answers = {side: answer.message.to_json() for side, answer in self._answers.items()}
        return seal(PURPOSE, self._visitor, {"question": self._asked.to_json(), **answers})

    def cancel(self) -> None:
        """Stops both within one step of their models; what was written so far are the answers."""
        for answer in self._answers.values():
            answer.cancel()

    def leave(self) -> None:
        """The reader goes: both answers are stopped and let go of their models. Never blocks."""
        for answer in self._answers.values():
            answer.leave()

    def _read(self, side: str) -> None:
        answer = self._answers[side]
        try:
            for place in answer.in_line():
                self._steps.put((side, place))
            for text in answer:
                self._steps.put((side, text))
        except BacktalkError as fault:
            self._steps.put((side, fault))
        except BaseException as fault:
            broken = BacktalkError("An answer broke off. Ask again; nothing is lost.").called("broke_off")
            self._steps.put((side, broken))
            raise fault
        else:
            self._steps.put((side, None))


def _opened(visitor: str, sealed: Any) -> tuple[Message, dict[str, Message]]:
    content = unseal(PURPOSE, visitor, sealed)
    return Message.from_json(content["question"]), {side: Message.from_json(content[side]) for side in SIDES}


def _checked(choice: Any) -> Json:
    """The vote as the page sends it: one of the choices, empty to take it back; reasons by side."""
    voted = choice.get("choice") if isinstance(choice, dict) else None
    if not isinstance(voted, str) or voted not in VERDICTS or not choice.keys() <= PARTS:
        raise FlagError(
            "A vote is for A, for B, for both or for neither. Reload the page and vote again."
        ).called("out_of_step")
    reasons = choice.get("reasons", {})
    if not isinstance(reasons, dict) or not reasons.keys() <= {*SIDES}:
        raise FlagError(
            "The reasons of this vote belong to no answer. Reload the page and vote again."
        ).called("out_of_step")
    return {**choice, "reasons": reasons}


def _of_side(said: Json, side: str) -> Json:
    """What the vote says of one answer, as the flag panel would."""
    if not said["choice"]:
        return {"verdict": ""}
    more: Json = {name: said[name] for name in ("consent", "preview_shown") if name in said}
    return {"verdict": VERDICTS[said["choice"]], "reasons": said["reasons"].get(side, []), **more}


def _named(model: Json) -> Json:
    return {name: model[name] for name in ("name", "round", "gguf_sha256", "quant")}
