"""Small experiments for tests: a base of two layers, rows about sizes, the verb in this process."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.training.teaching import small_base, write_rows
from training.experiment.clone import main as clone
from training.experiment.resume import main as resume
from training.experiment.run import main
from training.experiment.stop import main as stop

STEPS, CHUNK = 6, 2
THINGS = "tent boot rope lamp stove flask knife map coat glove sled kayak paddle torch whistle"
PLACES = "attic cellar garden harbour forest island market museum station valley bridge"


def rows(first: int, count: int) -> list[dict[str, Any]]:
    """Questions that share few words, each with an answer of its own."""
    things, places = THINGS.split(), PLACES.split()
    return [
        {
            "prompt": [
                {"role": "user", "content": f"what does {things[n % 15]} {n} cost at {places[n % 11]}?"}
            ],
            "completion": [
                {"role": "assistant", "content": f"The {things[n % 15]} costs {n * 7 + 3} euros."}
            ],
        }
        for n in range(first, first + count)
    ]


def base(folder: Path) -> Path:
    return small_base(folder)


def write_grid(folder: Path, model: Path, **changed: Any) -> Path:
    """Two ranks by two rates, six steps, compared every two; `changed` replaces sections."""
    folder.mkdir(parents=True, exist_ok=True)
    train, held = write_rows(folder / "rows.jsonl", rows(0, 24)), folder / "held.jsonl"
    write_rows(held, rows(100, 16))
    recipe = {
        "base": {"model": str(model)},
        "data": {"sources": [{"path": str(train)}], "evaluation": [{"path": str(held)}]},
        "lora": {"r": [2, 4], "dropout": 0.1},
        "optimiser": {"rate": [0.01, 0.001]},
        "schedule": {"steps": STEPS},
        "batch": {"size": 2, "accumulation": 2, "max_length": 128, "buckets": False},
        "backend": "peft",
        "experiment": {"chunk": CHUNK, "longest_answer": 8},
    }
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump({**recipe, **changed}))
    return path


def run(path: Path, *flags: str) -> int:
    return main([str(path), *flags])


def experiment(home: Path) -> Path:
    """The folder of the one experiment."""
    (recipe,) = home.glob("experiments/*/recipe.json")
    return recipe.parent


def people_ask(patch: pytest.MonkeyPatch) -> None:
    """After the fourth turn ana stops c2, then ben clones c1 warm, after the eighth ana resumes c2."""
    from training.experiment.engine import Engine

    tell, turns = Engine.tell, list[str]()
    asked = {
        4: lambda name: stop([name, "c2", "--by", "ana"]),
        5: lambda name: clone([name, "c1", "--by", "ben", "--warm", "--set", "optimiser.rate=0.02"]),
        8: lambda name: resume([name, "c2", "--by", "ana"]),
    }

    def asking(self: Engine, phase: str, **more: Any) -> None:
        tell(self, phase, **more)
        turns.append(phase)
        if len(turns) in asked:
            assert asked[len(turns)](self.folder.name) == 0

    patch.setattr(Engine, "tell", asking)


def people_interrupt(patch: pytest.MonkeyPatch) -> None:
    """After the second and the fifth turn somebody presses Ctrl-C."""
    from training.experiment.engine import Engine

    tell, turns = Engine.tell, list[str]()

    def interrupting(self: Engine, phase: str, **more: Any) -> None:
        tell(self, phase, **more)
        turns.append(phase)
        self.stop.asked = len(turns) in (2, 5)

    patch.setattr(Engine, "tell", interrupting)
