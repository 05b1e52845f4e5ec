"""The parser of the verbs: calm about typos, and literal about its example."""

import json

import pytest

from backtalk.errors import WordsError
from backtalk.verb import Parser, report_json


def flags_parser() -> Parser:
    parser = Parser("flags", "What visitors flagged.", example="backtalk flags list\nbacktalk flags show ID")
    lists = parser.add_subparsers(dest="what", required=True).add_parser("list", help="newest first")
    lists.add_argument("--limit", type=int, default=20, help="how many")
    lists.add_json()
    return parser


def test_help_shows_the_example_as_it_was_written() -> None:
    assert "example:\n  backtalk flags list\n  backtalk flags show ID\n" in flags_parser().format_help()


def test_help_does_not_depend_on_the_width_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = flags_parser().format_help()
    monkeypatch.setenv("COLUMNS", "40")
    assert flags_parser().format_help() == wide


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["list", "--limt", "3"],
            "flags list has no flag '--limt'. Did you mean '--limit'? See: backtalk flags list --help",
        ),
        (["list", "--lim=3"], "backtalk flags list has no flag '--lim'. Did you mean '--limit'?"),
        (["list", "everything"], "backtalk flags list has no word 'everything'."),
        (["list", "--limit", "ten"], "argument --limit: invalid int value: 'ten'."),
        (["lst"], "invalid choice: 'lst'"),
        ([], "the following arguments are required: what."),
    ],
)
def test_a_wrong_word_is_one_sentence_that_says_what_to_type(words: list[str], sentence: str) -> None:
    with pytest.raises(WordsError) as fault:
        flags_parser().parse_args(words)
    assert sentence in str(fault.value)
    assert fault.value.exit_code == 2


def test_an_abbreviated_flag_is_a_typo() -> None:
    with pytest.raises(WordsError):
        flags_parser().parse_args(["list", "--lim", "3"])


def test_the_json_line_survives_any_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    report_json({"text": "naïve \ud800 مرحبا\n"})
    line = capsys.readouterr().out
    assert line.isascii() and line.count("\n") == 1
    assert json.loads(line) == {"text": "naïve \ud800 مرحبا\n"}
