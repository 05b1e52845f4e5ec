"""A desk with the bundled model behind it, and a way to hold a conversation at it."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from app.answering import Desk
from app.conversation import Controls
from app.transcript import Message

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
