"""Who is where in the context: the sequences of the conversations, and those that wait in RAM.

    place = sequences.open(prompt)              -> Place: place.tokens is what need not be read again
    place.tokens.extend(...)                    as they are decoded
    sequences.close(place)                      it can be opened again, by its tokens

A conversation has no number; it is known by its tokens. What is asked next begins with what was read and
written before, so the longest common beginning is looked for among all sequences, busy ones included, and
copied as it was computed. An edit or another answer to the same question makes a branch beside the old one.
What nobody waits for moves to RAM and comes back as it was; the oldest is dropped when they take more than
`idle_bytes`. One that alone takes more stays in the context until its sequence is needed.
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
WORTH_COPYING = 16  # tokens: fewer are read again sooner than copied


@dataclass(eq=False)
class Place:
    """A sequence of the context; `tokens` are those whose state it holds."""

    number: int
    tokens: array[int] = field(default_factory=lambda: array(TOKEN))
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
    """A conversation in RAM."""

    tokens: array[int]
    state: ctypes.Array[ctypes.c_uint8]

    @property
    def bytes(self) -> int:
        return len(self.state) + self.tokens.itemsize * len(self.tokens)


@dataclass
class Sequences:
    """All of one context. Not safe for threads: it belongs to the thread that owns the context."""

    context: llama_cpp.llama_context_p
    numbers: int
    """how many may be busy at once"""
    idle_bytes: int
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

    def open(self, prompt: Sequence[int]) -> Place:
        """A busy sequence that holds as much of `prompt` as is known, at most all but the last token.

        The last is always read, for its logits. At most `numbers` may be busy.
        """
        wanted = array(TOKEN, prompt[:-1])
        place = self._nearest(self._places, wanted)
        key = max(self._shelf, key=lambda key: self._usable(self._shelf[key].tokens, wanted), default=None)
        known = self._usable(place.tokens, wanted) if place else 0
        in_ram = self._usable(self._shelf[key].tokens, wanted) if key is not None else 0
        if place and not place.busy and known == len(place.tokens) >= in_ram:
            place.busy = True
        elif key is not None and in_ram >= max(known, WORTH_COPYING):
            place = self._restored(key, wanted)
        elif place and known >= WORTH_COPYING:
            place = self._placed(_Shelved(place.tokens[:], self._state(place)), wanted)
        else:
            place = self._new_place()
        self.counts.found += len(place.tokens)
        return place

    def close(self, place: Place) -> None:
        """The conversation may go on later: it is kept, in RAM if it is not too large."""
        place.busy = False
        place.used = next(self._clock)
        if not place.tokens:
            self._remove(place)
        elif self._state_bytes(place) <= self.idle_bytes:
            self._move_to_shelf(place)

    def close_up(self, places: Sequence[Place]) -> None:
        """Lets `places` take over free sequences with lower numbers.

        llama.cpp computes sequences together where their numbers follow each other.
        """
        while self._free and places:
            last = max(places, key=lambda place: place.number)
            if last.number < min(self._free) or not self._move(last, min(self._free)):
                return

    def forget(self, place: Place) -> None:
        """What the sequence holds is not to be trusted any more."""
        self._remove(place)

    def clear(self) -> None:
        """Forgets every conversation, those in RAM too."""
        llama_cpp.llama_memory_clear(self._memory, False)  # what it held is not looked at, and may be GBs
        self._places.clear()
        self._shelf.clear()
        self.shelf_bytes = 0
        self._free = list(range(self.numbers))

    def _nearest(self, places: Sequence[Place], wanted: array[int]) -> Place | None:
        """The one that holds most of `wanted`; of several the idle one, then the shortest to copy."""
        return max(
            places,
            key=lambda place: (self._usable(place.tokens, wanted), not place.busy, -len(place.tokens)),
            default=None,
        )

    def _usable(self, tokens: array[int], wanted: array[int]) -> int:
        """How much of what was read is of use for `wanted`."""
        shared = common(tokens, wanted)
        return shared if self.can_branch or shared == len(tokens) else 0

    def _restored(self, key: int, wanted: array[int]) -> Place:
        shelved = self._unshelve(key)
        place = self._placed(shelved, wanted)
        if len(shelved.tokens) - len(place.tokens) >= WORTH_COPYING:  # the branch may be asked for again
            self._shelve(key, shelved)
        self.counts.restored += len(place.tokens)
        return place

    def _placed(self, shelved: _Shelved, wanted: array[int]) -> Place:
        """A new place with as much of a conversation as is in `wanted`."""
        place = self._new_place()
        if not self._put(shelved.state, place.number):
            self.counts.dropped += len(shelved.tokens)
            return place
        shared = common(shelved.tokens, wanted)
        place.tokens = shelved.tokens[:shared]
        if shared < len(shelved.tokens):
            llama_cpp.llama_memory_seq_rm(self._memory, place.number, shared, -1)
        return place

    def _new_place(self) -> Place:
        if not self._free:
            self._move_to_shelf(min((p for p in self._places if not p.busy), key=lambda place: place.used))
        place = Place(self._taken(min(self._free)))
        self._places.append(place)
        return place

    def _taken(self, number: int) -> int:
        self._free.remove(number)
        return number

    def _move(self, place: Place, number: int) -> bool:
        """Whether it could be moved; else it stays where it is."""
        if not self._put(self._state(place), number):
            return False
        self._leave(place.number)
        place.number = self._taken(number)
        return True

    def _move_to_shelf(self, place: Place) -> None:
        if self._known_elsewhere(place) + WORTH_COPYING <= len(place.tokens):
            if self._state_bytes(place) <= self.idle_bytes:
                self._shelve(next(self._clock), _Shelved(place.tokens, self._state(place)))
                self.counts.shelved += len(place.tokens)
            else:
                self.counts.dropped += len(place.tokens)
            self._clear_shelf()
        self._remove(place)

    def _state(self, place: Place) -> ctypes.Array[ctypes.c_uint8]:
        """What llama.cpp computed for the sequence."""
        size = self._state_bytes(place)
        state = (ctypes.c_uint8 * size)()
        llama_cpp.llama_state_seq_get_data(self.context, state, size, place.number)
        return state

    def _put(self, state: ctypes.Array[ctypes.c_uint8], number: int) -> bool:
        """Into an empty sequence; False where llama.cpp did not take it, which leaves it empty."""
        size = len(state)
        return llama_cpp.llama_state_seq_set_data(self.context, state, size, number) == size

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
        self._places.remove(place)
        self._leave(place.number)

    def _leave(self, number: int) -> None:
        llama_cpp.llama_memory_seq_rm(self._memory, number, -1, -1)
        self._free.append(number)


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
