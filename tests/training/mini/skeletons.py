"""What a filled-in message of the corpus was made from: its sentence with the slots open again."""

import re
from functools import cache

from training.mini.desk import desk
from training.mini.grammar import key

NUMBER = re.compile(r"\b\d{4,6}\b")


def skeleton_of(message: str) -> str:
    """The key of a message with its entries and its order number put back into slots."""
    pattern, slots = _slot_of()
    return key(NUMBER.sub("{order}", pattern.sub(lambda m: slots[m[0]], message.lower())))


@cache
def _slot_of() -> tuple[re.Pattern[str], dict[str, str]]:
    """Every word that fills a slot, longest first, and the slot it fills."""
    slots = {}
    for name, slot in desk().slots.items():
        for entry in (*slot.known, *slot.unknown, *slot.held_out):
            slots[entry.lower()] = f"{{{name}}}"
    longest = sorted(slots, key=len, reverse=True)
    return re.compile(r"\b(" + "|".join(map(re.escape, longest)) + r")\b"), slots
