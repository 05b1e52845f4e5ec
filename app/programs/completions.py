"""What a program may ask in OpenAI's words, and what it is answered in them: pure functions over JSON.

    wanted = Wanted.from_json(request)      checked; WordsError says what was off
    chunk(wanted, "text")  ·  last_chunk(wanted, ending)  ·  whole(wanted, "text", ending)
    fault(error)                            status and JSON for an error of ours

What would change the answer and is not done here (tools, several choices, penalties) is refused, not ignored;
what would not change it is ignored, since clients send much of it.
"""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from app.desk.text import clean
from backtalk.engine import STOPPED, Ending, Sampling
from backtalk.errors import BacktalkError, BusyError, ContextError, ModelError, NetworkError, WordsError

Json = dict[str, Any]

ANY_MODEL = "backtalk"  # a name for whatever answers, so that a promotion breaks no program
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
LONGEST_ANSWER = 4_096  # tokens; the context may allow fewer
MOST_STOPS, LONGEST_STOP = 4, 200
LONGEST_USER = 200
ONLY: Mapping[str, tuple[Any, ...]] = {  # settings that have one value here
    "n": (1,),
    "tools": ([],),
    "functions": ([],),
    "response_format": ({"type": "text"},),
    "logprobs": (False,),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "modalities": (["text"],),
    "audio": (),
}
STATUS: Mapping[type[BacktalkError], tuple[int, str, str]] = {  # the first that fits: status, type, code
    WordsError: (400, "invalid_request_error", ""),
    ContextError: (400, "invalid_request_error", "context_length_exceeded"),
    BusyError: (429, "rate_limit_error", "rate_limit_exceeded"),
    NetworkError: (502, "server_error", ""),
    ModelError: (503, "server_error", ""),
}


class Refused(WordsError):
    """Refused with a status that says why: no key, no such model, too large."""

    CODES: ClassVar = {401: "invalid_api_key", 404: "model_not_found", 413: "request_too_large"}

    def __init__(self, sentence: str, status: int):
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Wanted:
    """A request that can be answered."""

    messages: list[dict[str, str]]
    sampling: Sampling
    model: str = ANY_MODEL
    user: str = ""
    is_streamed: bool = False
    tells_usage: bool = False
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    @staticmethod
    def from_json(value: Any) -> "Wanted":
        """Raises WordsError in one sentence."""
        if not isinstance(value, dict):
            raise WordsError("The request is not a JSON object. Wanted: messages, and what else is set.")
        request = {name: given for name, given in value.items() if given is not None}
        for name, allowed in ONLY.items():
            if name in request and request[name] not in allowed:
                raise WordsError(f"'{name}' is not served here. Leave it out.")
        options = _of(request, "stream_options", dict, {})
        return Wanted(
            messages=_messages(request.get("messages")),
            sampling=_sampling(request),
            model=_of(request, "model", str, ANY_MODEL),
            user=_of(request, "user", str, "")[:LONGEST_USER],
            is_streamed=_of(request, "stream", bool, False),
            tells_usage=options.get("include_usage") is True,
        )


def chunk(wanted: Wanted, text: str) -> Json:
    return _chunk(wanted, [{"index": 0, "delta": {"content": text}, "finish_reason": None}])


def first_chunk(wanted: Wanted) -> Json:
    delta = {"role": "assistant", "content": ""}
    return _chunk(wanted, [{"index": 0, "delta": delta, "finish_reason": None}])


def last_chunks(wanted: Wanted, ending: Ending) -> list[Json]:
    over = _chunk(wanted, [{"index": 0, "delta": {}, "finish_reason": _reason(ending)}])
    return [over, {**_chunk(wanted, []), "usage": usage(ending)}] if wanted.tells_usage else [over]


def whole(wanted: Wanted, text: str, ending: Ending) -> Json:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": _reason(ending), "logprobs": None}
    return {**_head(wanted, "chat.completion"), "choices": [choice], "usage": usage(ending)}


