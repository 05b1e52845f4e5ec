"""What must not be written down: e-mails, phone numbers, cards, IBANs, IP addresses, access tokens.

    mask("write to ann@example.org").text      "write to [email]"

Every free text of an event passes here before the outbox writes it. Masking what is masked changes nothing.
Order numbers, prices and dates stay: a number is masked only where its form, its check digits or the word
before it say what it is.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from backtalk.files import canonical_json
from feedback.columns import clean, map_texts
from feedback.personal import LONGEST_NAME, NAMEABLE, NAMED_OTHERWISE, RULES, Rule
from feedback.schema import FlagEvent, Redaction, Sent, Shown, well_formed

DIGIT = re.compile("[0-9]")


@dataclass(frozen=True)
class Masked:
    """A text without what must not be written down, and how often each kind was found in it."""

    text: str
    redactions: Mapping[str, int]


def mask(text: str) -> Masked:
    """Masks until nothing is left to mask: a mask can uncover what stood too close to its neighbour."""
    found: Counter[str] = Counter()
    before, text = "", clean(text)
    while before != text:
        before, digits = text, len(DIGIT.findall(text))
        for rule in RULES:
            if digits >= rule.digits and rule.mark in text:
                text = _mask_kind(text, rule, found)
    return Masked(text, dict(found))


def masked_event(event: FlagEvent) -> FlagEvent:
    """The event with every free text masked, what was masked counted, and the prompt's hashes made anew.

    Raises FlagError where a column is not well formed: what is not read cannot be masked.
    """
    event = well_formed(event)
    found: Counter[tuple[str, str]] = Counter()

    def mask_column(column: str, text: str) -> str:
        masked = mask(text)
        found.update({(column, kind): times for kind, times in masked.redactions.items()})
        return masked.text

    masked = map_texts(event, mask_column)
    if found:
        before = Counter({(known.where, known.kind): known.count for known in event.redactions})
        redactions = tuple(Redaction(*place, times) for place, times in sorted((before + found).items()))
        masked = well_formed(
            replace(masked, redactions=redactions)
        )  # a mask can be longer than what it hides
    return replace(masked, sent=_hashed(masked.sent, masked.shown))


def _hashed(sent: Sent, shown: Shown) -> Sent:
    """Hashes of what was sent, over masked text; empty where a message that was sent is not kept."""
    contents = {message.id: message.content for message in shown.messages}
    whole = bool(sent.message_ids) and all(name in contents for name in sent.message_ids)
    prompt = [sent.system_prompt, *(contents[name] for name in sent.message_ids)] if whole else None
    return replace(
        sent,
        system_prompt_sha256=_sha256(sent.system_prompt.encode()) if sent.system_prompt else "",
        prompt_sha256=_sha256(canonical_json(prompt)) if prompt else "",
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _mask_kind(text: str, rule: Rule, found: Counter[str]) -> str:
    kind, pattern = rule.kind, rule.pattern
    parts, kept_from, look_from = [], 0, 0
    while match := pattern.search(text, look_from):
        start, end = match.span("hit" if "hit" in pattern.groupindex else 0)
        length = (
            0 if kind in NAMEABLE and _is_named_otherwise(text, start) else rule.part_to_mask(text[start:end])
        )
        if length:
            found[kind] += 1
            parts += [text[kept_from:start], f"[{kind}]"]
            kept_from = look_from = start + length
        else:
            look_from = match.start() + 1  # one of its later words may begin what is personal
    return "".join([*parts, text[kept_from:]])


def _is_named_otherwise(text: str, start: int) -> bool:
    return bool(NAMED_OTHERWISE.search(text[max(0, start - LONGEST_NAME) : start]))
