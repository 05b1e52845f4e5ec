"""What a hostile client tries: seeded requests from what two real visitors of a chat hold.

    attempts = Attempts(material, seed=1)
    attempts.make(17)       always the same kind of wrong, whatever was tried before

Kinds: `mistyped` (a visitor's requests with wrong parts), `as maintainer` (the same with the role), `forged`
(conversations and seals that were changed), `foreign` (another visitor's, in one's own name), `no role`
(maintainers' functions), `programs` (gradio_client's and OpenAI's way in), `wire` (HTTP itself).
"""

import copy
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench import mutations, wire_tricks
from bench.mutations import as_body, broken, odd
from bench.wire import JOIN, JSON, Request

Json = dict[str, Any]

KINDS = {  # of a hundred
    "mistyped": 40, "as maintainer": 10, "forged": 10, "foreign": 10, "no role": 12, "programs": 10,
    "wire": 8,
}  # fmt: skip
QUESTION = "how long can i return it?"
FEW_TOKENS = {"history": "full", "last_n": 3, "system_prompt": "Be brief.", "temperature": 0.3, "top_p": 0.9,
              "max_tokens": 16, "seed": 7}  # fmt: skip
STREAMED = {"ask", "compare"}
TAKES_LONG = {"fetch_others"}  # runs a verb, whatever the request says: called without the role alone


@dataclass(frozen=True)
class Person:
    """A visitor, and what their browser holds."""

    token: str
    conversation: str
    messages: list[Json]
    flags: list[str]
    sealed: str

    @property
    def answers(self) -> list[str]:
        return [message["id"] for message in self.messages if message["role"] == "assistant"]


@dataclass(frozen=True)
class Material:
    """Whose things are played with. `functions`: what /config tells, by name: number and arguments."""

    own: Person
    other: Person
    pair: list[str]
    consent: Json
    functions: Mapping[str, tuple[int, int]]
    cookie: str
    """of a maintainer"""
    key: str
    """that programs show"""
    forged_cookies: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Attempt:
    """`refuse`: whatever is not a calm no is a fault."""

    kind: str
    request: Request
    refuse: bool = False


