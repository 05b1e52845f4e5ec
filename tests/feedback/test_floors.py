"""The floors of feedback, read from the source: each stands on those below it and knows none above.

Command: .venv/bin/python -m pytest tests/feedback/test_floors.py
Promise: what a flag is needs no outbox, keeping one needs no Hub, and nothing needs a maintainer.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import feedback

GROUND = "feedback"
FLOORS = (GROUND, "store", "hub", "curate", "review", "rights")
FOLDER = Path(feedback.__file__).parent


def imports() -> Iterator[tuple[str, str]]:
    """For each import within the package: the file, and the floor that it imports from."""
    for path in sorted(FOLDER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("feedback"):
                place = [*(node.module or "").split("."), *(name.name for name in node.names)]
                yield path.relative_to(FOLDER).as_posix(), place[1] if place[1] in FLOORS else GROUND


def floor_of(file: str) -> str:
    return file.split("/")[0] if "/" in file else GROUND


def test_every_folder_is_a_floor_that_says_what_it_is_for() -> None:
    folders = {path.parent.name for path in FOLDER.glob("*/__init__.py")}
    assert folders == {*FLOORS} - {GROUND}
    for name in folders:
        assert ast.get_docstring(ast.parse((FOLDER / name / "__init__.py").read_text(encoding="utf-8")))


def test_no_floor_imports_one_above_it() -> None:
    found = list(imports())
    assert len(found) > 100
    wrong = [
        f"{file} imports from {floor}"
        for file, floor in found
        if FLOORS.index(floor) > FLOORS.index(floor_of(file))
    ]
    assert not wrong
