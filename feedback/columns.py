"""The columns of a row: one declaration in a dataclass serves reading, checking, writing and masking.

A row is what `flag/1` puts on one JSON line: every key present, no null, text bounded. Each column is
declared once, as a dataclass field made by `text`, `count`, `number`, `several` or `packed`; from it follow
what a reader accepts and which texts are masked.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from backtalk.errors import nearest

PACKED_LIMIT = 64_000  # characters of a packed column
MOST_FAULTS = 5  # that one sentence tells
LARGEST = 2**53 - 1  # beyond it a JSON number is no longer exact in every reader
NAME = re.compile(r"[A-Za-z0-9_.:/+@=-]*")  # ids, hashes, versions: nothing that could be prose
ATOMS = frozenset({str, int, float, bool})
UNCLEAN = re.compile("[\x00\ud800-\udfff]")  # what UTF-8 or a C string cannot carry
MOMENT = re.compile(  # what pyarrow reads as a time
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:(?P<time>[T ][0-9]{2}(?::[0-9]{2}){0,2})(?P<zone>Z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
MIDNIGHT = "T00:00:00"


def text(
    limit: int, *, one_of: tuple[str, ...] = (), name: bool = False, free: bool = False, default: str = ""
) -> Any:
    """A text of at most `limit` characters; `name`: an id, no prose; `free`: somebody wrote it, mask it."""
    return dataclasses.field(
        default=default, metadata={"limit": limit, "one_of": one_of, "name": name, "free": free}
    )


def count(least: int = 0, most: int = LARGEST, default: int = 0) -> Any:
    """A whole number between `least` and `most`."""
    return dataclasses.field(default=default, metadata={"least": least, "most": most})


def number(least: float = 0.0, most: float = 1e12) -> Any:
    """A finite number between `least` and `most`."""
    return dataclasses.field(default=0.0, metadata={"least": least, "most": most})


def several(most: int, limit: int = 0, *, one_of: tuple[str, ...] = ()) -> Any:
    """A list of at most `most` items; `limit` and `one_of` speak of each where the items are names."""
    inner = {"limit": limit, "one_of": one_of, "name": True, "free": False}
    return dataclasses.field(default=(), metadata={"items": most, **inner})


def packed(record: type) -> Any:
    """A record that sits in one JSON text, what is at its default left out: for what is rarely used."""
    return dataclasses.field(default_factory=record, metadata={"packed": record})


@cache
def kinds(record: type) -> dict[str, Any]:
    """The type of each column of a record."""
    return get_type_hints(record)


def plain(value: Any) -> Any:
    """A record as dictionaries, lists, texts and numbers: what JSON writes."""
    if type(value) in ATOMS:
        return value
    if columns := _columns(value.__class__):
        return {
            name: change(getattr(value, name)) if change else getattr(value, name) for name, change in columns
        }
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value


@cache
def _columns(record: type) -> tuple[tuple[str, Callable[[Any], Any] | None], ...]:
    """The columns of a record and what makes each plain, None where it is so; none where it is no record."""
    if not dataclasses.is_dataclass(record):
        return ()
    return tuple(
        (column.name, _pack if "packed" in column.metadata else None if column.type in ATOMS else plain)
        for column in dataclasses.fields(record)
    )


def clean(written: str) -> str:
    """Text that UTF-8 can carry: halves of one character are joined, lone halves and null bytes replaced."""
    if not UNCLEAN.search(written):
        return written
    joined = written.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return joined.replace("\0", "\ufffd")


def spell_out_moments(record: Any) -> Any:
    """The record without a text that a reader of JSON lines would take for a time, however deep it sits.

    `datasets` reads through pyarrow, which makes timestamps of a column whose values in one file all look
    like this, and only then the text that the card declares: another text than was stored.
    """
    changed = {}
    for column in dataclasses.fields(record):
        value = getattr(record, column.name)
        if "packed" in column.metadata:  # inside of a longer text nothing is guessed
            continue
        respelled = _respell(value, column.metadata.get("name", False))
        if respelled is not value:
            changed[column.name] = respelled
    return dataclasses.replace(record, **changed) if changed else record


def _respell(value: Any, name: bool) -> Any:
    if isinstance(value, str):
        return _respell_moment(value, name) if MOMENT.fullmatch(value) else value
    if isinstance(value, tuple):
        respelled = tuple(_respell(item, name) for item in value)
        return value if respelled == value else respelled
    return spell_out_moments(value) if dataclasses.is_dataclass(value) else value


def _respell_moment(written: str, name: bool) -> str:
    """A text ends its line; of names a time gets milliseconds and a date, such as a tag, a full stop."""
    if not name:
        return f"{written}\n"
    date, time, zone = MOMENT.fullmatch(written).group("date", "time", "zone")  # type: ignore[union-attr]
    return f"{date}{time}{MIDNIGHT[len(time) :]}.000{zone or ''}" if time else f"{date}."


def _pack(record: Any) -> Any:
    if not dataclasses.is_dataclass(record) or isinstance(record, type):
        return record
    usual = plain(type(record)())
    unusual = {name: value for name, value in plain(record).items() if value != usual[name]}
    return json.dumps(unusual, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _unpack(record: type, packed: Any, where: str, faults: list[str]) -> Any:
    try:
        given = json.loads(packed) if len(packed) <= PACKED_LIMIT else None
    except (TypeError, ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        faults.append(f"{where} is not a JSON object in at most {PACKED_LIMIT} characters of text")
        return None
    return read(record, {**plain(record()), **given}, where, faults)


def read(record: type, row: Any, where: str, faults: list[str]) -> Any:
    """A record from a row; what does not fit is added to `faults`, and the result is then worth nothing."""
    if not isinstance(row, Mapping):
        faults.append(f"{where or 'the event'} is {_what(row)} (wanted an object)")
        return None
    readers = _readers(record)
    prefix = f"{where}." if where else ""
    if row.keys() != readers.keys():
        faults += _wrong_names(row, list(readers), prefix)
    values = {
        name: read_value(row[name], prefix + name, faults)
        for name, read_value in readers.items()
        if name in row
    }
    return None if faults else record(**values)


def _wrong_names(row: Mapping[str, Any], columns: list[str], prefix: str) -> Iterator[str]:
    for name in sorted(str(name)[:40] for name in row.keys() - set(columns))[:MOST_FAULTS]:
        yield f"{prefix}{name!r} is not a column{nearest(name, columns).rstrip('?')}"
    yield from (f"{prefix}{name} is missing" for name in columns if name not in row)


def map_texts(record: Any, change: Callable[[str, str], str], where: str = "") -> Any:
    """The record with every free text replaced by `change(column, text)`, however deep it sits."""
    changed: dict[str, Any] = {}
    for column in dataclasses.fields(record):
        name, value = f"{where}{column.name}", getattr(record, column.name)
        if column.metadata.get("free") and isinstance(value, str):
            changed[column.name] = change(name, value)
        elif dataclasses.is_dataclass(value):
            changed[column.name] = map_texts(value, change, f"{name}.")
        elif isinstance(value, tuple | list) and value and dataclasses.is_dataclass(value[0]):
            changed[column.name] = tuple(map_texts(item, change, f"{name}.") for item in value)
    return dataclasses.replace(record, **changed)


Reader = Callable[[Any, str, list[str]], Any]
"""Takes a value, where it stands, and the faults found so far; gives what the record holds of it."""


@cache
def _readers(record: type) -> dict[str, Reader]:
    """What reads each column: decided once, since a set is read from a million rows."""
    return {
        column.name: _reader(kinds(record)[column.name], column.metadata)
        for column in dataclasses.fields(record)
    }


def _reader(kind: Any, rule: Mapping[str, Any]) -> Reader:
    if "packed" in rule:
        return lambda value, where, faults: _unpack(kind, value, where, faults)
    if get_origin(kind) is tuple:
        return _list_reader(_reader(get_args(kind)[0], rule), rule["items"])
    if dataclasses.is_dataclass(kind):
        return lambda value, where, faults: read(kind, value, where, faults)  # type: ignore[arg-type]
    return _atom_reader(CHECKS[kind](rule), float if kind is float else None)


def _atom_reader(fault_of: Callable[[Any], str], change: Callable[[Any], Any] | None) -> Reader:
    def read_atom(value: Any, where: str, faults: list[str]) -> Any:
        if fault := fault_of(value):
            faults.append(f"{where} {fault}")
            return value
        return change(value) if change else value

    return read_atom


def _list_reader(read_item: Reader, most: int) -> Reader:
    def read_list(value: Any, where: str, faults: list[str]) -> Any:
        if not isinstance(value, list):
            faults.append(f"{where} is {_what(value)} (wanted a list)")
        elif len(value) > most:
            faults.append(f"{where} has {len(value)} items (at most {most})")
        else:
            return tuple([read_item(item, f"{where}[{n}]", faults) for n, item in enumerate(value)])
        return ()

    return read_list


def _text_check(rule: Mapping[str, Any]) -> Callable[[Any], str]:
    limit, one_of, is_name = rule["limit"], rule["one_of"], rule["name"]

    def fault(value: Any) -> str:
        if not isinstance(value, str):
            return f"is {_what(value)} (wanted text)"
        if len(value) > limit:
            return f"has {len(value)} characters (at most {limit})"
        if "\0" in value if value.isascii() else UNCLEAN.search(value):
            return "holds a null byte or half a character (neither can be stored)"
        if one_of and value not in one_of:
            return f"is {value[:40]!r} (wanted {', '.join(word or 'empty' for word in one_of)})"
        if is_name and not NAME.fullmatch(value):
            return f"is {value[:40]!r} (wanted letters, digits and . _ : / + @ = - only)"
        return ""

    return fault


def _count_check(rule: Mapping[str, Any]) -> Callable[[Any], str]:
    def fault(value: Any) -> str:
        if not isinstance(value, int) or isinstance(value, bool):
            return f"is {_what(value)} (wanted a whole number)"
        return _range_fault(value, rule)

    return fault


def _number_check(rule: Mapping[str, Any]) -> Callable[[Any], str]:
    def fault(value: Any) -> str:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return f"is {_what(value)} (wanted a number)"
        return _range_fault(value, rule)

    return fault


def _range_fault(value: float, rule: Mapping[str, Any]) -> str:
    inside = rule["least"] <= value <= rule["most"]  # False for NaN too
    return "" if inside else f"is out of range (wanted {rule['least']} to {rule['most']})"


def _flag_check(_rule: Mapping[str, Any]) -> Callable[[Any], str]:
    return lambda value: "" if isinstance(value, bool) else f"is {_what(value)} (wanted true or false)"


CHECKS: dict[Any, Callable[[Mapping[str, Any]], Callable[[Any], str]]] = {
    str: _text_check,
    int: _count_check,
    float: _number_check,
    bool: _flag_check,
}
"""By kind: from a column's rule to what is wrong with a value, empty where nothing is."""


def _what(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}
    return names.get(type(value), "an object")
