"""The page's words: said, complete, and the same in every language.

Command: pytest tests/app/ui/test_words.py
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from app.ui import page
from app.ui.words import ENGLISH, languages, read_words
from feedback.store.outbox import FOR_VISITORS
from feedback.taxonomy import taxonomy

BUILT = re.compile(
    r"`(?:\w+\.)?([a-z_]*)\$\{[^`}]*\}([a-z_]*)`"
)  # a name put together, such as `theme_${name}`
USED = re.compile(r"\bwords\.(\w+(?:\.\w+)?)|\bsay\(\"([\w.+]+)\"")
CALLED = re.compile(r'\.called\(\s*"(\w*)"((?:[^()]|\([^()]*\))*)\)')
GAP = re.compile(r"\b(\w+)=")
ROOT = page.FOLDER.parents[1]
BRACES = re.compile(r"\{(\w+)\}")
OTHERS = sorted(languages().keys() - {ENGLISH})
TAXONOMY = "taxonomy."  # English has these in feedback/taxonomy.yaml


def flat(words: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Every word with its dotted name."""
    for name, value in words.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def scripts() -> str:
    return "\n".join(path.read_text() for path in page.WEB.glob("*.js"))


def test_every_word_that_is_said_is_written_down() -> None:
    known = {name for name, _ in flat(read_words())} | {TAXONOMY.rstrip(".")}
    groups = {name[:place] for name in known for place, letter in enumerate(name) if letter == "."}
    said = {name for pair in USED.findall(scripts()) for name in pair if name}
    called = {f"{name}.{method}" for name in known for method in ("replace", "map", "split")}
    assert said - known - groups - called == set()


def test_every_word_that_is_written_down_is_said_somewhere() -> None:
    sources = [*page.FOLDER.glob("*.py"), page.FOLDER / "shell.html"]
    text = "\n".join([scripts(), *(path.read_text() for path in sources)])
    built = [(before, after) for before, after in BUILT.findall(text) if before or after]
    spoken = set(re.findall(r"\w+", text))
    names = {name: _looked_for(name) for name, _ in flat(read_words())}
    unsaid = {name for name, last in names.items() if last not in spoken}
    assert {name for name in unsaid if not _is_built(names[name], built)} == set()


def test_every_fault_that_has_a_name_has_words_for_it_with_its_gaps() -> None:
    folders = ("app", "backtalk", "feedback")
    sources = [path.read_text() for folder in folders for path in (ROOT / folder).rglob("*.py")]
    found: dict[str, set[str]] = {name: set() for name in FOR_VISITORS.values()}
    found |= {name: set(GAP.findall(gaps)) for text in sources for name, gaps in CALLED.findall(text)}
    known = read_words()["server"]["faults"]
    assert {name: set(BRACES.findall(text)) for name, text in known.items()} == found


def _looked_for(name: str) -> str:
    """The word's own name; of a group within a tab's, the group's: its words go by ids from the server."""
    parts = name.split(".")
    return parts[1] if len(parts) > 2 else parts[-1]


def _is_built(name: str, built: list[tuple[str, str]]) -> bool:
    return any(
        name.startswith(before) and name.endswith(after) and len(name) > len(before + after)
        for before, after in built
    )


@pytest.mark.parametrize("language", OTHERS)
def test_no_word_is_missing_or_left_over(language: str) -> None:
    own = {name for name, _ in flat(read_words(language)) if not name.startswith(TAXONOMY)}
    assert own == {name for name, _ in flat(read_words())}


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_has_the_same_gaps(language: str) -> None:
    english = dict(flat(read_words()))
    wrong = [
        name
        for name, text in flat(read_words(language))
        if name in english and set(BRACES.findall(str(text))) != set(BRACES.findall(str(english[name])))
    ]
    assert wrong == []


@pytest.mark.parametrize("language", OTHERS)
def test_every_reason_and_hazard_has_a_name_in_the_language(language: str) -> None:
    own = read_words(language)["taxonomy"]
    offered = {reason.id: 2 for reason in taxonomy().reasons if not reason.archived}
    assert {name: len(words) for name, words in own.items()} == {
        **offered,
        **dict.fromkeys(taxonomy().hazards, 1),
    }


@pytest.mark.parametrize("language", OTHERS)
def test_what_is_agreed_to_is_the_same_text_in_every_language(language: str) -> None:
    assert read_words(language)["consent_version"] == read_words()["consent_version"]


def test_every_word_of_the_shell_is_text() -> None:
    named = re.findall(r"\$([a-z_]+)", (page.FOLDER / "shell.html").read_text())
    assert named and all(isinstance(read_words()[name], str) for name in named)
