"""Masking: what is personal goes, what is a number of daily life stays, and twice is the same as once."""

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtalk.files import read_jsonl
from feedback import personal
from feedback.columns import map_texts
from feedback.redact import mask, masked_event
from feedback.schema import Extras, FlagEvent, Span, to_row
from feedback.store.saving import Choice, FlaggedMessage, draft

DATA = Path(__file__).parent / "data"  # 300 personal texts, marked by brackets, and 300 of daily life
MARKED = re.compile("⟦(.*?)⟧", re.DOTALL)

PERSONAL = {
    "email": ["ann@example.org", "Ann.Lee+shop@mail.example.co.uk", "jürgen@müller.de", "a_b%c@x-y.museum"],
    "phone": [
        *(
            "+49 30 1234567",
            "+44 (0)20 7946 0958",
            "0049 171 2345678",
            "+1-555-010-4477",
            "+33 1 23 45 67 89",
        ),
        *(
            "030 1234567",
            "0171/2345678",
            "01 23 45 67 89",
            "01.23.45.67.89",
            "(555) 010-4477",
            "555-010-4477",
        ),
    ],
    "card": ["4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005", "4222222222222"],
    "iban": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "fr1420041010050500013m02606"],
    "ip": [
        "192.168.10.25",
        "8.8.8.8",
        "2001:db8::8a2e:370:7334",
        "fe80::1",
        "2001:db8:85a3:0:0:8a2e:370:7334",
    ],
    "token": [
        "hf_" + "aB3" * 11,
        "sk-proj-" + "a1B2" * 8,
        "ghp_" + "x9Y8" * 9,
        "github_pat_" + "1A_b" * 8,
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
        "-----BEGIN PRIVATE KEY-----\nMIIB\nVQ==\n-----END PRIVATE KEY-----",
    ],
}

DAILY = [
    *("order 4821", "order no. 0048213", "parcel 00340434161094042557", "SKU 0482-1177", "item 12-3456-78"),
    *("12.05.2024", "2024-05-12", "05/06/2024 11:30", "01-02-2024 09:15", "2026-11-21T00:05:07Z", "10:30:45"),
    *(
        "EUR 1.299,00",
        "$1,299.00",
        "0.123456789",
        "3.14159265358979",
        "1 000 000 000",
        "30 days",
        "9.00-17.00",
    ),
    *("Mon-Fri 9-18", "version 1.2.3", "v1.2.3.4", "std::vector", "a :: b", "http://localhost:7860", "::"),
    *("sk-learn is a library for Python", "hf_hub", "me @ home", "@ann", "50 % @ 3", "DE 12345 Berlin"),
    *(
        "4111 1111 1111 1112",
        "call 4821",
        "phone 4821",
        "ISBN 978-3-16-148410-0",
    ),
    *("1234567", "c1a5298f-939e-4b3c-8a1e-1234567890ab", "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"),
]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind in PERSONAL for text in PERSONAL[kind]])
def test_what_is_personal_is_masked_inside_a_sentence(kind: str, text: str) -> None:
    masked = mask(f"Please use {text}, thanks.")
    assert masked.text == f"Please use [{kind}], thanks."
    assert masked.redactions == {kind: 1}


@pytest.mark.parametrize("text", DAILY)
def test_numbers_of_daily_life_stay(text: str) -> None:
    assert mask(f"I said {text} before.").text == f"I said {text} before."


def test_a_short_number_is_masked_where_a_word_announces_it() -> None:
    assert mask("Tel: 765 43 21, please").text == "Tel: [phone], please"
    assert mask("call me at 7654321").text == "call me at [phone]"


def test_several_kinds_are_counted_apart() -> None:
    masked = mask("ann@example.org or bob@example.org, from 10.1.2.3")
    assert masked.text == "[email] or [email], from [ip]"
    assert masked.redactions == {"email": 2, "ip": 1}


def test_words_after_an_iban_stay() -> None:
    assert mask("DE89 3704 0044 0532 0130 00 THANK YOU").text == "[iban] THANK YOU"


def measured(name: str) -> list[tuple[str, str]]:
    """Kind and text of each line; a token is kept in pieces, so that no scanner takes the file for a leak."""
    return [(line["kind"], "".join(line["text"])) for line in read_jsonl(DATA / name)]


def missed(kind: str, text: str) -> bool:
    return mask(MARKED.sub(r"\1", text)).text != MARKED.sub(f"[{kind}]", text)


def masked_wrongly(kind: str, text: str) -> bool:
    return mask(text).text != text


def test_of_300_personal_texts_98_percent_are_masked(record_property: Callable[[str, object], None]) -> None:
    tell("personal.jsonl", missed, 0.02, record_property)


def test_of_300_texts_of_daily_life_98_percent_stay(record_property: Callable[[str, object], None]) -> None:
    tell("daily.jsonl", masked_wrongly, 0.02, record_property)


