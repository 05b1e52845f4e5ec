"""`backtalk flags`: the table and one flag whole, with contributors' words as nothing but words."""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from backtalk.errors import WordsError
from backtalk.home import home
from feedback.review.flags import main
from feedback.schema import THREAD, Consent, Model
from feedback.store.outbox import NAME, Outbox
from feedback.store.saving import Choice, FlaggedMessage, save_flag


@pytest.fixture
def flags(message: FlaggedMessage) -> list[str]:
    """Three flags in the state folder: good, bad, bad by another model."""
    other = replace(message.model, name="llama-3.2-1b", repo="someone/llama")
    choices = [
        (message, Choice("good", ("clear",), consent=Consent("1", THREAD, True))),
        (replace(message, message_id="b"), Choice("bad", ("outdated", "too_long"), comment="It is 45 days.")),
        (replace(message, message_id="c", model=other), Choice("bad", ("slow",), severity="minor")),
    ]
    with closing(Outbox(home() / NAME)) as outbox:
        return [save_flag(outbox, *choice).flag_id for choice in choices]


def test_the_table_has_a_line_for_each_flag(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:8] for line in lines[1:4]] == [name[:8] for name in reversed(flags)]
    assert "outdated, too_long" in lines[2] and "It is 45 days." in lines[2]
    assert lines[-1].startswith("3 of 3 flags")


@pytest.mark.parametrize(
    ("filters", "places"),
    [
        (["--verdict", "bad"], [2, 1]),
        (["--reason", "outdated"], [1]),
        (["--model", "LLAMA"], [2]),
        (["--limit", "1"], [2]),
        (["--verdict", "good", "--reason", "slow"], []),
    ],
)
def test_filters_narrow_the_list(
    flags: list[str], capsys: pytest.CaptureFixture[str], filters: list[str], places: list[int]
) -> None:
    assert main(["list", "--json", *filters]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [flag["flag_id"] for flag in found["flags"]] == [flags[place] for place in places]
    assert found["standing"] == 3


def test_one_flag_is_shown_whole(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", flags[1][:12]]) == 0
    shown = capsys.readouterr().out
    for words in (
        flags[1],
        "bad",
        "outdated, too_long",
        "It is 45 days.",
        "mini-Q8_0.gguf",
        "2 earlier not kept",
    ):
        assert words in shown
    assert "none: it stays on this machine" in shown and "history last_n, 52 tokens" in shown
    assert main(["show", flags[0]]) == 0
    shown = capsys.readouterr().out
    assert "user, not sent\n    My order is 4821." in shown and "consent    flag+thread" in shown


def test_the_history_of_a_flag_is_told_even_when_it_was_withdrawn(
    flags: list[str], message: FlaggedMessage, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Outbox(home() / NAME)) as outbox:
        save_flag(outbox, message, Choice("bad"))
        save_flag(outbox, message, Choice(retract=True))
    assert main(["show", flags[0], "--json"]) == 0
    *shown, line = capsys.readouterr().out.splitlines()
    assert any(words.startswith("withdrawn") for words in shown)
    told = json.loads(line)
    assert told["state"] is None
    assert [event["op"] for event in told["events"]] == ["create", "amend", "retract"]
    main(["list"])
    assert "2 of 2 flags" in capsys.readouterr().out


def test_a_contributors_words_cannot_steer_the_terminal(
    message: FlaggedMessage, capsys: pytest.CaptureFixture[str]
) -> None:
    comment = "\x1b[2J\x1b]0;owned\x07 [bold red]x[/] \u202egnirts \r back \x9b31m :smile:"
    model = Model(name="[link=http://x]m[/link]\x1b[31m")
    with closing(Outbox(home() / NAME)) as outbox:
        flag = save_flag(outbox, replace(message, model=model), Choice("bad", comment=comment)).flag_id
    for words in (["list"], ["show", flag], ["list", "--json"], ["show", flag, "--json"]):
        main(words)
        out = capsys.readouterr().out
        assert not set(out) & set("\x1b\x07\r\x9b\u202e")
        assert "[bold red]x" in out and "[link=" in out


def test_an_unknown_or_ambiguous_flag_is_one_sentence(flags: list[str]) -> None:
    for words in ("zz", "", "%", "0" * 36):
        with pytest.raises(WordsError, match="There is no flag"):
            main(["show", words])
    with closing(Outbox(home() / NAME)) as outbox:
        first = next(iter({name[0] for name in flags if len(outbox.find(name[0])) > 1}), None)
    if first:
        with pytest.raises(WordsError, match="several flags"):
            main(["show", first])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["list", "--reason", "outdatd"], "Did you mean 'outdated'"),
        (["list", "--verdict", "awful"], "invalid choice"),
        (["list", "--limit", "0"], "whole number above 0"),
        (["list", "--modle", "x"], "--model"),
        (["lits"], "list"),
        ([], "VERB"),
    ],
)
def test_wrong_words_are_told(words: list[str], told: str) -> None:
    with pytest.raises(WordsError, match=told):
        main(words)


def test_looking_makes_no_outbox(state_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    assert "No flags yet" in capsys.readouterr().out
    with pytest.raises(WordsError, match="no flag 'abc'"):
        main(["show", "abc"])
    assert not (state_folder / NAME).exists()


def test_a_damaged_outbox_is_told_beside_the_list(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = home() / NAME
    content = bytearray(path.read_bytes())
    content[4096 : 4096 * 2] = b"\xff" * 4096
    path.write_bytes(content)
    assert main(["list"]) == 0
    assert "was damaged" in capsys.readouterr().err