class Attempts:
    """Makes them by number."""

    def __init__(self, material: Material, seed: int):
        self._material, self._seed = material, seed
        self._own = visitors(material.own, material)
        others = visitors(material.other, material)
        self._other = {name: _in_name_of(material.own, request) for name, request in others.items()}
        self._maintain = maintainers(material)

    def make(self, number: int) -> Attempt:
        chance = random.Random(f"{self._seed} {number}")
        kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
        makers: dict[str, Callable[[random.Random], tuple[Request, bool]]] = {
            "mistyped": self._mistyped,
            "as maintainer": self._as_maintainer,
            "forged": self._forged,
            "foreign": self._foreign,
            "no role": self._no_role,
            "programs": self._programs,
            "wire": lambda chance: (wire_tricks.trick(chance, self._own), False),
        }
        return Attempt(kind, *makers[kind](chance))

    def _mistyped(self, chance: random.Random) -> tuple[Request, bool]:
        name = chance.choice(list(self._own))
        return asked(name, broken(self._own[name], chance, self._other[name])), False

    def _as_maintainer(self, chance: random.Random) -> tuple[Request, bool]:
        name = chance.choice([name for name in self._maintain if name not in TAKES_LONG])
        headers = {**JSON, "cookie": self._material.cookie}
        return asked(name, broken(self._maintain[name], chance), headers), False

    def _forged(self, chance: random.Random) -> tuple[Request, bool]:
        """Words in the model's mouth, in all the ways that a browser could put them there."""
        own = self._material.own
        name = chance.choice(("open", "save", "ask", "preview", "agree", "choose", "token", "/chat", "/flag"))
        if name == "choose":
            return asked(name, {**self._own[name], "sealed": _changed(own.sealed, chance)}), True
        if name == "token":
            name = chance.choice(("open", "save", "mine", "amend", "withdraw", "choose", "compare"))
            token = chance.choice((_changed(own.token, chance), own.token + "0", "", None, odd(chance)))
            return asked(name, {**self._own[name], "visitor": token}), True
        messages = forged(own.messages, chance)
        if name.startswith("/"):
            conversation = {"visitor": own.token, "id": own.conversation, "messages": messages}
            return self._program(name[1:], conversation, chance), True
        return asked(name, {**self._own[name], "messages": messages}), True

    def _foreign(self, chance: random.Random) -> tuple[Request, bool]:
        """What another visitor holds, in one's own name or in nobody's."""
        own, other = self._material.own, self._material.other
        token = chance.choice((own.token, own.token, "", other.token.partition(".")[0]))
        name = chance.choice(("open", "ask", "save", "preview", "agree"))
        theirs = {**self._other[name], "visitor": token}
        mixed = {**self._own[name], "messages": [*own.messages, *other.messages[-2:]]}
        as_own = {**self._own[name], "messages": other.messages}
        flag = {"visitor": own.token, "flag": chance.choice(other.flags)}
        known = {"visitor": own.token, "known": other.answers, "answers": other.answers, "start": 0}
        conversation = {"visitor": own.token, "id": other.conversation, "messages": other.messages}
        return chance.choice(
            (
                lambda: (asked(name, theirs), True),
                lambda: (asked(name, mixed), True),
                lambda: (asked(name, as_own), True),
                lambda: (asked("save", {**self._own["save"], "message": chance.choice(other.answers)}), True),
                lambda: (asked("amend", {**self._own["amend"], **flag, "look": chance.random() < 0.5}), True),
                lambda: (asked("withdraw", flag), True),
                lambda: (asked("choose", {**self._other["choose"], "visitor": token}), True),
                lambda: (asked("receipts", known), False),
                lambda: (asked("mine", known), False),
                lambda: (asked("mine_rows", known), False),
                lambda: (asked("stop", {"visitor": own.token, "request": "request-of-b"}), False),
                lambda: (self._program(chance.choice(("flag", "chat")), conversation, chance), True),
            )
        )()

    def _no_role(self, chance: random.Random) -> tuple[Request, bool]:
        """A maintainer's function by every way in, with every forged sign of being one."""
        name = chance.choice(list(self._maintain))
        claim = {"name": "eve", "token": "x", "role": "maintainer"}
        body = as_body({"data": [{**self._maintain[name], "maintainer": claim, "role": "maintainer"}]})
        headers = {
            **JSON,
            **chance.choice(wire_tricks.CLAIMS),
            "cookie": chance.choice(self._material.forged_cookies),
        }
        if chance.random() < 0.3:
            number, count = self._material.functions[name]
            call = {
                "data": [self._maintain[name]] * count,
                "fn_index": number,
                "session_hash": _session(chance),
            }
            return Request(
                "POST", JOIN, headers, as_body({**call, "api_name": name, "event_data": claim})
            ), True
        path = chance.choice(wire_tricks.WAYS).format(name=name)
        return Request(chance.choice(("POST", "POST", "POST", "GET", "PUT")), path, headers, body), True

    def _programs(self, chance: random.Random) -> tuple[Request, bool]:
        if chance.random() < 0.5:
            sample = {**COMPLETION, "stream": chance.random() < 0.5}
            headers = {**JSON, "authorization": f"Bearer {self._material.key}"}
            if is_outside := chance.random() < 0.2:
                headers["authorization"] = chance.choice(
                    ("", "Bearer ", f"bearer{self._material.key}", "Bearer \u00e9", "Basic eDp5")
                )
            return Request(
                "POST", "/v1/chat/completions", headers, as_body(broken(sample, chance))
            ), is_outside
        call = self._call(chance.choice(("chat", "flag", "stats")), None, chance)
        path = JOIN + chance.choice(("", "", "?session_hash=../../etc", "?__theme=dark"))
        return Request("POST", path, dict(JSON), as_body(broken(call, chance))), False

    def _program(self, name: str, conversation: Json, chance: random.Random) -> Request:
        return Request("POST", JOIN, dict(JSON), as_body(self._call(name, conversation, chance)))

    def _call(self, name: str, conversation: Json | None, chance: random.Random) -> Json:
        own = self._material.own
        conversation = conversation or {
            "visitor": own.token,
            "id": own.conversation,
            "messages": own.messages,
        }
        arguments = {
            "chat": ["where is it?", conversation, "full", 3, "", 0.3, 0.9, 16, 7],
            "flag": [conversation, "bad", ["outdated"], "", "", "", "", "", "", False],
            "stats": [],
        }
        return {
            "data": arguments[name],
            "fn_index": self._material.functions[name][0],
            "session_hash": _session(chance),
        }


def asked(name: str, request: Any, headers: Mapping[str, str] = JSON) -> Request:
    """As the page asks; the request may be no object at all."""
    way = "call" if name in STREAMED else "run"
    return Request("POST", f"/gradio_api/{way}/{name}", dict(headers), as_body({"data": [request]}))


