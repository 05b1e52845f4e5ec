"""The state folder and the secret that signs for it."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from backtalk import home
from backtalk.errors import WordsError

LONG_ENOUGH = "0123456789abcdef"


def test_the_folder_is_made_where_the_environment_says(state_folder: Path) -> None:
    assert home.home() == state_folder and state_folder.is_dir()


def test_without_a_word_it_lies_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BACKTALK_HOME")
    monkeypatch.chdir(tmp_path)
    assert home.home() == tmp_path / ".backtalk"


def test_a_made_secret_is_kept_and_only_its_owner_reads_it(state_folder: Path) -> None:
    made = home.secret()
    assert home.secret() == made and len(made) >= 32
    assert stat.S_IMODE((state_folder / "secret").stat().st_mode) == 0o600
    assert [path.name for path in state_folder.iterdir()] == ["secret"]


def test_a_given_secret_is_used_and_no_file_is_made(
    state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKTALK_SECRET", LONG_ENOUGH)
    assert home.secret() == LONG_ENOUGH.encode()
    assert not (state_folder / "secret").exists()


def test_a_secret_that_could_be_guessed_is_refused(
    state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.home()
    (state_folder / "secret").write_text("short")
    with pytest.raises(WordsError, match="holds 5 characters"):
        home.secret()
    monkeypatch.setenv("BACKTALK_SECRET", "short")
    with pytest.raises(WordsError, match="BACKTALK_SECRET has 5 characters"):
        home.secret()


def test_processes_that_start_together_agree_on_one_secret() -> None:
    program = "from backtalk.home import secret; print(secret().decode())"
    started = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert len({process.communicate()[0] for process in started}) == 1


@pytest.mark.parametrize(
    ("space", "secret", "lasting"),
    [("", "", True), ("me/chat", "", False), ("me/chat", LONG_ENOUGH, True), ("", LONG_ENOUGH, True)],
)
def test_a_space_needs_a_given_secret(
    monkeypatch: pytest.MonkeyPatch, space: str, secret: str, lasting: bool
) -> None:
    monkeypatch.setenv("SPACE_ID", space)
    monkeypatch.setenv("BACKTALK_SECRET", secret)
    assert home.has_lasting_secret() is lasting
