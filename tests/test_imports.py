"""Who may import whom, read from the source: lazy imports inside functions count as well."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

MAY_IMPORT = {
    "backtalk": set(),
    "feedback": {"backtalk"},
    "training": {"backtalk", "feedback"},
    "export": {"backtalk"},
    "app": {"backtalk", "feedback"},
}

# Third-party packages with a border: only files under these paths import them.
FENCES = {
    "gradio": ("app/ui/", "app/serve.py"),
    "huggingface_hub": ("backtalk/hub/",),
    "jinja2": ("backtalk/engine/", "backtalk/prompt.py"),
    "llama_cpp": ("backtalk/engine/", "backtalk/prompt.py", "export/"),
    "sqlite3": ("feedback/store/outbox.py",),
    "torch": ("training/", "export/"),
    "transformers": ("training/", "export/"),
    "unsloth": ("training/backends/with_unsloth.py",),
}

BACKTALK_NEEDS = {"huggingface_hub", "jinja2", "llama_cpp", "numpy", "rich", "yaml"}
DRAWS = ("backtalk/round/picture.py", "matplotlib")  # a round's report has a picture; loaded when it is drawn


def test_packages_import_only_what_lies_below_them() -> None:
    wrong = [
        f"{place} imports {name}"
        for place, name in imports()
        for package in [place.split("/")[0]]
        if top(name) in MAY_IMPORT.keys() - MAY_IMPORT[package] - {package}
    ]
    assert not wrong


def test_third_party_packages_stay_behind_their_fences() -> None:
    wrong = [
        f"{place} imports {name}"
        for place, name in imports()
        if top(name) in FENCES and not place.startswith(FENCES[top(name)])
    ]
    assert not wrong


def test_the_shared_package_needs_little() -> None:
    known = sys.stdlib_module_names | BACKTALK_NEEDS | {"backtalk"}
    assert not [
        f"{place} imports {name}"
        for place, name in imports()
        if place.startswith("backtalk/") and top(name) not in known and (place, top(name)) != DRAWS
    ]


def test_what_is_imported_is_declared_for_the_machine_that_needs_it() -> None:
    """`make run` installs the extra `app` alone, so what it serves needs no other. A verb may load more when
    it is called: where that is missing, the command says how to get it.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    serving = declared(project["dependencies"] + extras["app"])
    learning = serving | declared(extras["train"] + extras["unsloth"])
    owners = installed()
    undeclared = [
        f"{place} imports {name}"
        for lazily in (False, True)
        for place, name in imports(lazily)
        if top(name) not in sys.stdlib_module_names | MAY_IMPORT.keys()
        if not normal(owners.get(top(name), [top(name)]))
        & (learning if lazily or place.startswith(("training/", "export/")) else serving)
    ]
    assert not undeclared


def test_nothing_imports_tests_benchmarks_or_scripts() -> None:
    assert not [line for line in imports() if top(line[1]) in {"tests", "bench", "scripts"}]


def test_imports_are_absolute() -> None:
    relative = [
        f"{place}, line {node.lineno}"
        for place, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative


def test_no_module_is_named_like_something_installed() -> None:
    """A file that is run by its path puts its folder first, and its neighbours in the place of others."""
    ours = {"backtalk", *MAY_IMPORT}
    theirs = {name for name, owners in installed().items() if set(owners) != {"backtalk"}}
    taken = (theirs | sys.stdlib_module_names) - {"__main__", "__init__"}
    names = {path.stem for folder in (*ours, "scripts", "bench") for path in (ROOT / folder).rglob("*.py")}
    assert not (names | ours) & taken - {"trace"}  # Python's own is a tool that no library imports


def test_every_package_says_that_it_is_one() -> None:
    """Without `__init__.py` a folder loses to any installed package of its name."""
    assert not [
        str(folder.relative_to(ROOT))
        for package in MAY_IMPORT
        for folder in {path.parent for path in (ROOT / package).rglob("*.py")}
        if not (folder / "__init__.py").exists()
    ]


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import app.serve, app.ask", {"torch", "transformers", "training", "export"}),
        ("import backtalk.engine", {"torch", "transformers", "gradio", "app", "feedback"}),
        ("import feedback.schema, feedback.store.outbox", {"torch", "gradio", "app", "numpy", "llama_cpp"}),
        (
            "from backtalk.cli import main; main(['--help'])",
            {"app", "feedback", "training", "export", "yaml", "argparse", "gradio", "llama_cpp", "torch"},
        ),
    ],
)
def test_loading_one_thing_does_not_load_another(statement: str, absent: set[str]) -> None:
    program = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {top(name) for name in json.loads(done.stdout.splitlines()[-1])}
    assert not loaded & absent


def declared(requirements: list[str]) -> set[str]:
    return normal(re.match(r"[\w.-]+", line)[0] for line in requirements)


def normal(names: Iterable[str]) -> set[str]:
    """Distribution names in one spelling."""
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


def top(name: str) -> str:
    return name.partition(".")[0]


@cache
def installed() -> dict[str, list[str]]:
    """The distributions that own each importable name."""
    return dict(packages_distributions())


@cache
def sources() -> tuple[tuple[str, ast.Module], ...]:
    return tuple(
        (path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8")))
        for package in MAY_IMPORT
        for path in sorted((ROOT / package).rglob("*.py"))
    )


def imports(lazily: bool | None = None) -> Iterator[tuple[str, str]]:
    """(file, imported module) of every import statement; `lazily`: only those in functions, or outside."""
    yield from ((place, name) for place, name, inside in statements() if lazily in (None, inside))


@cache
def statements() -> tuple[tuple[str, str, bool], ...]:
    """(file, imported module, whether a function imports it) of every import statement."""
    return tuple(
        (place, name, inside)
        for place, tree in sources()
        for node, inside in within(tree)
        for name in modules(node)
    )


def within(node: ast.AST, inside: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Every node below this one, and whether it stands in a function."""
    inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    for child in ast.iter_child_nodes(node):
        yield child, inside
        yield from within(child, inside)


def modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [one.name for one in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
