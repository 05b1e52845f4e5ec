"""The kinds of value that a knob can have: reading one from YAML or from a flag's text, and naming it in words.

Known kinds: int, float, bool, str, Path, Literal, a union with None, tuple[X, ...], dict. A value that does not fit
raises TypeError or ValueError here; `config` turns that into a sentence with the key.
"""

import argparse
import math
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from backtalk.errors import nearest


def convert(kind: Any, value: Any) -> Any:
    if kind is Any:
        return value
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return _convert_union(get_args(kind), value)
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


def _convert_union(kinds: tuple[Any, ...], value: Any) -> Any:
    for kind in kinds:
        try:
            return convert(kind, value)
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


class FromText:
    """Reads a knob's value from the text of a flag."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def __call__(self, text: str) -> Any:
        try:
            return self._value(self.kind, text)
        except (TypeError, ValueError):
            near = near_choice(self.kind, text)
            raise argparse.ArgumentTypeError(
                f"should be {wanted(self.kind)}, but '{text}' was given.{near}"
            ) from None

    def _value(self, kind: Any, text: str) -> Any:
        if get_origin(kind) in (Union, UnionType):
            return self._first_that_fits(get_args(kind), text)
        if get_origin(kind) is tuple:
            return tuple(
                self._value(get_args(kind)[0], part.strip()) for part in text.split(",") if part.strip()
            )
        if kind is int:
            return int(text)
        return convert(kind, text)

    def _first_that_fits(self, kinds: tuple[Any, ...], text: str) -> Any:
        if NoneType in kinds and text.lower() == "none":
            return None
        for kind in kinds:
            try:
                return self._value(kind, text)
            except (TypeError, ValueError):
                continue
        raise TypeError


def metavar(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    if get_origin(kind) in (Union, UnionType):
        return "|".join(metavar(one) for one in get_args(kind) if one is not NoneType)
    if get_origin(kind) is tuple:
        return f"{metavar(get_args(kind)[0])},..."
    return {int: "N", float: "X", Path: "PATH"}.get(kind, "TEXT")


def wanted(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(wanted(one) for one in get_args(kind))
    if get_origin(kind) is tuple:
        return f"a list, each item {wanted(get_args(kind)[0])}"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    return names.get(kind, "none" if kind is NoneType else "keys with values")


def named(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    if value is None:
        return "nothing"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def near_choice(kind: Any, value: Any) -> str:
    return nearest(str(value), map(str, get_args(kind))) if get_origin(kind) is Literal else ""
