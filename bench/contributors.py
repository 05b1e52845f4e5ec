"""Made-up contributors for benchmarks and tests: flag events and decisions in any number, always the same.

    write_events(folder, 200_000, seed=1)      segments of JSON lines, 2 kB an event on average

One event in ten nearly repeats an earlier one. The rest is as mixed as real flags are: amended and withdrawn,
without consent, about the machine, with control tokens, contradicting, corrected by one or by several.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from backtalk.files import canonical_json
from feedback.schema import Consent, Contributor, FlagEvent, Model, Sampling, flag_id, from_row
from feedback.schema import to_row as row_of_flag
from feedback.store.decisions import Review, content_hash, matter_of, to_row

EVENTS_IN_A_SEGMENT = 5_000
NEAR_DUPLICATES = 0.1
DECIDED = 0.1
COMMON_QUESTIONS = 400
SYSTEM_PROMPTS = ("You are the support desk of an outdoor shop. Answer briefly and kindly.", "Be brief.", "")
START = 1_760_000_000  # seconds; each event is one second later

BAD = ("factual_error", "outdated", "misunderstood", "off_topic", "too_long", "style_tone", "incomplete")
BAD += ("ignored_history", "repetition", "over_refusal", "cut_off", "slow", "harmful", "test_or_spam")
GOOD = ("accurate", "clear", "complete", "good_tone", "saved_time")


class Contributors:
    """A source of events; each is a row as a segment holds it."""

    def __init__(self, seed: int, expected: int) -> None:
        self._chance = random.Random(seed)
        self._words = [self._word() for _ in range(4_000)]
        self._people = [f"{n:032x}" for n in range(max(8, expected // 40))]
        self._common = [self._sentence(9) + "?" for _ in range(COMMON_QUESTIONS)]
        self._truth = [self._sentence(30) for _ in range(COMMON_QUESTIONS)]
        self._recent: list[dict[str, Any]] = []
        self._count = 0

    def rows(self) -> Iterator[dict[str, Any]]:
        """Events and decisions without end."""
        while True:
            row = self._near(self._chance.choice(self._recent)) if self._repeats() else self._fresh()
            yield row
            if self._chance.random() < DECIDED:
                yield self._decision(row)
            if self._chance.random() < 0.03:
                yield self._next_revision(row)

    def _repeats(self) -> bool:
        return bool(self._recent) and self._chance.random() < NEAR_DUPLICATES

    def _fresh(self) -> dict[str, Any]:
        chance = self._chance
        common = chance.randrange(COMMON_QUESTIONS) if chance.random() < 0.3 else None
        question = self._sentence(14) + "?" if common is None else self._common[common]
        good = chance.random() < 0.4
        row = self._row("good" if good else "bad", question, self._sentence(chance.randrange(20, 120)))
        row["reasons"] = self._reasons(good)
        if not good and chance.random() < 0.6:
            text = self._truth[common] if common is not None and chance.random() < 0.8 else self._sentence(40)
            row["correction"] = {"text": text, "kind": "rewrite", "changed": 1.0}
        self._recent = [*self._recent[-999:], row]
        return _sealed(row)

    def _near(self, row: dict[str, Any]) -> dict[str, Any]:
        """The same from somebody else, one word changed."""
        words = row["answer"]["text"].split(" ")
        words[self._chance.randrange(len(words))] = self._chance.choice(self._words)
        again = self._row(row["verdict"], row["shown"]["messages"][-1]["content"], " ".join(words))
        again["sent"] = {**again["sent"], "system_prompt": row["sent"]["system_prompt"]}
        return _sealed({**again, "reasons": row["reasons"], "correction": row["correction"]})

    def _row(self, verdict: str, question: str, answer: str) -> dict[str, Any]:
        chance, number = self._chance, self._count
        self._count += 1
        message, talk = f"m{number:08x}", f"talk{number // 2:08x}"
        earlier = [self._sentence(10), self._sentence(20)] if chance.random() < 0.2 else []
        shown = [
            {"id": f"{message}-{place}", "role": ("user", "assistant")[place % 2], "content": text}
            for place, text in enumerate([*earlier, question])
        ]
        sent = shown if chance.random() < 0.8 else shown[-1:]
        person = chance.choice(self._people)
        row = json.loads(BLANK)
        row["contributor"]["pseudonym"] = person
        row["consent"] |= {
            "scope": "" if chance.random() < 0.03 else "flag+thread",
            "training": chance.random() < 0.97,
        }
        row["shown"]["messages"] = shown
        row["sent"] |= {
            "message_ids": [one["id"] for one in sent],
            "system_prompt": chance.choice(SYSTEM_PROMPTS),
        }
        spoiled = answer + " <|eot_id|>" if chance.random() < 0.005 else answer
        finish = "length" if chance.random() < 0.05 else "stop"
        row["answer"] |= {"text": spoiled, "finish_reason": finish}
        return row | {
            "event_id": f"{number:032x}",
            "flag_id": flag_id(person, message),
            "created_at": _moment(number),
            "conversation_id": talk,
            "message_id": message,
            "verdict": verdict,
        }

    def _reasons(self, good: bool) -> list[dict[str, str]]:
        chosen = self._chance.sample(GOOD if good else BAD, self._chance.choice((0, 1, 1, 2)))
        return [{"id": name, "direction": _direction(name)} for name in chosen]

    def _next_revision(self, row: dict[str, Any]) -> dict[str, Any]:
        """The flag amended with a comment, or withdrawn."""
        number = self._count
        self._count += 1
        later = {"event_id": f"{number:032x}", "revision": 2, "created_at": _moment(number)}
        if self._chance.random() < 0.5:
            return _sealed({**row, **later, "op": "amend", "comment": self._sentence(8)})
        kept = ("flag_id", "contributor", "conversation_id", "message_id", "consent")
        return _sealed({**json.loads(BLANK), **{name: row[name] for name in kept}, **later, "op": "retract"})

    def _decision(self, row: dict[str, Any]) -> dict[str, Any]:
        event = from_row(row)
        state = "accepted" if self._chance.random() < 0.8 else "rejected"
        review = Review(
            review_id=f"{self._count:032x}",
            flag_id=event.flag_id,
            state=state,
            by="ada",
            at=event.created_at,
            matter=matter_of(event),
        )
        return to_row(replace(review, content_hash=content_hash(review)))

    def _sentence(self, length: int) -> str:
        return " ".join(self._chance.choices(self._words, k=length))

    def _word(self) -> str:
        pairs = self._chance.randrange(1, 5)
        return "".join(
            self._chance.choice("bcdfghjklmnprstvwz") + self._chance.choice("aeiou") for _ in range(pairs)
        )


def write_events(folder: Path, count: int, seed: int = 1) -> int:
    """Writes about `count` events with their decisions as segments; returns the bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, written = islice(Contributors(seed, count).rows(), count), 0
    for number in range(0, count, EVENTS_IN_A_SEGMENT):
        with open(folder / f"{number // EVENTS_IN_A_SEGMENT:05}.jsonl", "wb") as file:
            for row in islice(rows, EVENTS_IN_A_SEGMENT):
                written += file.write(canonical_json(row) + b"\n")
    return written


def _sealed(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "content_hash": sha256(canonical_json({**row, "content_hash": ""})).hexdigest()}


def _moment(number: int) -> str:
    seconds = START + number
    return f"2026-01-01T00:00:00.{seconds}Z"


def _direction(name: str) -> str:
    if name in GOOD:
        return "good"
    return {"cut_off": "system", "slow": "system", "harmful": "safety", "test_or_spam": "meta"}.get(
        name, "bad"
    )


# One event with every column: texts and ids are filled in, since making each from the app's parts takes
# thirty times as long.
BLANK = canonical_json(
    row_of_flag(
        FlagEvent(
            app_version="0.1.0",
            revision=1,
            consent=Consent("1", "flag+thread", True, "CC-BY-4.0", "2026-01-01T00:00:00Z"),
            contributor=Contributor(locale="en"),
            model=Model(name="mini", gguf_file="mini-Q8_0.gguf", gguf_sha256="0" * 64, quant="Q8_0"),
            sampling=Sampling(temperature=0.7, top_p=0.9, top_k=40, max_tokens=256, seed=7),
        )
    )
)