def tell(
    name: str,
    is_wrong: Callable[[str, str], bool],
    most: float,
    record_property: Callable[[str, object], None],
) -> None:
    """Checks the share that went wrong, and tells it by kind in the output and the report."""
    lines = measured(name)
    assert len(lines) == len({text for _, text in lines}) == 300
    wrong = [(kind, text) for kind, text in lines if is_wrong(kind, text)]
    of_kind, wrong_of_kind = Counter(kind for kind, _ in lines), Counter(kind for kind, _ in wrong)
    print(f"{name}: {len(wrong)} of {len(lines)} wrong", wrong)
    for kind, count in sorted(of_kind.items()):
        print(f"  {kind:<8} {count - wrong_of_kind[kind]:>3} of {count:>3} right")
    record_property(name, f"{len(wrong)} of {len(lines)} wrong")
    assert len(wrong) <= most * len(lines), wrong


@pytest.mark.parametrize("name", ["personal.jsonl", "daily.jsonl"])
def test_masking_the_measured_texts_twice_is_masking_them_once(name: str) -> None:
    for _, text in measured(name):
        once = mask(text).text
        assert mask(once).text == once


@pytest.mark.parametrize("after", [" 12/28", " 123", ", 12/28, 123", "です"])
def test_what_follows_a_card_does_not_hide_it(after: str) -> None:
    assert mask(f"card 4242 4242 4242 4242{after}").text == f"card [card]{after}"


def test_a_number_that_is_named_otherwise_stays() -> None:
    assert mask("EAN 4012345678900, section 4.2.1.7, S/N 0482113459").redactions == {}
    assert mask("call me: 0482113459").text == "call me: [phone]"


PIECES = st.sampled_from([text for texts in PERSONAL.values() for text in texts] + DAILY)
NOISE = st.text("0123456789 +-./:@()[]abcdefABCDEFxyz_,\n\0\ud800é", max_size=30)


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES | NOISE, max_size=6).map("".join))
def test_masking_twice_is_masking_once(text: str) -> None:
    once = mask(text).text
    assert mask(once).text == once
    assert mask(once).redactions == {}


@pytest.mark.parametrize(
    "text",
    [
        word * (20_000 // len(word))
        for word in ("sk-", "eyJ", "a", "@a", "a@", "1 ", "1.1.", ":", "+1", "DE00")
    ],
)
def test_no_text_is_too_wild_to_mask(text: str) -> None:
    assert mask(mask(text).text).text == mask(text).text


def test_halves_of_characters_and_null_bytes_are_cleaned() -> None:
    assert mask("a\0b \ud83d\ude00 \ud800").text == "a\ufffdb 😀 \ufffd"


def test_every_free_text_of_an_event_is_masked(message: FlaggedMessage) -> None:
    event = draft(message, Choice("bad", comment="x", correction="y", extras=Extras(spans=(Span(0, 1),))))
    filled = map_texts(event, lambda column, _: f"{column}: ann@example.org")
    masked = masked_event(filled)
    assert "@" not in json.dumps(to_row(masked))
    assert {found.where for found in masked.redactions} == {
        *("shown.messages.content", "sent.system_prompt", "answer.text", "comment", "correction.text"),
        *("extras.expected", "extras.spans.quote", "extras.spans.prefix", "extras.spans.suffix"),
        "extras.spans.note",
    }
    assert [found.count for found in masked.redactions if found.where == "shown.messages.content"] == [3]


def test_lists_and_dictionaries_do_not_slip_past_the_mask(message: FlaggedMessage) -> None:
    event = draft(message, Choice("bad"))
    rows = [{"id": "m1", "role": "user", "content": "ann@example.org"}]
    wild = replace(event, shown=replace(event.shown, messages=rows))  # type: ignore[arg-type]
    assert masked_event(wild).shown.messages[0].content == "[email]"


def test_masking_an_event_twice_changes_nothing(message: FlaggedMessage) -> None:
    once = masked_event(draft(message, Choice("bad", comment="I am ann@example.org")))
    assert masked_event(once) == once


def test_hashes_are_of_masked_text(message: FlaggedMessage) -> None:
    def event(system_prompt: str) -> FlagEvent:
        sent = replace(message.sent, system_prompt=system_prompt)
        return masked_event(draft(replace(message, sent=sent), Choice("bad")))

    ann, bob = event("Write to ann@example.org."), event("Write to bob@example.org.")
    assert ann.sent.system_prompt_sha256 == bob.sent.system_prompt_sha256 != ""
    assert ann.sent.prompt_sha256 == bob.sent.prompt_sha256 != event("Else").sent.prompt_sha256


def test_a_prompt_that_is_not_kept_whole_has_no_hash(message: FlaggedMessage) -> None:
    sent = replace(message.sent, message_ids=("m0", "m3"))
    assert masked_event(draft(replace(message, sent=sent), Choice("bad"))).sent.prompt_sha256 == ""


def test_every_country_of_the_iban_table_has_its_length() -> None:
    assert personal.IBAN_LENGTHS["DE"] == 22 and personal.IBAN_LENGTHS["MT"] == 31
    assert all(15 <= length <= 34 for length in personal.IBAN_LENGTHS.values())
