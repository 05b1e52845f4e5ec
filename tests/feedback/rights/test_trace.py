"""From a flag to what it taught and back, by cards and manifests alone."""

import json
from pathlib import Path

import pytest

from backtalk.card import Card, file_entry, write_card
from backtalk.errors import WordsError
from backtalk.files import read_jsonl, sha256_of, write_json
from feedback.curate.curate import Curation, curate
from feedback.rights import trace as verb
from feedback.rights.trace import trace
from tests.feedback.events import CORRECTION, flag, segment

ALL = Curation(include="all", eval_share=0.0)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BACKTALK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def made(folder: Path, kind: str, inputs: list[dict], content: str) -> Path:
    """A finished folder with one file, as training or export leave it."""
    folder.mkdir(parents=True)
    (folder / "model.gguf").write_text(content)
    write_card(folder, Card(kind, folder.name, inputs=inputs))
    return folder


@pytest.fixture
def loop(state: Path, tmp_path: Path) -> dict[str, Path]:
    """Two flags, a set of both, a run on the set, an export of the run, a round over all, and a stranger."""
    ann = flag("ann", "bad", ["outdated"], CORRECTION)
    bob = flag("bob", "bad", ["too_long"], question="And a stove?", answer="A stove is a stove.")
    curated, _ = curate(ALL, [segment(tmp_path / "flags.jsonl", [ann, bob])])
    run = made(state / "runs" / "r1", "run", [file_entry(curated / "sft.jsonl", curated)], "adapter")
    sha = sha256_of(run / "model.gguf")
    export = made(state / "exports" / "e1", "export", [{"path": "elsewhere", "sha256": sha}], "gguf")
    round_ = made(state / "rounds" / "n1", "round", [{"path": str(export)}], "round")
    made(state / "runs" / "r2", "run", [{"path": "other", "sha256": "0" * 64}], "other")
    return {"curated": curated, "run": run, "export": export, "round": round_}


def named(loop: dict[str, Path]) -> str:
    """The id of a flag that is used."""
    return next(line["flag_id"] for line in read_jsonl(loop["curated"] / "manifest.jsonl") if line["used"])


def test_a_flag_names_everything_that_was_made_of_it(loop: dict[str, Path]) -> None:
    found = trace(named(loop)[:8])
    assert [one.folder for one in found.forth] == [
        loop[name] for name in ("curated", "run", "export", "round")
    ]
    assert found.uses.keys() == {loop["curated"]} and all(found.uses.values())


def test_a_round_names_the_flags_behind_it(loop: dict[str, Path]) -> None:
    found = trace("rounds/n1")
    assert [one.folder for one in found.back] == [loop[name] for name in ("export", "run", "curated")]
    assert len(found.flags) == 2


def test_a_model_is_found_by_its_hash(loop: dict[str, Path]) -> None:
    found = trace(sha256_of(loop["export"] / "model.gguf")[:10])
    assert [one.card.id for one in found.back] == ["r1", loop["curated"].name]
    assert [one.card.id for one in found.forth] == ["e1", "n1"]


def test_it_answers_when_the_training_files_are_gone(loop: dict[str, Path]) -> None:
    for name in ("sft", "kto", "dpo", "eval"):
        (loop["curated"] / f"{name}.jsonl").unlink()
    assert [one.folder for one in trace(named(loop)).forth] == list(loop.values())


def test_an_empty_file_makes_no_relatives(state: Path) -> None:
    for number in (1, 2):
        made(state / "runs" / f"r{number}", "run", [], "")
    empty = sha256_of(state / "runs" / "r1" / "model.gguf")
    made(state / "exports" / "e1", "export", [{"sha256": empty}], "gguf")
    assert trace("e1").back == []


def test_what_is_not_there_is_said_in_one_sentence(state: Path) -> None:
    with pytest.raises(WordsError, match="There is no flag, message, set"):
        trace("nothing")


def test_the_verb_tells_it_and_says_what_is_served(
    loop: dict[str, Path], state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(state / "promoted.json", {"sha256": sha256_of(loop["export"] / "model.gguf")})
    assert verb.main([named(loop), "--json"]) == 0
    told, row = capsys.readouterr().out.rsplit("\n", 2)[:2]
    assert "export e1 is what is served now" in told
    assert json.loads(row)["promoted"] == "e1"
    assert [entry["id"] for entry in json.loads(row)["used_by"]] == [made.name for made in loop.values()]
