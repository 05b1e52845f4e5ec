"""A visitor of a chat, simulated over HTTP: asks, reads the answer as it streams, thinks, asks on.

    turns = Visitor(number=3, seed=1, plan=Plan(turns=6)).talk("http://127.0.0.1:8081")

The same seed asks the same things with the same pauses, whoever answers.
"""

import http.client
import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

SECONDS = 1800.0  # that an answer may stand still before the visit counts as failed
SPOKEN = """
order tent parcel delivery warranty return size colour price shop stove boots jacket invoice payment address
number week month money back please when where which would could should with without before after again still
never often small large light heavy warm cold wet dry new old blue green red good
"""
WORDS = SPOKEN.split()
FEWEST_WORDS, MOST_WORDS = 10, 250  # of a question


@dataclass(frozen=True)
class Plan:
    """What all visitors have in common."""

    turns: int = 6
    think_seconds: float = 5.0
    """on average; drawn anew for each turn"""
    arrive_seconds: float = 2.0
    """visitors arrive over about so many seconds each"""
    answers: tuple[int, int] = (60, 170)
    """tokens: the shortest and the longest"""
    temperature: float = 0.7


@dataclass
class Turn:
    """What a visitor saw of one answer; seconds."""

    number: int
    first_token: float
    last_token: float
    longest_gap: float
    tokens: int
    prompt_tokens: int
    cached_tokens: int | None
    text: str
    error: str = ""


@dataclass
class Visitor:
    """One conversation."""

    number: int
    seed: int
    plan: Plan
    messages: list[dict[str, str]] = field(default_factory=list)

    @property
    def secret(self) -> str:
        """A word that no other visitor says."""
        return f"zq{self.number:03d}x"

    def talk(self, address: str) -> list[Turn]:
        """All turns, or those up to a failed one."""
        chance = random.Random(self.seed * 10_007 + self.number)
        time.sleep(chance.uniform(0, self.plan.arrive_seconds))
        turns = []
        for number in range(self.plan.turns):
            opening = f"My word is {self.secret}. " if number == 0 else ""
            self.messages.append({"role": "user", "content": opening + question(chance)})
            most = chance.randint(*self.plan.answers)
            pause = chance.expovariate(1 / self.plan.think_seconds) if self.plan.think_seconds else 0.0
            turn = self._ask(address, number, most, seed=chance.randrange(2**31))
            turns.append(turn)
            if turn.error:
                break
            self.messages.append({"role": "assistant", "content": turn.text})
            time.sleep(pause)
        return turns

    def _ask(self, address: str, number: int, most: int, seed: int) -> Turn:
        request = {
            "messages": self.messages,
            "max_tokens": most,
            "temperature": self.plan.temperature,
            "seed": seed,
            "stream": True,
            "stream_options": {"include_usage": True},
            "model": "model",
            "user": f"visitor-{self.number}",
        }
        asked, moments, texts, usage, error = time.perf_counter(), [], [], {}, ""
        try:
            for chunk in _chunks(address, request):
                usage = chunk.get("usage") or usage
                if chunk.get("error"):
                    error = str(chunk["error"])
                if text := _text(chunk):
                    moments.append(time.perf_counter() - asked)
                    texts.append(text)
        except (OSError, http.client.HTTPException, ValueError) as fault:
            error = repr(fault)
        error = error or ("" if moments else "no answer")
        gaps = [later - earlier for earlier, later in zip(moments, moments[1:], strict=False)]
        return Turn(
            number,
            first_token=moments[0] if moments else math.nan,
            last_token=moments[-1] if moments else math.nan,
            longest_gap=max(gaps, default=0.0),
            tokens=usage.get("completion_tokens") or len(texts),
            prompt_tokens=usage.get("prompt_tokens", 0),
            cached_tokens=usage.get("prompt_tokens_details", {}).get("cached_tokens"),
            text="".join(texts),
            error=error,
        )


def question(chance: random.Random) -> str:
    """Some are a few words, some are long: as many of each length, on a logarithmic scale."""
    length = math.exp(chance.uniform(math.log(FEWEST_WORDS), math.log(MOST_WORDS)))
    return " ".join(chance.choices(WORDS, k=round(length))) + "?"


def _chunks(address: str, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events of a streamed answer."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=SECONDS)
    try:
        body = json.dumps(request).encode()
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise ValueError(f"{answer.status}: {answer.read(500).decode('utf-8', 'replace')}")
        while line := answer.readline():
            if line.startswith(b"data: ") and not line.startswith(b"data: [DONE]"):
                yield json.loads(line[6:])
    finally:
        connection.close()


def _text(chunk: dict[str, Any]) -> str:
    choices = chunk.get("choices") or [{}]
    return choices[0].get("delta", {}).get("content") or ""
