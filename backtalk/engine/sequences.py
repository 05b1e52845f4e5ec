"""Who is where in the context: the sequences of the conversations, and those that wait in RAM.

    place = sequences.open(prompt, room=256)    -> Place: place.tokens is what need not be read again
    place.tokens.extend(...)                    as they are decoded
    sequences.close(place)                      it can be opened again, by its tokens

A conversation has no number; it is known by its tokens. What is asked next begins with what was read and
written before, so the longest common beginning is looked for among all sequences, busy ones included, and
taken over cell by cell: nothing is computed or copied. An edit or another answer to the same question makes
a branch beside the old one. What nobody waits for moves to RAM and comes back as it was; the oldest is
dropped when they take more than `idle_bytes`. Only where one alone takes more, the last few stay.
"""

from __future__ import annotations  # llama_cpp names its handles for type checkers only

import ctypes
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import llama_cpp

TOKEN = "i"  # llama.cpp's own type: a ninth of a list's memory, and compared as bytes
WORTH_KEEPING = 16  # tokens that only this sequence holds: fewer are read again sooner than copied twice


@dataclass(eq=False)
class Place:
    """A sequence of the context: `tokens` are those whose state it holds, `reserved` those that will come."""

    number: int
    tokens: array[int] = field(default_factory=lambda: array(TOKEN))
    reserved: int = 0
    busy: bool = True
    used: int = 0
    """When it was used last, counted in uses."""


@dataclass
class Counts:
    """What became of contexts; tokens."""

    found: int = 0
    """were there when they were asked for"""
    restored: int = 0
    """of those, came back from RAM"""
    shelved: int = 0
    dropped: int = 0
    """were thrown away for lack of memory: only these can have to be read twice"""


@dataclass(eq=False)
class _Shelved:
    tokens: array[int]
    state: ctypes.Array[ctypes.c_uint8]

    @property
    def bytes(self) -> int:
        return len(self.state) + self.tokens.itemsize * len(self.tokens)


