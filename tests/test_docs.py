"""The documents do not lie: each is compared with what it speaks of."""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest

from backtalk import __version__
from backtalk.card import Card
from backtalk.cli import VERBS
from feedback.schema import FlagEvent
from scripts.write_help import PAGE, help_of, write_help

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
PACKAGES = ("backtalk", "app", "feedback", "training", "export")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_help_page_is_what_the_verbs_say() -> None:
    """Out of date: `make docs` writes it anew."""
    assert PAGE.read_text(encoding="utf-8") == write_help()


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_ends_in_an_example(verb: str) -> None:
    assert f"\n\nexample:\n  backtalk {verb}" in help_of(verb)


def test_every_column_of_a_flag_is_explained() -> None:
    contracts = read("docs/contracts.md")
    assert not [name for name in columns(FlagEvent) if f"\n| `{name}` |" not in contracts]


def test_no_column_is_explained_that_a_flag_does_not_have() -> None:
    section = read("docs/contracts.md").split("## Flag events")[1].split("\n## ")[0]
    assert not set(re.findall(r"^\| `([\w.]+)` \|", section, re.MULTILINE)) - set(columns(FlagEvent))


def test_every_key_of_a_card_is_explained() -> None:
    section = read("docs/contracts.md").split("## Cards")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [one.name for one in fields(Card)]


def test_every_environment_variable_is_in_the_operations_manual() -> None:
    manual = read("docs/operations.md")
    read_in_code = {
        name
        for path in sources()
        for name in re.findall(
            r"""environ(?:\.get\(|\[)["'](\w+)["'](?!\] = )""", path.read_text(encoding="utf-8")
        )
    }
    assert "BACKTALK_HOME" in read_in_code
    assert not [name for name in read_in_code if f"`{name}`" not in manual]


def test_the_changelog_begins_with_this_version() -> None:
    newest = re.search(r"^## (\S+)", read("CHANGELOG.md"), re.MULTILINE)
    assert newest and newest[1] == __version__


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([\w-]+)(?: [\w-]+)*:", read("Makefile"), re.MULTILINE))
    named = {
        word for path in DOCUMENTS for word in re.findall(r"`make ([a-z]+)", path.read_text(encoding="utf-8"))
    }
    assert {"run", "test"} <= named <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))
    local = [link.partition("#")[0] for link in links if "://" not in link]
    assert not [link for link in local if link and not (document.parent / link).exists()]


def test_the_tree_in_the_readme_names_every_module_once() -> None:
    tree = read("README.md").split("```text")[1].split("```")[0]
    named = list(paths_of(tree))
    assert len(named) == len(set(named))
    assert not [path for path in named if not (ROOT / path).exists()]
    modules = {
        path.relative_to(ROOT).as_posix().removesuffix("/__init__.py")
        for package in PACKAGES
        for path in [*(ROOT / package).glob("*.py"), *(ROOT / package).glob("*/__init__.py")]
        if path.name not in ("__init__.py", "__main__.py") or path.parent.parent == ROOT / package
    }
    assert not modules - set(named)


def columns(record: type, prefix: str = "") -> Iterator[str]:
    """The columns by dotted name, as a row has them: lists and packed columns are one column each."""
    kinds = get_type_hints(record)
    for one in fields(record):
        if is_dataclass(kinds[one.name]) and "packed" not in one.metadata:
            yield from columns(kinds[one.name], f"{prefix}{one.name}.")
        else:
            yield prefix + one.name


def sources() -> Iterator[Path]:
    for folder in (*PACKAGES, "scripts"):
        yield from (ROOT / folder).rglob("*.py")


def paths_of(tree: str) -> Iterator[str]:
    """The path of each line of the tree: two spaces of indentation are one folder deeper."""
    folders: list[str] = []
    for line in tree.splitlines():
        if not line.strip():
            continue
        depth = (len(line) - len(line.lstrip())) // 2
        name = line.split()[0]
        folders[depth:] = [name.rstrip("/")]
        yield "/".join(folders)
