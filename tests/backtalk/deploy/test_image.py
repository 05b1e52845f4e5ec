"""The Docker image, read without an engine: what is copied is there, what is run exists, nobody runs it.

Command: pytest tests/backtalk/deploy/test_image.py

Promise: the image is set up by the script of `make run`, serves as user 1000 from files that may be
read-only, and says that it is a Space only where it is one. Carried out, as far as that goes without an
engine, by bench/image.py.
"""

import fnmatch
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from app.ui.door import OPEN
from backtalk.deploy.folder import BUNDLED, PACKAGES, assemble
from bench.dockerfile import Stage, Step, read_dockerfile
from scripts import install

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def stages() -> list[Stage]:
    return read_dockerfile(ROOT / "Dockerfile")


@pytest.fixture(scope="module")
def copied(stages: list[Stage]) -> list[str]:
    """What is copied into the first stage."""
    return [source for step in stages[0].steps_of("COPY") for source in step.sources]


def last(stages: list[Stage], word: str) -> Step:
    return stages[-1].steps_of(word)[-1]


def lets_in(path: str) -> bool:
    """Whether .dockerignore lets a file into the build: the last line that fits decides."""
    allowed = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.lstrip("!")
        if line and line[0] != "#" and _fits(path, pattern):
            allowed = line.startswith("!")
    return allowed


def _fits(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return any(fnmatch.fnmatch(part, pattern[3:]) for part in path.split("/"))
    parts = path.split("/")
    return any(fnmatch.fnmatch("/".join(parts[:end]), pattern) for end in range(1, len(parts) + 1))


def test_everything_that_is_copied_is_there_and_let_in(copied: list[str]) -> None:
    assert copied and not [path for path in copied if not (ROOT / path).exists() or not lets_in(path)]


def test_nothing_else_is_let_in() -> None:
    for path in (".git/config", ".backtalk/secret", ".env", "tests/conftest.py", "training/run.py", "a.pem"):
        assert not lets_in(path)
    assert not lets_in("models/mini/model.safetensors") and not lets_in("app/__pycache__/ask.pyc")
    assert lets_in("app/ui/web/main.js") and lets_in("scripts/llama.cmake")


def test_what_a_space_serves_is_what_the_image_serves(copied: list[str]) -> None:
    assert {*PACKAGES, *BUNDLED, "space.py"} <= {*copied}
    built = assemble("docker", "somebody/desk", "somebody/desk-model", "compile").files
    assert not [
        path for path in copied if not any(file == path or file.startswith(f"{path}/") for file in built)
    ]


def test_it_is_set_up_by_the_script_of_make_run(stages: list[Stage]) -> None:
    [setup] = [step.text for step in stages[0].steps_of("RUN") if "scripts.install" in step.text]
    machine = setup.split("scripts.install ")[1].split()[0]
    assert machine in install.EXTRAS
    assert f"scripts.install {machine}".replace(machine, "$*") in (ROOT / "Makefile").read_text()
    before = stages[0].steps[: stages[0].steps.index(next(s for s in stages[0].steps if setup == s.text))]
    there = {source for step in before if step.word == "COPY" for source in step.sources}
    assert {"pyproject.toml", "README.md", "LICENSE", "constraints", "scripts"} <= there


def test_both_stages_have_one_base(stages: list[Stage]) -> None:
    assert len(stages) == 2 and len({stage.base for stage in stages}) == 1
    assert stages[0].base.startswith("python:3.11-slim")
    [taken] = stages[1].steps_of("COPY")
    assert taken.origin == stages[0].name and taken.sources == [taken.target] == ["/backtalk"]


def test_it_runs_as_user_1000_on_the_port_of_a_space(stages: list[Stage]) -> None:
    assert any("--uid 1000" in step.text for step in stages[1].steps_of("RUN"))
    assert last(stages, "USER").text == "user"
    assert last(stages, "EXPOSE").text == "7860"
    assert "SYSTEM" not in last(stages, "ENV").variables


def test_it_is_told_of_sigterm_itself(stages: list[Stage]) -> None:
    assert last(stages, "CMD").words == ["python", "space.py"]
    assert last(stages, "STOPSIGNAL").text == "SIGTERM"


def test_its_health_is_a_page_that_the_door_lets_through(stages: list[Stage]) -> None:
    program = last(stages, "HEALTHCHECK").words[-1]
    assert "http://127.0.0.1:7860/health" in program and OPEN["GET"].fullmatch("/health")
    compile(program, "the health check", "exec")


def test_all_that_is_written_goes_to_the_volume_or_to_tmp(stages: list[Stage]) -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["chat"]
    variables = last(stages, "ENV").variables
    assert compose["read_only"] and compose["tmpfs"] == ["/tmp"]
    assert compose["volumes"] == [f"state:{variables['BACKTALK_HOME']}"]
    assert variables["HF_HOME"].startswith("/state/") and variables["GRADIO_TEMP_DIR"].startswith("/tmp/")
    assert variables["PYTHONDONTWRITEBYTECODE"] == "1"


@pytest.mark.parametrize(("space", "said"), [("somebody/desk", "spaces"), ("", "")])
def test_it_says_that_it_is_a_space_only_where_it_is_one(space: str, said: str) -> None:
    program = "import os, space; print(os.environ.get('SYSTEM', ''))"
    environment = {**os.environ, "SPACE_ID": space}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == said
