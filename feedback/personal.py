"""What is personal in a text: the form of each kind, and the check that tells it from a number of daily life.

    for rule in RULES: ...        feedback/redact.py masks what they find

Order numbers, prices and dates are not personal: a number is only where its form, its check digits or the
word before it say so. The patterns are our own, since a library that knows the numbering plans of all
countries has to be told the country: without one, phonenumbers 9.0 finds 45 of the 104 phone numbers of
tests/feedback/data; with eleven countries 96, and something in 31 of the 300 texts of daily life too.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import NamedTuple

FEWEST_PHONE_DIGITS = 9  # of a number without country code; shorter ones look like order numbers

# Patterns are bounded and begin where a word begins, so that no text can make them slow. Words end where
# ASCII ends: in Japanese or Chinese a number stands between letters without a space.
TOKEN = re.compile(
    r"(?<![\w-])(?:"
    r"hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|"
    r"sk-(?=[A-Za-z_-]{0,200}[0-9])[\w-]{16,}|[psr]k_(?:live|test)_[A-Za-z0-9]{16,}|"
    r"(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{35}|xox[abeprs]-[\w-]{10,}|SG\.[\w-]{16,32}\.[\w-]{16,64}|"
    r"(?:npm|gsk|r8|dop_v1)_[A-Za-z0-9]{32,}|pypi-[\w-]{32,}|"
    r"eyJ[\w-]{8,}+\.[\w-]{8,}+\.[\w-]{8,}+)"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.{0,8000}?-----END [A-Z ]{0,30}PRIVATE KEY-----",
    re.DOTALL | re.ASCII,
)
ANNOUNCED_TOKEN = re.compile(  # SECRET_TOKEN=b7c1e5d2-...
    r"(?:secret|token|(?:api|access|private|secret)[ _-]?key)[\"']?[ \t]{0,3}[:=][ \t]{0,3}[\"']?"
    r"(?P<hit>(?=[A-Za-z+/_.-]{0,200}[0-9])[\w+/.-]{20,}={0,2})",
    re.IGNORECASE | re.ASCII,
)
LETTER = r"A-Za-z\u00c0-\u1fff"  # of scripts that put spaces between words
EMAIL = re.compile(
    rf"[{LETTER}0-9_][{LETTER}0-9_.+%'-]{{0,63}}@(?:[{LETTER}0-9_-]{{1,63}}\.){{1,8}}"
    rf"(?:xn--[a-z0-9]{{2,20}}|[{LETTER}]{{2,24}})"
)
IBAN = re.compile(r"(?<!\w)[A-Z]{2} ?[0-9]{2}(?:[ -]?[A-Z0-9]){11,30}", re.IGNORECASE | re.ASCII)
CARD = re.compile(r"(?<![\w.,-])[2-6](?:[ -]?[0-9]){12,18}(?![\w-])", re.ASCII)
IPV4 = r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}"
IP = re.compile(rf"(?<![\w.]){IPV4}(?!\w|\.[0-9])", re.ASCII)
IPV6 = re.compile(
    rf"(?<![\w:.])(?:[0-9A-Fa-f]{{0,4}}:){{2,7}}(?:{IPV4}|[0-9A-Fa-f]{{0,4}})(?![\w:])", re.ASCII
)
PHONE = re.compile(
    r"(?<![\w.,+/-])(?:"
    r"\+[1-9](?:[ ./-]{0,2}\(?[0-9]\)?){6,14}|"  # +49 30 1234567
    r"00 ?[1-9](?:[ ./-]{0,2}\(?[0-9]\)?){9,14}|"  # 0049 30 1234567
    r"(?:\(0\)|\(?0)[1-9][0-9]{0,4}\)?(?:[ /-]{0,3}[0-9]){6,10}|"  # 030 1234567
    r"0[0-9]{2,3}(?:\.[0-9]{3}){2}|"  # 0721.234.567
    r"0[1-9](?:\.[0-9]{2}){4}|"  # 01.23.45.67.89
    r"(?:1[-. ])?(?:\([0-9]{3}\) ?|[0-9]{3}[-. ])[0-9]{3}[-. ][0-9]{4}|"  # (555) 010-4477
    r"8[ -]?\(?[0-9]{3}\)?[ -]?[0-9]{3}-[0-9]{2}-[0-9]{2}|"  # 8 (912) 345-67-89
    r"\([0-9]{2}\) ?[0-9]{4,5}-[0-9]{4}|"  # (11) 91234-5678
    r"1[3-9][0-9][- ][0-9]{4}[- ][0-9]{4})"  # 138 0013 8000
    r"(?![\w-])",
    re.ASCII,
)
ANNOUNCED_PHONE = re.compile(
    r"(?:\b(?:tel|tél|tlf|telephone|téléphone|tel[eé]f[oó]n[oe]?|telemóvel|phone|mobile?|móvil|cell?|"
    r"cellulare|celular|handy|natel|fax|whatsapp|call|(?:ring|text|reach|contact) (?:me|us)|"
    r"(?:my|our)(?: new| own| private| home| work)? number|"
    r"mi número|mon numéro|meine (?:handy)?nummer)\b|"
    r"手机|电话|電話|電話番号)"
    r"(?:[ .:]{1,2}(?:number|nummer|numéro|número|nr|no|me|us|is|ist|est|es|é|è|at|on|unter)\b){0,3}"
    r"[ .:：=]{0,3}(?P<hit>(?:[0-9][ ./-]?){6,14}[0-9])(?![A-Za-z0-9_-])",
    re.IGNORECASE,
)
NAMED_OTHERWISE = re.compile(  # just before a number: it is the number of a thing
    r"(?:\b(?:order|invoice|ticket|item|article|part|sku|serial|s/n|isbn|issn|ean|gtin|upc|barcode|pzn|"
    r"tracking|parcel|contract|customer|account|reference|ref|reading|po|seed|version|ver|v|build|release|rev|revision|firmware|driver|section|chapter|"
    r"bestellung|auftrag|rechnung|artikel|sendung|abschnitt|kapitel|commande|facture|pedido|factura|ordine)"
    r"|§)(?:[ .:#-]{0,2}(?:no|nr|number|nummer|id)\b)?[ .:#-]{0,3}$",
    re.IGNORECASE,
)
DATE = re.compile(
    r"(?<![0-9])(?<![0-9][-./])(?:"
    r"(?:0?[1-9]|[12][0-9]|3[01])([-./])(?:0?[1-9]|1[0-2])\1(?:[0-9]{4}|[0-9]{2})|"  # 12.05.2024
    r"(?:0?[1-9]|1[0-2])/(?:0?[1-9]|[12][0-9]|3[01])/(?:[0-9]{4}|[0-9]{2})|"  # 05/31/2024
    r"[0-9]{4}-[0-9]{2}-[0-9]{2})(?![-./]?[0-9])"
)

CARD_ISSUERS = re.compile(  # by the digits that an issuer begins with, and how many it gives
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:2[2-9]|[3-6]\d|7[01])\d{13}|2720\d{12}|3[47]\d{13}|"
    r"3(?:0[0-5]|[689]\d)\d{11}|35\d{14,17}|(?:50|5[6-8]|6\d)\d{14,17}",
    re.ASCII,
)
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # IPv4 addresses as IPv6 networks reach them
LONGEST_NAME = 30  # characters before a number that can say what it is

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
    """How many characters of the hit are a card: what an issuer gives, with a last digit that checks (Luhn).

    A date or a check number may follow, so any whole group of digits can be the last one.
    """
    ends = [end for end in range(len(hit), 0, -1) if not hit[end : end + 1].isdigit()]
    return next((end for end in ends if _is_card(re.sub("[ -]", "", hit[:end]))), 0)


def _is_card(digits: str) -> bool:
    backwards = [int(digit) for digit in reversed(digits)]
    doubled = [sum(divmod(2 * digit, 10)) for digit in backwards[1::2]]
    return bool(CARD_ISSUERS.fullmatch(digits)) and (sum(backwards[::2]) + sum(doubled)) % 10 == 0


def _ip_length(hit: str) -> int:
    """The hit if it is an address of a network in use, and not a time of day or colons between names."""
    try:
        address = ipaddress.ip_address(hit)
    except ValueError:
        return 0
    if isinstance(address, ipaddress.IPv4Address) or address.ipv4_mapped or address in NAT64:
        return len(hit)
    return 0 if address.is_reserved or address.is_unspecified or address.is_loopback else len(hit)


def _phone_length(hit: str) -> int:
    """The hit if it has enough digits and holds no date."""
    digits = sum(character.isdigit() for character in hit)
    return len(hit) if digits >= FEWEST_PHONE_DIGITS and not DATE.search(hit) else 0


def _announced_length(hit: str) -> int:
    return 0 if DATE.search(hit) else len(hit)


NAMEABLE = frozenset({"card", "ip", "phone"})


class Rule(NamedTuple):
    """How one form of a kind is found. A text without `mark`, or with fewer digits, cannot hold it: to see
    that takes a tenth of the time of a search, and most texts hold nothing personal.
    """

    kind: str
    pattern: re.Pattern[str]
    part_to_mask: Callable[[str], int]
    digits: int = 0
    mark: str = ""


RULES = (
    Rule("token", TOKEN, _whole),
    Rule("token", ANNOUNCED_TOKEN, _whole, digits=1),
    Rule("email", EMAIL, _whole, mark="@"),
    Rule("iban", IBAN, _iban_length, digits=2),
    Rule("card", CARD, _card_length, digits=13),
    Rule("ip", IPV6, _ip_length, mark=":"),
    Rule("ip", IP, _ip_length, digits=4),
    Rule("phone", PHONE, _phone_length, digits=FEWEST_PHONE_DIGITS),
    Rule("phone", ANNOUNCED_PHONE, _announced_length, digits=7),
)
