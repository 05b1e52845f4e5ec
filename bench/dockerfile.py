"""A Dockerfile as its instructions, for those who check it or carry it out without an engine.

    for stage in read_dockerfile(Path("Dockerfile")):
        stage.base, stage.name, [step.sources for step in stage.steps if step.word == "COPY"]

Comments, line continuations, exec form and ARGs of the head are read; heredocs and build mounts are not.
"""

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """One instruction: COPY, RUN, ENV, ...; `text` is what stands behind the word, on one line."""

    word: str
    text: str

    @property
    def origin(self) -> str:
        """The stage that a COPY takes from; "" is the folder that is built."""
        found = re.match(r"--from=(\S+)", self.text)
        return found[1] if found else ""

    @property
    def sources(self) -> list[str]:
        """What a COPY copies."""
        return self._places()[:-1]

    @property
    def target(self) -> str:
        """Where a COPY copies to."""
        return self._places()[-1]

    @property
    def words(self) -> list[str]:
        """A command in exec form."""
        return json.loads(self.text[self.text.index("[") :])

    @property
    def variables(self) -> dict[str, str]:
        """What an ENV sets."""
        return dict(word.split("=", 1) for word in shlex.split(self.text))  # type: ignore[misc]

    def _places(self) -> list[str]:
        return [word for word in self.text.split() if not word.startswith("--")]


@dataclass
class Stage:
    """From one FROM to the next."""

    base: str
    name: str
    steps: list[Step] = field(default_factory=list)

    def steps_of(self, word: str) -> list[Step]:
        return [step for step in self.steps if step.word == word]


def read_dockerfile(file: Path) -> list[Stage]:
    """The stages in their order, with the ARGs of the head filled into their bases."""
    stages: list[Stage] = []
    arguments: dict[str, str] = {}
    for step in _steps(file.read_text(encoding="utf-8")):
        if step.word == "FROM":
            base, _, name = step.text.partition(" AS ")
            for key, value in arguments.items():
                base = base.replace(f"${{{key}}}", value)
            stages.append(Stage(base, name))
        elif stages:
            stages[-1].steps.append(step)
        elif step.word == "ARG":
            key, _, value = step.text.partition("=")
            arguments[key] = value
    return stages


def _steps(text: str) -> list[Step]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [
        Step(word, rest.strip()) for line in whole.splitlines() for word, _, rest in [line.partition(" ")]
    ]