@dataclass
class Sequences:
    """All of one context. Not safe for threads: it belongs to the thread that owns the context."""

    context: llama_cpp.llama_context_p
    cells: int
    numbers: int
    idle_bytes: int
    idle_places: int = 2
    """of conversations that are too large for RAM; no others stay: a cell in use costs time in every step,
    and moving a conversation to RAM and back costs less than a token"""
    can_branch: bool = True
    """False for models whose memory is a running state: it goes on from its end and from nowhere else."""
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self._memory = llama_cpp.llama_get_memory(self.context)
        self._free = list(range(self.numbers))
        self._places: list[Place] = []
        self._shelf: OrderedDict[int, _Shelved] = OrderedDict()
        self._clock = count(1)
        self.shelf_bytes = 0

    @property
    def used_cells(self) -> int:
        """From above: what two sequences share counts twice."""
        return sum(len(place.tokens) + place.reserved for place in self._places)

    def fits(self, cells: int) -> bool:
        """Whether a conversation of so many tokens can be opened now, idle ones making room."""
        busy = [place for place in self._places if place.busy]
        held = sum(len(place.tokens) + place.reserved for place in busy)
        return len(busy) < self.numbers and held + cells <= self.cells

    def open(self, prompt: Sequence[int], room: int) -> Place:
        """A busy sequence that holds as much of `prompt` as is known, at most all but the last token.

        The last is always read, for its logits. `room` tokens are reserved for the answer. Ask `fits` first.
        """
        wanted = array(TOKEN, prompt[:-1])
        source = max(self._places, key=lambda place: self._usable(place.tokens, wanted), default=None)
        found = self._usable(source.tokens, wanted) if source else 0
        key = max(self._shelf, key=lambda key: self._usable(self._shelf[key].tokens, wanted), default=None)
        if key is not None and self._usable(self._shelf[key].tokens, wanted) > found + WORTH_KEEPING:
            place = self._restored(key, wanted, len(prompt) + room)
        else:
            place = self._branched(source, wanted[:found], len(prompt) + room)
        place.reserved = len(prompt) + room - len(place.tokens)
        self.counts.found += len(place.tokens)
        return place

    def close(self, place: Place) -> None:
        """The conversation may go on later: it is kept, in the context or in RAM."""
        place.busy, place.reserved = False, 0
        place.used = next(self._clock)
        if not place.tokens:
            self._remove(place)
        idle = sorted((other for other in self._places if not other.busy), key=lambda other: -other.used)
        too_large = [other for other in idle if self._state_bytes(other) > self.idle_bytes]
        for other in idle:
            if other not in too_large[: self.idle_places]:
                self._move_to_shelf(other)

    def forget(self, place: Place) -> None:
        """What the sequence holds is not to be trusted any more."""
        self._remove(place)

    def clear(self) -> None:
        """Forgets every conversation, those in RAM too."""
        llama_cpp.llama_memory_clear(self._memory, True)
        self._places.clear()
        self._shelf.clear()
        self.shelf_bytes = 0
        self._free = list(range(self.numbers))

    def _usable(self, tokens: array[int], wanted: array[int]) -> int:
        """How much of what was read is of use for `wanted`."""
        shared = common(tokens, wanted)
        return shared if self.can_branch or shared == len(tokens) else 0

    def _branched(self, source: Place | None, beginning: array[int], cells: int) -> Place:
        """A sequence that begins as `source` does; `source` itself, where it is idle and goes no further."""
        if source and not source.busy and len(source.tokens) == len(beginning):
            source.busy = True
            self._make_room(cells - len(source.tokens), numbers=0)
            return source
        self._make_room(0, sparing=source)
        place = self._new_place()
        if source and beginning:
            llama_cpp.llama_memory_seq_cp(self._memory, source.number, place.number, 0, len(beginning))
            place.tokens.extend(beginning)
        self._make_room(cells - len(beginning), numbers=0)  # only now: the source may be what has to go
        return place

    def _restored(self, key: int, wanted: array[int], cells: int) -> Place:
        shelved = self._unshelve(key)
        self._make_room(max(cells, len(shelved.tokens)))
        place = self._new_place()
        size = len(shelved.state)
        if llama_cpp.llama_state_seq_set_data(self.context, shelved.state, size, place.number) != size:
            self.counts.dropped += len(shelved.tokens)
            return place
        place.tokens.extend(shelved.tokens)
        shared = common(place.tokens, wanted)
        if len(shelved.tokens) - shared >= WORTH_KEEPING:  # a branch: the other one may be asked for again
            self._shelve(key, shelved)
        if shared < len(place.tokens):
            llama_cpp.llama_memory_seq_rm(self._memory, place.number, shared, -1)
            del place.tokens[shared:]
        self.counts.restored += shared
        return place

    def _new_place(self) -> Place:
        place = Place(self._free.pop(0))
        self._places.append(place)
        return place

    def _make_room(self, cells: int, numbers: int = 1, sparing: Place | None = None) -> None:
        """Moves idle sequences away, the longest unused first, until so many cells and numbers are free."""
        while len(self._free) < numbers or self.used_cells + cells > self.cells:
            idle = [place for place in self._places if not place.busy and place is not sparing]
            if not idle:
                return
            self._move_to_shelf(min(idle, key=lambda place: place.used))

    def _move_to_shelf(self, place: Place) -> None:
        if self._known_elsewhere(place) + WORTH_KEEPING <= len(place.tokens):
            if (state := self._state(place)) is not None:
                self._shelve(next(self._clock), _Shelved(place.tokens, state))
                self.counts.shelved += len(place.tokens)
            else:
                self.counts.dropped += len(place.tokens)
            self._clear_shelf()
        self._remove(place)

    def _state(self, place: Place) -> ctypes.Array[ctypes.c_uint8] | None:
        """What llama.cpp computed for the sequence; None where it is more than all that may be kept."""
        size = self._state_bytes(place)
        if size > self.idle_bytes:
            return None
        state = (ctypes.c_uint8 * size)()
        written = llama_cpp.llama_state_seq_get_data(self.context, state, size, place.number)
        return state if written else None

    def _state_bytes(self, place: Place) -> int:
        return int(llama_cpp.llama_state_seq_get_size(self.context, place.number))

    def _known_elsewhere(self, place: Place) -> int:
        """How many of its first tokens need not be read again without it: another sequence has them too."""
        others = [other.tokens for other in self._places if other is not place]
        others += [shelved.tokens for shelved in self._shelf.values()]
        return max((self._usable(tokens, place.tokens) for tokens in others), default=0)

    def _clear_shelf(self) -> None:
        while self.shelf_bytes > self.idle_bytes:
            self.counts.dropped += len(self._unshelve(next(iter(self._shelf))).tokens)

    def _shelve(self, key: int, shelved: _Shelved) -> None:
        self._shelf[key] = shelved
        self.shelf_bytes += shelved.bytes

    def _unshelve(self, key: int) -> _Shelved:
        shelved = self._shelf.pop(key)
        self.shelf_bytes -= shelved.bytes
        return shelved

    def _remove(self, place: Place) -> None:
        llama_cpp.llama_memory_seq_rm(self._memory, place.number, -1, -1)
        self._places.remove(place)
        self._free.append(place.number)


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two texts of one type begin with alike. By slices: a loop would cost 50 times more."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while high - low > 1:  # one[:low] is alike, one[:high] is not
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low
