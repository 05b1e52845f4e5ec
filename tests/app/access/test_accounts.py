"""Who is signed in, and who maintains: cookies that nobody forges, a link that works once, a list of names.

Command: pytest tests/app/access/test_accounts.py
"""

import json
import time
from pathlib import Path

import pytest

from app.access.accounts import HUB, LINK, PERSON, SECONDS, STATE, Accounts, Link, Person, own_name
from app.access.maintainers import Maintainers, maintainers
from app.access.seal import seal, unseal
from app.maintain.actions import actions_file, record
from backtalk.errors import TranscriptError, WordsError


def here() -> Accounts:
    return Accounts(Maintainers(), Link())


def space(names: str = "anna") -> Accounts:
    return Accounts(Maintainers(frozenset(names.split())), None, framed=True)


def sent(cookie: str) -> str:
    """What a browser sends of a header Set-Cookie."""
    return f"theme=dark; {cookie.partition(';')[0]}; x={{1}}"


def test_a_cookie_names_its_person_on_every_server_with_the_secret() -> None:
    cookie = here().cookie(Person("anna", LINK))
    person = here().person(sent(cookie))
    assert person and person.name == "anna" and here().is_maintainer(person)


def test_no_script_and_no_other_site_gets_the_cookie() -> None:
    parts = here().cookie(Person("anna", LINK)).split("; ")[1:]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(parts)
    framed = space().cookie(Person("anna", HUB, "hf_secret")).split("; ")
    assert framed[0].startswith("__Host-")
    assert {"HttpOnly", "SameSite=None", "Secure", "Partitioned", "Path=/"} <= set(framed[1:])


def test_the_hub_s_token_cannot_be_read_in_the_cookie_and_is_not_in_a_traceback() -> None:
    person = Person("anna", HUB, "hf_secret")
    cookie = space().cookie(person)
    assert "hf_secret" not in cookie and "anna" not in cookie and "hf_secret" not in repr(person)
    read = space().person(sent(cookie))
    assert read and read.token == "hf_secret"


@pytest.mark.parametrize("change", ["flip", "cut", "empty", "json", "visitor"])
def test_a_forged_cookie_is_nobody(change: str) -> None:
    accounts = here()
    name, _, value = accounts.cookie(Person("anna", LINK)).partition(";")[0].partition("=")
    forged = {
        "flip": value[:40] + ("A" if value[40] != "A" else "B") + value[41:],
        "cut": value[:-8],
        "empty": "",
        "json": json.dumps({"name": "anna", "way": "link", "role": "maintainer"}),
        "visitor": seal(
            STATE, "", {"name": "anna", "way": LINK, "token": "", "organisations": [], "id": "x"}
        ),
    }[change]
    assert accounts.person(f"{name}={forged}") is None


def test_a_cookie_of_another_release_is_nobody() -> None:
    accounts = here()
    cookie = accounts.set_cookie(accounts.cookie_name, seal(PERSON, "", {"user": "anna"}), 60)
    assert accounts.person(sent(cookie)) is None


def test_another_secret_s_cookie_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    cookie = sent(here().cookie(Person("anna", LINK)))
    monkeypatch.setenv("BACKTALK_SECRET", "0123456789abcdef0123456789abcdef")
    assert here().person(cookie) is None


def test_a_cookie_ends_after_eight_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    cookie = sent(here().cookie(Person("anna", LINK)))
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + SECONDS - 10)
    assert here().person(cookie)
    monkeypatch.setattr("time.time", lambda: now + SECONDS + 10)
    assert here().person(cookie) is None


def test_a_space_takes_nobody_who_came_with_a_link() -> None:
    as_on_space = space().cookie(Person("anna", LINK))
    assert space().person(sent(as_on_space)) is None


def test_who_signed_out_is_nobody_with_a_copy_of_the_cookie_too() -> None:
    accounts = here()
    cookie = sent(accounts.cookie(Person("anna", LINK)))
    person = accounts.person(cookie)
    assert person
    accounts.end(person)
    assert accounts.person(cookie) is None


def test_the_link_works_once_and_then_there_is_another() -> None:
    link = Link()
    key = link.key
    for wrong in ("", key[:-1], None, 7, [key], key + "\ud800"):
        assert not link.spend(wrong)
    assert link.spend(key)
    assert not link.spend(key)
    assert link.spend(link.key)


def test_what_is_sealed_for_one_purpose_opens_for_no_other() -> None:
    sealed = seal(STATE, "", {"nonce": "n"})
    assert unseal(STATE, "", sealed, 60) == {"nonce": "n"}
    with pytest.raises(TranscriptError):
        unseal(PERSON, "", sealed, 60)


def test_a_user_without_a_name_is_called_maintainer(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 1000")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert own_name() == "maintainer"


def test_people_and_members_of_an_organisation_maintain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKTALK_MAINTAINERS", "Anna, org:Acme  ben")
    listed = maintainers()
    assert listed.includes("anna") and listed.includes("BEN") and listed.includes("carl", ["acme", "other"])
    assert not listed.includes("acme") and not listed.includes("carl", ["anna"]) and not listed.includes("")


def test_nobody_maintains_a_space_by_default() -> None:
    assert not maintainers().includes("anna", ["acme"])


def test_a_name_that_cannot_be_one_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKTALK_MAINTAINERS", "anna, org:")
    with pytest.raises(WordsError, match="holds 'org:', which is no name on the Hub"):
        maintainers()


def test_what_a_maintainer_did_is_written_down_without_the_token(state_folder: Path) -> None:
    record({"name": "anna", "token": "hf_secret"}, "promote", "done", model="r2")
    record({"name": "ben", "token": ""}, "round", "x" * 900)
    first, second = (json.loads(line) for line in actions_file().read_text().splitlines())
    assert {**first, "at": ""} == {
        "at": "", "who": "anna", "what": "promote", "outcome": "done", "details": {"model": "r2"}
    }  # fmt: skip
    assert second["who"] == "ben" and len(second["outcome"]) == 500
    assert actions_file() == state_folder / "actions.jsonl" and actions_file().stat().st_mode & 0o77 == 0
