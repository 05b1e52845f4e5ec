"""What happens in one state folder, piece by piece: people flag, rounds teach, models answer.

    story = Story(Path("work/one/seed-1"), Progress())
    visits = story.flags("first", "mini", errands(...), FactSheet(1), 200)
    said = story.round("first", recipe)
    wrong = story.wrong(story.candidate(said), items)

Each piece is written down when it is finished, so the same program run again goes on at the one it was in.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from backtalk.errors import BacktalkError
from backtalk.files import read_json, sha256_of, write_json, write_text
from backtalk.models import MINI
from backtalk.progress import Progress
from backtalk.round.child import run_verb
from bench.shop import Shop
from training.mini.comparison import wrong_answers
from training.mini.desk import Fact
from training.mini.questions import EvaluationItem
from training.mini.stakeholders.errands import Errand
from training.mini.stakeholders.sheet import FactSheet
from training.mini.stakeholders.visit import Guests, Visit, visit

Json = dict[str, Any]

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "mini_round.yaml"
GATE_SAID_NO = 3
OUTBOX = "outbox.sqlite"


class Story:
    """One state folder under `folder`, and the pieces that are finished."""

    def __init__(self, folder: Path, progress: Progress, more: Mapping[str, str] | None = None) -> None:
        """`more`: what verbs find in their environment beside the state folder."""
        self.folder, self.home = folder, folder / "home"
        self.home.mkdir(parents=True, exist_ok=True)
        self.environment = {**(more or {}), "BACKTALK_HOME": str(self.home)}
        self._progress = progress

    def piece(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` returned, now or in an earlier run; a value that JSON can hold."""
        file = self.folder / f"{name}.json"
        if not file.exists():
            write_json(file, make())
        return read_json(file)

    def copy(self, folder: Path) -> "Story":
        """Another story that begins where this one stands now; what is there of it is gone on with."""
        if not (folder / "begun").exists():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(self.home, folder / "home")
            (folder / "begun").touch()
        return Story(folder, self._progress, self.environment)

    def flags(
        self, name: str, ref: str, errands: Iterable[Errand], sheet: FactSheet, count: int
    ) -> list[Json]:
        """So many flags of people who talk to the model `ref`, as `_told` tells them."""
        return self.piece(f"flags-{name}", lambda: list(self._flags(ref, errands, sheet, count)))

    def _flags(self, ref: str, errands: Iterable[Errand], sheet: FactSheet, count: int) -> Iterator[Json]:
        self._forget_half_a_piece()
        with Shop.open(self.home, ref) as shop:
            for one in visit(Guests(shop), errands, sheet, count, self._progress.report, at_once=1):
                if one.flag is not None:
                    yield _told(one)
        (self.folder / OUTBOX).unlink(missing_ok=True)

    def _forget_half_a_piece(self) -> None:
        """Flags of a run that was stopped in the middle of them are not there twice."""
        before, now = self.folder / OUTBOX, self.home / OUTBOX
        if not before.exists():
            shutil.copyfile(now, before) if now.exists() else before.touch()
            return
        for file in self.home.glob(f"{OUTBOX}*"):
            file.unlink()
        if before.stat().st_size:
            shutil.copyfile(before, now)

    def round(self, name: str, recipe: Path, include: str = "agreed", offline: bool = True) -> Json:
        """What `backtalk round` said at its end. Raises BacktalkError where it did not reach one."""
        words = ["round", str(recipe), "--include", include, "--by", "bench", "--json"]
        words += ["--offline"] if offline else []
        return self.piece(f"round-{name}", lambda: self.verb(name, words, also=GATE_SAID_NO))

    def verb(self, name: str, words: Sequence[str], also: int = 0) -> Json:
        """What a verb said at its end, run with this state folder."""
        log = self.folder / f"{name}.log"
        done = run_verb(words, log, lambda line: self._progress.report(f"{name}: {line}"), self.environment)
        if done.code not in (0, also) or not done.said:
            raise BacktalkError(f"backtalk {words[0]} failed: {done.fault} All it said is in {log}.")
        return done.said

    def candidate(self, said: Mapping[str, Any]) -> Path:
        """The file that a round made, whether it was promoted or not."""
        acts = read_json(Path(said["folder"]) / "round.json")["acts"]
        return next(Path(acts["export"]["said"]["path"]).glob("*.gguf"))

    def served(self) -> str:
        """The REF of what a chat of this folder serves now."""
        pointer = self.home / "promoted.json"
        return str(self.home / read_json(pointer)["file"]) if pointer.exists() else str(MINI)

    def wrong(self, model: Path | str, items: Sequence[EvaluationItem]) -> dict[str, str]:
        """The model's wrong answers by id; each file is asked the same items once."""
        asked = sha256(repr([item.id for item in items]).encode()).hexdigest()[:8]
        name = f"answers-{sha256_of(Path(model))[:12]}-{asked}"
        return self.piece(name, lambda: wrong_answers(str(model), items, self._progress))


def write_recipe(path: Path, **changes: Any) -> Path:
    """The miniature's round recipe with other values; `rules={"votes": 50}` changes one key of a section."""
    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    for key, value in changes.items():
        recipe[key] = {**recipe.get(key, {}), **value} if isinstance(value, dict) else value
    write_text(path, yaml.safe_dump(recipe, sort_keys=False))
    return path


def _told(one: Visit) -> Json:
    about = one.errand.about
    return {
        "kind": one.errand.person.kind,
        "about": about.id,
        "batch": about.batch if isinstance(about, Fact) else 0,
        "question": one.errand.question,
        "answer": one.answer.text,
        "flag": one.flag,
        "flag_id": one.flag_id,
    }
