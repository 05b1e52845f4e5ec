"""The kinds of value that a knob can have: reading one from YAML or from a flag's text, naming it in words.

Known kinds: int, float, bool, str, Path, Literal, a union with None, tuple[X, ...], dict. A value that does
not fit raises TypeError or ValueError here; `config` turns that into a sentence with the key.
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from backtalk.errors import nearest


def convert(kind: Any, value: Any) -> Any:
    """`value` as `kind`, without guessing: "3" is not a whole number, 1 is not true."""
    if kind is Any:
        return value
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return _first_that_fits(convert, get_args(kind), value)
    if origin is Literal:
        return _accept(value, value in get_args(kind) and not isinstance(value, bool))
    if origin is tuple:
        _accept(value, isinstance(value, list | tuple))
        return tuple(convert(get_args(kind)[0], item) for item in value)
    if origin is dict:
        return dict(_accept(value, isinstance(value, dict)))
    if kind is float:
        return _finite(value)
    if kind is Path:
        return Path(_accept(value, isinstance(value, str | Path)))
    return _accept(value, isinstance(value, kind) and (kind is bool or not isinstance(value, bool)))


def _first_that_fits(read: Callable[[Any, Any], Any], kinds: tuple[Any, ...], value: Any) -> Any:
    """None is tried first: the text `none` means it even where text is allowed."""
    for kind in sorted(kinds, key=lambda kind: kind is not NoneType):
        try:
            return read(kind, value)
        except (TypeError, ValueError):
            continue
    raise TypeError


def _finite(value: Any) -> float:
    """Accepts `1e-4`, which YAML 1.1 reads as text because it has no dot."""
    number = float(_accept(value, not isinstance(value, bool)))
    return float(_accept(number, math.isfinite(number)))


def _accept(value: Any, fits: bool) -> Any:
    if not fits:
        raise TypeError
    return value


def from_text(kind: Any, text: str) -> Any:
    """The value of a flag; argparse shows the sentence where it does not fit."""
    try:
        return _parse(kind, text)
    except (TypeError, ValueError):
        near = near_choice(kind, text)
        sentence = f"should be {wanted(kind)}, but '{text}' was given.{near}"
        raise argparse.ArgumentTypeError(sentence) from None


def _parse(kind: Any, text: str) -> Any:
    if get_origin(kind) in (Union, UnionType):
        lists_first = sorted(get_args(kind), key=lambda one: ("," in text) != (get_origin(one) is tuple))
        return _first_that_fits(_parse, tuple(lists_first), text)
    if get_origin(kind) is tuple:
        return tuple(_parse(get_args(kind)[0], part.strip()) for part in text.split(",") if part.strip())
    if kind is int:
        return int(text)
    if kind is NoneType:
        return convert(kind, None if text.lower() == "none" else text)
    return convert(kind, text)


def metavar(kind: Any) -> str:
    """The placeholder in `--help`."""
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    if get_origin(kind) in (Union, UnionType):
        return "|".join(metavar(one) for one in get_args(kind) if one is not NoneType)
    if get_origin(kind) is tuple:
        return f"{metavar(get_args(kind)[0])},..."
    return {int: "N", float: "X", Path: "PATH"}.get(kind, "TEXT")


def wanted(kind: Any) -> str:
    """What a sentence calls the kind."""
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(wanted(one) for one in get_args(kind))
    if get_origin(kind) is tuple:
        return f"a list, each item {wanted(get_args(kind)[0])}"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    return names.get(kind, "none" if kind is NoneType else "keys with values")


def named(value: Any) -> str:
    """What a sentence calls a value that was found."""
    if isinstance(value, list | tuple):
        return f"the list {list(value)}"
    if isinstance(value, dict):
        return "a mapping"
    if value is None:
        return "nothing"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def near_choice(kind: Any, value: Any) -> str:
    """The nearest of a Literal's choices as a question, else nothing."""
    return nearest(str(value), map(str, get_args(kind))) if get_origin(kind) is Literal else ""
