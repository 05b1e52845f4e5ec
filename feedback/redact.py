"""What must not be written down: e-mails, phone numbers, cards, IBANs, IP addresses, access tokens.

    mask("write to ann@example.org").text      "write to [email]"

Every free text of an event passes here before the outbox writes it. Masking what is masked changes nothing.
Order numbers, prices and dates stay: a number is masked only where its form, its check digits or the word
before it say what it is.
"""

import hashlib
import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from backtalk.files import canonical_json
from feedback.columns import clean, map_texts
from feedback.schema import FlagEvent, Redaction, Sent, Shown, well_formed

FEWEST_PHONE_DIGITS = 9  # of a number without country code; shorter ones look like order numbers

# Patterns are bounded and begin where a word begins, so that no text can make them slow.
TOKEN = re.compile(
    r"(?<![\w-])(?:"
    r"hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|"
    r"sk-(?=[A-Za-z_-]{0,200}[0-9])[\w-]{16,}|[ps]k_(?:live|test)_[A-Za-z0-9]{16,}|"
    r"(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{35}|xox[abeprs]-[\w-]{10,}|"
    r"eyJ[\w-]{8,}+\.[\w-]{8,}+\.[\w-]{8,}+)"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.{0,8000}?-----END [A-Z ]{0,30}PRIVATE KEY-----",
    re.DOTALL,
)
EMAIL = re.compile(r"[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}")
IBAN = re.compile(r"(?<!\w)[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]){11,30}", re.IGNORECASE)
CARD = re.compile(r"(?<![\w.,-])[2-6](?:[ -]?[0-9]){12,18}(?![\w-])")
IP = re.compile(
    r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?!\w|\.[0-9])"
    r"|(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:(?<=:)(?:[0-9]{1,3}\.){3}[0-9]{1,3})?(?![\w:])"
)
PHONE = re.compile(
    r"(?<![\w.,+-])(?:"
    r"(?:\+|00)[1-9](?:[ ./-]{0,2}\(?[0-9]\)?){6,13}|"  # +49 30 1234567
    r"\(?0[1-9][0-9]{0,4}\)?(?:[ /-]{0,3}[0-9]){6,10}|"  # 030 1234567
    r"0[1-9](?:\.[0-9]{2}){4}|"  # 01.23.45.67.89
    r"(?:\([0-9]{3}\) ?|[0-9]{3}[-. ])[0-9]{3}[-. ][0-9]{4})"  # (555) 010-4477
    r"(?![\w-])"
)
ANNOUNCED = re.compile(
    r"\b(?:tel|telephone|phone|phone number|mobile|cell|fax|whatsapp|call me(?: at| on)?)\b[ .:=]{1,3}"
    r"(?P<hit>(?:[0-9][ ./-]?){6,14}[0-9])(?![\w-])",
    re.IGNORECASE,
)
DATE = re.compile(
    r"(?<![0-9])(?<![0-9][-./])(?:"
    r"(?:0?[1-9]|[12][0-9]|3[01])([-./])(?:0?[1-9]|1[0-2])\1(?:[0-9]{4}|[0-9]{2})|"  # 12.05.2024
    r"(?:0?[1-9]|1[0-2])/(?:0?[1-9]|[12][0-9]|3[01])/(?:[0-9]{4}|[0-9]{2})|"  # 05/31/2024
    r"[0-9]{4}-[0-9]{2}-[0-9]{2})(?![-./]?[0-9])"
)

IBAN_LENGTHS = {
    code: int(length)
    for code, length in re.findall(
        r"([A-Z]{2})(\d{2})",
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 "
        "ES24 FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 "
        "LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 "
        "QA29 RO24 RS22 SA24 SC31 SE24 SI19 SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20",
    )
}


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
        before = text
        for kind, pattern, part_to_mask in RULES:
            text = _mask_kind(text, kind, pattern, part_to_mask, found)
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


def _mask_kind(
    text: str, kind: str, pattern: re.Pattern[str], part_to_mask: Callable[[str], int], found: Counter[str]
) -> str:
    def replacement(match: re.Match[str]) -> str:
        hit = match["hit"] if "hit" in pattern.groupindex else match[0]
        length = part_to_mask(hit)
        if not length:
            return match[0]
        found[kind] += 1
        return f"{match[0].removesuffix(hit)}[{kind}]{hit[length:]}"

    return pattern.sub(replacement, text)


def _whole(hit: str) -> int:
    return len(hit)


def _iban_length(hit: str) -> int:
    """How many characters of the hit are an IBAN, by its country's length and the check digits (mod 97)."""
    length = IBAN_LENGTHS.get(hit[:2].upper(), 0)
    places = [place for place, character in enumerate(hit) if character.isalnum()]
    if not length or len(places) < length:
        return 0
    end = places[length - 1] + 1
    if hit[end : end + 1].isalnum():
        return 0
    compact = "".join(hit[place] for place in places[:length]).upper()
    number = "".join(str(int(character, 36)) for character in compact[4:] + compact[:4])
    return end if int(number) % 97 == 1 else 0


def _card_length(hit: str) -> int:
    """The hit if its last digit checks (Luhn)."""
    digits = [int(character) for character in reversed(hit) if character.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return len(hit) if (sum(digits[::2]) + sum(doubled)) % 10 == 0 else 0


def _ip_length(hit: str) -> int:
    """The hit if it is an address and not a time of day or two colons between names."""
    try:
        ipaddress.ip_address(hit)
    except ValueError:
        return 0
    groups = [group for group in hit.split(":") if group]
    says_something = "." in hit or (len(groups) > 1 and any(c.isdigit() for c in hit))
    return len(hit) if says_something else 0


def _phone_length(hit: str) -> int:
    """The hit if it has enough digits and holds no date."""
    digits = sum(character.isdigit() for character in hit)
    return len(hit) if digits >= FEWEST_PHONE_DIGITS and not DATE.search(hit) else 0


def _announced_length(hit: str) -> int:
    return 0 if DATE.search(hit) else len(hit)


RULES: tuple[tuple[str, re.Pattern[str], Callable[[str], int]], ...] = (
    ("token", TOKEN, _whole),
    ("email", EMAIL, _whole),
    ("iban", IBAN, _iban_length),
    ("card", CARD, _card_length),
    ("ip", IP, _ip_length),
    ("phone", PHONE, _phone_length),
    ("phone", ANNOUNCED, _announced_length),
)