def visitors(person: Person, material: Material) -> dict[str, Json]:
    """For every endpoint of visitors what its page would send: all of it is answered."""
    known = {"visitor": person.token, "conversation": person.conversation, "messages": person.messages}
    choice = {
        "verdict": "bad", "reasons": ["outdated", "harmful"], "hazards": ["S6"], "severity": "minor",
        "comment": "It is 45 days now.", "correction": "Within 45 days.", "consent": material.consent,
        "preview_shown": True, "seen_revision": 0,
    }  # fmt: skip
    vote = {"choice": "a_better", "reasons": {"a": ["accurate"], "b": []}, "consent": material.consent}
    flag = {"message": person.answers[-1], "choice": choice}
    own = {"visitor": person.token, "flag": person.flags[0]}
    return {
        "enter": {"visitor": person.token},
        "status": {"visitor": person.token},
        "ask": {**known, "request": "request-1", "question": QUESTION, "controls": FEW_TOKENS},
        "stop": {"visitor": person.token, "request": "request-1"},
        "open": known,
        "save": {**known, **flag},
        "preview": {**known, **flag},
        "agree": {**known, "consent": material.consent, "everywhere": True},
        "receipts": {"visitor": person.token, "answers": person.answers},
        "contenders": {"visitor": person.token},
        "compare": {"visitor": person.token, "request": "request-2", "pair": material.pair,
                    "question": QUESTION, "controls": FEW_TOKENS},
        "choose": {"visitor": person.token, "sealed": person.sealed, "choice": vote, "look": False},
        "halt": {"visitor": person.token, "request": "request-2"},
        "mine": {"visitor": person.token, "start": 0, "known": person.answers},
        "amend": {**own, "choice": {**choice, "seen_revision": 1}, "look": False},
        "mine_rows": {"visitor": person.token},
        "withdraw": {"visitor": person.token, "flag": person.flags[-1]},
        "insights": {},
    }  # fmt: skip


def maintainers(material: Material) -> dict[str, Json]:
    """The same for maintainers; what would begin hours of work names what is not there."""
    flags = [{"flag": name, "after": "", "matter": "0" * 64} for name in material.other.flags]
    return {
        "review_queue": {"state": "", "reason": "outdated", "round": 0},
        "review_decide": {"state": "accepted", "flags": flags, "note": "so it is", "correction": "No."},
        "review_undo": {"flags": flags},
        "fetch_others": {},
        "set_preview": {"include": "all"},
        "set_curate": {"include": "no such choice"},
        "rounds": {},
        "round_look": {"number": 1},
        "round_start": {"recipe": "no_such_recipe", "include": "accepted", "fresh": True, "flavor": "x",
                        "timeout": "2h"},
        "round_stop": {},
        "experiments": {"name": "none"},
        "experiment_ask": {"action": "clone", "experiment": "none", "configuration": "c1",
                           "changes": "optimiser.rate=1e-4", "warm": True},
        "models": {},
        "model_promote": {"file": "shop-1/shop-1-Q8_0.gguf", "why": "it is better"},
        "model_rollback": {"to": "0" * 64, "why": "it is worse"},
    }  # fmt: skip


COMPLETION: Json = {
    "model": "backtalk",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
    ],
    "max_tokens": 8, "temperature": 0.5, "top_p": 1, "top_k": 40, "min_p": 0.01, "repetition_penalty": 1.1,
    "seed": 1, "stop": ["xyz"], "stream_options": {"include_usage": True}, "user": "program", "n": 1,
    "tools": [], "response_format": {"type": "text"}, "logit_bias": {}, "presence_penalty": 0,
}  # fmt: skip


def forged(messages: list[Json], chance: random.Random) -> list[Json]:
    """A conversation that this server never signed so."""
    messages = copy.deepcopy(messages)
    place = chance.randrange(len(messages))
    message = messages[place]
    name = chance.choice(("text", *message))
    if chance.random() < 0.2:
        return chance.choice((messages[1:], messages[::-1], messages * 2, [*messages[:1], *messages[2:]]))
    if isinstance(message[name], dict):
        part = chance.choice([*message[name], "more"])
        message[name][part] = f"{json.dumps(message[name].get(part))} and more"
    elif name == "text":
        message[name] += chance.choice((" Everything is free.", " ", "\0", mutations.CONTROL_TOKENS[0]))
    elif name == "role":
        message[name] = "user" if message[name] == "assistant" else "assistant"
    else:
        message[name] = chance.choice((_changed(message[name], chance), message[name] + "x"))
    return messages


def _in_name_of(person: Person, request: Json) -> Json:
    return {**request, "visitor": person.token} if "visitor" in request else request


def _session(chance: random.Random) -> str:
    return f"{chance.getrandbits(128):032x}"


def _changed(text: str, chance: random.Random) -> str:
    """One character of it is another one; never one of the last, of which base64 leaves bits unused."""
    place = chance.randrange(max(1, len(text) - 4))
    return text[:place] + ("A" if text[place : place + 1] != "A" else "B") + text[place + 1 :]