def models(name: str) -> Json:
    """The model that answers, by its name and by the one that stays."""
    known = dict.fromkeys((name, ANY_MODEL))
    return {
        "object": "list",
        "data": [{"id": one, "object": "model", "created": 0, "owned_by": "backtalk"} for one in known],
    }


def usage(ending: Ending) -> Json:
    return {
        "prompt_tokens": ending.prompt_tokens,
        "completion_tokens": ending.completion_tokens,
        "total_tokens": ending.prompt_tokens + ending.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": ending.cached_tokens},
    }


def fault(error: BacktalkError) -> tuple[int, Json]:
    """The status of an answer and its body."""
    kinds = [kind for kind in STATUS if isinstance(error, kind)]
    status, kind, code = STATUS[kinds[0]] if kinds else (500, "server_error", "")
    if isinstance(error, Refused):
        status, code = error.status, error.CODES[error.status]
    return status, {"error": {"message": str(error), "type": kind, "param": None, "code": code or None}}


def _head(wanted: Wanted, kind: str) -> Json:
    return {"id": wanted.id, "object": kind, "created": wanted.created, "model": wanted.model}


def _chunk(wanted: Wanted, choices: list[Json]) -> Json:
    return {**_head(wanted, "chat.completion.chunk"), "choices": choices}


def _reason(ending: Ending) -> str:
    """OpenAI knows no end by the clock: what is not whole is "length"."""
    return "stop" if ending.finish_reason == STOPPED else "length"


def _messages(value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list) or not value:
        raise WordsError("'messages' is not a list of messages. Wanted: at least one, the last by the user.")
    messages = [_message(one) for one in value]
    if any(message["role"] == "system" for message in messages[1:]):
        raise WordsError("A system message stands between others. It may only be the first one.")
    if messages[-1]["role"] != "user":
        raise WordsError(f"The last message is by the {messages[-1]['role']}; wanted is one by the user.")
    return messages


def _message(value: Any) -> dict[str, str]:
    role = value.get("role") if isinstance(value, dict) else None
    if not isinstance(role, str) or role not in ROLES:
        raise WordsError(f"A message has no role that is known. Known are {', '.join(ROLES)}.")
    return {"role": ROLES[role], "content": clean(_content(value.get("content")))}


def _content(value: Any) -> str:
    """Plain text, or a list of parts that are text."""
    parts = [{"text": value}] if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(map(_is_text, parts)):
        raise WordsError("The content of a message is not text. Only text is read here.")
    return "".join(part["text"] for part in parts)


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)


def _sampling(request: Json) -> Sampling:
    most = request.get("max_completion_tokens", request.get("max_tokens", Sampling.max_tokens))
    numbers = {**request, "max_tokens": most}
    return Sampling(
        temperature=_number(numbers, "temperature", 1.0, 0, 2),
        top_p=_number(numbers, "top_p", 1.0, 0, 1),
        top_k=int(_number(numbers, "top_k", 0, -1, 1_000)),
        min_p=_number(numbers, "min_p", 0.0, 0, 1),
        repeat_penalty=_number(numbers, "repetition_penalty", 1.0, 0.5, 2),
        max_tokens=int(_number(numbers, "max_tokens", Sampling.max_tokens, 1, LONGEST_ANSWER)),
        seed=int(_number(numbers, "seed", secrets.randbelow(2**31), 0, 2**31 - 1)),
        stop=_stops(request.get("stop", [])),
    )


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or len(stops) > MOST_STOPS or not all(map(_is_stop, stops)):
        raise WordsError(f"'stop' is not a text or up to {MOST_STOPS} of them, none empty.")
    return tuple(stops)


def _is_stop(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_STOP


def _number(request: Json, name: str, default: float, lowest: float, highest: float) -> float:
    value = request.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
        raise WordsError(f"'{name}' is {value!r:.40}; wanted is a number from {lowest:g} to {highest:g}.")
    return value


def _of(request: Json, name: str, kind: type, default: Any) -> Any:
    value = request.get(name, default)
    if not isinstance(value, kind):
        raise WordsError(f"'{name}' holds a {type(value).__name__}, which it should not.")
    return value
