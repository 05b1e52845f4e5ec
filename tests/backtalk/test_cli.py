"""The command: finds a verb, loads it alone, and turns what goes wrong into a sentence and an exit code."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from backtalk import __version__, cli
from backtalk.errors import BacktalkError, GateError, WordsError


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A verb `probe` that does what the test says and keeps what it was given."""
    module = SimpleNamespace(argv=None, does=lambda: 0)

    def main(argv: list[str]) -> int:
        module.argv = argv
        return module.does()

    def load(name: str) -> Any:
        return SimpleNamespace(main=main) if name == "probe" else pytest.fail(f"{name} was loaded")

    monkeypatch.setitem(cli.VERBS, "probe", ("probe", "a verb of the tests"))
    monkeypatch.setitem(cli.VERBS, "probe deep", ("probe", "a verb of two words"))
    monkeypatch.setattr(cli, "import_module", load)
    return module


def failing(fault: BaseException) -> Any:
    def does() -> int:
        raise fault

    return does


def test_a_verb_gets_the_words_after_its_name(verb: Any) -> None:
    assert cli.main(["probe", "one", "--two"]) == 0
    assert verb.argv == ["one", "--two"]
    assert cli.main(["probe", "deep", "three"]) == 0
    assert verb.argv == ["three"]


def test_the_exit_code_is_the_verb_s(verb: Any) -> None:
    verb.does = lambda: 3
    assert cli.main(["probe"]) == 3


@pytest.mark.parametrize(("fault", "code"), [(BacktalkError, 1), (WordsError, 2), (GateError, 3)])
def test_an_error_is_its_sentence_and_its_exit_code(
    verb: Any, capsys: pytest.CaptureFixture[str], fault: type[BacktalkError], code: int
) -> None:
    verb.does = failing(fault("The disk is full; free some."))
    assert cli.main(["probe"]) == code
    assert capsys.readouterr() == ("", "The disk is full; free some.\n")


def test_a_defect_keeps_its_traceback(verb: Any) -> None:
    verb.does = failing(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        cli.main(["probe"])


def test_interrupting_is_said_in_a_word(verb: Any, capsys: pytest.CaptureFixture[str]) -> None:
    verb.does = failing(KeyboardInterrupt())
    assert cli.main(["probe"]) == 130
    assert capsys.readouterr().err == "\nStopped.\n"


def test_a_package_that_is_not_installed_is_named(verb: Any, capsys: pytest.CaptureFixture[str]) -> None:
    verb.does = failing(ModuleNotFoundError("No module named 'torch'", name="torch"))
    assert cli.main(["probe"]) == 1
    assert "needs the Python package 'torch'" in capsys.readouterr().err


def test_a_module_of_ours_that_is_missing_is_a_defect(verb: Any) -> None:
    verb.does = failing(ModuleNotFoundError("No module named 'app.nothing'", name="app.nothing"))
    with pytest.raises(ModuleNotFoundError):
        cli.main(["probe"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["chta"], "There is no verb 'chta'. Did you mean 'chat'? See: backtalk --help"),
        (["mini"], "backtalk mini needs one of: build, evaluate, replay. See: backtalk mini --help"),
        (["mini", "biuld"], "backtalk mini needs one of: build, evaluate, replay. See: backtalk mini --help"),
        (["deploy"], "backtalk deploy needs one of: space, job. See: backtalk deploy --help"),
    ],
)
def test_wrong_words_are_answered(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    assert capsys.readouterr().err == f"{sentence}\n"


def test_help_lists_every_verb_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in [*cli.VERBS, *cli.LATER]:
        assert len([line for line in lines if line.startswith(f"  {name}  ")]) == 1
    assert not cli.VERBS.keys() & cli.LATER.keys()


def test_help_of_a_first_word_lists_its_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["mini", "--help"]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["mini", "build"],
        ["mini", "evaluate"],
        ["mini", "replay"],
    ]


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"backtalk {__version__}\n"


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    command = f"{sys.executable} -u -m backtalk --help | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout.startswith("usage:") and done.stderr == ""
    assert done.returncode in (0, cli.PIPE_CLOSED)


def test_a_character_that_the_terminal_lacks_is_escaped() -> None:
    program = "from backtalk import cli; cli.VERBS['é'] = ('x', 'y'); raise SystemExit(cli.main(['--help']))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={"PYTHONIOENCODING": "ascii"}
    )
    assert done.returncode == 0 and "\\xe9" in done.stdout
