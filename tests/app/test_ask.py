"""`backtalk ask`: an answer on stdout, a JSON object where asked for, a sentence where words are off."""

import io
import json

import pytest

from app.ask import main
from backtalk.errors import WordsError


def test_the_answer_goes_to_stdout_and_repeats(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["where is my order 4821?"]) == 0
    first = capsys.readouterr().out
    main(["where is my order 4821?"])
    assert first.strip()
    assert capsys.readouterr().out == first


def test_with_json_the_last_line_tells_everything(capsys: pytest.CaptureFixture[str]) -> None:
    main(["hello", "--json", "--temperature", "1", "--seed", "5", "--max-tokens", "20"])
    *lines, last = capsys.readouterr().out.splitlines()
    told = json.loads(last)
    assert told["answer"] == "\n".join(lines)
    assert (told["sampling"]["seed"], told["model"]["name"]) == (5, "mini")
    assert told["ending"]["completion_tokens"] <= 20


def test_a_question_can_come_from_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["hello"])
    typed = capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\n"))
    main(["-"])
    assert capsys.readouterr().out == typed


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["  "], "The question is empty"),
        (["hello", "--temperature", "9"], "a number from 0 to 2"),
        (["hello", "--model", "min"], "Did you mean 'mini'"),
        (["hello", "--sytem", "x"], "--system"),
    ],
)
def test_words_that_are_off_are_one_sentence(argv: list[str], sentence: str) -> None:
    with pytest.raises(WordsError, match=sentence):
        main(argv)
