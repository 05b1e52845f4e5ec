"""A desk with the bundled model behind it, and a way to hold a conversation at it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from app.desk.answering import Desk
from app.desk.conversation import Controls
from app.desk.transcript import Message, new_id, sign

Talk = Callable[..., list[Message]]
GREEDY = Controls(temperature=0)


@pytest.fixture(scope="session")
def desk() -> Iterator[Desk]:
    desk = Desk.for_model("mini", context=2048, threads=1).start()
    assert desk.wait(60), desk.reason
    yield desk
    desk.close()


@pytest.fixture
def talk(desk: Desk) -> Talk:
    """talk("question", ...) asks one after the other and returns the signed messages."""

    def talk(
        *questions: str,
        visitor: str = "visitor1",
        conversation: str = "conversation1",
        controls: Controls = GREEDY,
        after: Sequence[Message] = (),
    ) -> list[Message]:
        path = list(after)
        for question in questions:
            answer = desk.ask(visitor, conversation, path, question, controls)
            *_, _text = answer
            path += [answer.question, answer.message]
        return path

    return talk


@pytest.fixture
def talk_of() -> Talk:
    """talk_of("question", ...): the same without a model; each answer says that it is one."""

    def talk_of(*questions: str, visitor: str = "visitor1") -> list[Message]:
        path: list[Message] = []
        for question in questions:
            for role, text in (("user", question), ("assistant", "This is an answer.")):
                path.append(sign(_message(path, role, text), visitor))
        return path

    return talk_of


def _message(path: Sequence[Message], role: str, text: str) -> Message:
    parent = path[-1].id if path else ""
    bare = Message(new_id(), "conversation1", parent, role, text, "2026-11-21T09:00:00.000+00:00")
    if role == "user":
        return bare
    sent = {
        "history_mode": "full",
        "message_ids": [message.id for message in path],
        "truncated_turns": 0,
        "prompt_tokens": 20,
        "system_prompt": "",
        "siblings": [],
    }
    ending = {"finish_reason": "stop", "completion_tokens": 5, "first_token_ms": 1.0, "tokens_per_second": 50}
    return replace(bare, model={"name": "mini"}, sampling={"temperature": 0.0}, sent=sent, ending=ending)
