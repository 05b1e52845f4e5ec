"""Settings with one home per knob: a frozen dataclass, filled from defaults, then YAML, then flags.

    @dataclass(frozen=True)
    class Training:
        steps: int = knob(1000, "optimiser steps")
        lora: Lora = section(Lora)

    add_flags(parser, Training)                                    # --steps, --lora.r
    training = from_sources(Training, args.recipe, vars(args))     # a flag beats YAML beats the default

A key that does not exist is an error with the nearest name; a value of the wrong type is one sentence. Rules
between knobs stand in `__post_init__` of the class and raise `WordsError`.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, field, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml

from backtalk.errors import WordsError, nearest
from backtalk.kinds import convert, from_text, metavar, named, near_choice, wanted

Settings = TypeVar("Settings")
REQUIRED: Any = MISSING


def knob(default: Any, help: str) -> Any:
    """One knob: its default (`REQUIRED` where there is none) and its help, told nowhere else."""
    return field(default=default, metadata={"help": help})


def section(cls: type) -> Any:
    """A group of knobs with a name: `lora:` in YAML, `--lora.r` as a flag."""
    return field(default_factory=cls)


def from_sources(
    cls: type[Settings], path: Path | None = None, flags: Mapping[str, Any] | None = None
) -> Settings:
    """The settings from the YAML file at `path` (if any), then from `flags` as `add_flags` names them."""
    values = read_yaml(path) if path else {}
    given = flags or {}
    for key in _flag_names(cls):
        if key in given:
            _put(values, key, given[key])
    return from_plain(cls, values, str(path) if path else "the settings")


def from_plain(cls: type[Settings], values: Mapping[str, Any], where: str) -> Settings:
    """The settings from plain values, such as a recipe in a card; `where` names the source in errors."""
    return _build(cls, values, where, "")


def to_plain(value: Any) -> Any:
    """Settings as plain JSON values, complete: what a card stores as its recipe."""
    if is_dataclass(value):
        return {one.name: to_plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def add_flags(parser: argparse.ArgumentParser, cls: type) -> None:
    """Adds one flag per knob; a flag that is not given leaves no trace, so that YAML and defaults hold."""
    for key, (kind, one) in _knobs(cls):
        names = [f"--{key.replace('_', '-')}"]
        options: dict[str, Any] = {"dest": key, "default": argparse.SUPPRESS, "help": _help(one)}
        if kind is bool:
            parser.add_argument(*names, action=argparse.BooleanOptionalAction, **options)
        else:
            parser.add_argument(*names, type=partial(from_text, kind), metavar=metavar(kind), **options)


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error; the plain loader keeps the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key '{key}' stands twice", problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except OSError as fault:
        raise WordsError(f"{path} cannot be read ({fault.strerror}).") from fault
    except UnicodeDecodeError as fault:
        raise WordsError(f"{path} is not UTF-8 text.") from fault
    except yaml.YAMLError as fault:
        raise WordsError(f"{path} is not valid YAML: {_yaml_fault(fault)}.") from fault
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise WordsError(f"{path} holds {named(values)}; keys with values were expected.")
    return values


def _yaml_fault(fault: yaml.YAMLError) -> str:
    if isinstance(fault, yaml.MarkedYAMLError) and fault.problem_mark:
        return f"line {fault.problem_mark.line + 1}, {fault.problem}"
    return str(fault)


def _build(cls: type[Settings], values: Any, where: str, prefix: str) -> Settings:
    if not isinstance(values, Mapping):
        raise WordsError(
            f"{where}: '{prefix[:-1]}' should be keys with values, but {named(values)} was found."
        )
    hints = get_type_hints(cls)
    known = {one.name: one for one in fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            near = nearest(f"{prefix}{key}", [prefix + name for name in known])
            raise WordsError(f"{where} has the key '{prefix}{key}', which does not exist.{near}")
    built = {key: _read(hints[key], value, where, prefix + key) for key, value in values.items()}
    for name, one in known.items():
        if name not in built and one.default is MISSING and one.default_factory is MISSING:
            raise WordsError(f"{where} lacks the key '{prefix}{name}' ({one.metadata.get('help', '')}).")
    return cls(**built)


def _read(kind: Any, value: Any, where: str, key: str) -> Any:
    """`value` as `kind`, or one sentence with the key, what was found and what was wanted."""
    if isinstance(kind, type) and is_dataclass(kind):
        return value if isinstance(value, kind) else _build(kind, value, where, f"{key}.")
    try:
        return convert(kind, value)
    except (TypeError, ValueError):
        raise WordsError(
            f"{where}: '{key}' should be {wanted(kind)}, but {named(value)} was found."
            f"{near_choice(kind, value)}"
        ) from None


def _knobs(cls: type, prefix: str = "") -> Iterator[tuple[str, tuple[Any, Field[Any]]]]:
    """Every knob of `cls` and of its sections, by dotted name, with its type."""
    hints = get_type_hints(cls)
    for one in fields(cls):
        kind = hints[one.name]
        if isinstance(kind, type) and is_dataclass(kind):
            yield from _knobs(kind, f"{prefix}{one.name}.")
        else:
            yield prefix + one.name, (kind, one)


def _flag_names(cls: type) -> list[str]:
    return [key for key, _ in _knobs(cls)]


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for name in sections:
        values = values.setdefault(name, {})
    values[last] = value


def _help(one: Field[Any]) -> str:
    text = str(one.metadata.get("help", ""))
    default = "" if one.default in (MISSING, "") else f" (default: {_shown(one.default)})"
    return (text + default).replace("%", "%%")  # argparse reads % as a format


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
