"""`backtalk evaluate`, whole: a folder with a card, a verdict, a page; interrupted work goes on.

Command: python -m pytest tests/training/test_evaluation.py
Promise: a better file is promoted, the same file never, and no answer is asked for twice.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from backtalk import cli
from backtalk.card import Card, read_card, write_card
from backtalk.files import read_json, read_jsonl, sha256_of, write_jsonl
from backtalk.home import home
from backtalk.models import MINI
from export.verdict import read_verdict
from tests.export.taught import mini_folder
from training.evaluation.items import Item
from training.evaluation.served import Served

EVALUATION = Path("training/mini/evaluation")


@pytest.fixture
def data(tmp_path: Path) -> dict[str, str]:
    """Two dozen facts, and sentences as general text."""
    rows = list(read_jsonl(EVALUATION / "facts.jsonl"))[::28]
    write_jsonl(tmp_path / "primary.jsonl", rows)
    write_jsonl(tmp_path / "general.jsonl", ({"text": row["reference"]} for row in rows))
    return {name: str(tmp_path / f"{name}.jsonl") for name in ("primary", "general")}


@pytest.fixture
def weaker(tmp_path: Path) -> Path:
    """The bundled model with a part of every layer taken out."""
    folder = mini_folder(tmp_path / "weaker")
    weights = load_file(folder / "model.safetensors")
    for name in weights:
        if "down_proj" in name:
            weights[name] = torch.zeros_like(weights[name])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def exported() -> Path:
    """The bundled file as an export that passed."""
    folder = home() / "exports" / "good-1"
    folder.mkdir(parents=True)
    gguf = folder / "good-Q8_0.gguf"
    shutil.copy(MINI, gguf)
    row = {"sha256": sha256_of(gguf), "passed": True, "failed": []}
    write_card(folder, Card("export", "good-1", metrics={"Q8_0": row}))
    return gguf


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any], str]:
    capsys.readouterr()
    code = cli.main(["evaluate", *words, "--max-tokens", "32", "--json"])
    out = capsys.readouterr().out
    return code, json.loads(out.splitlines()[-1]), out


def test_a_better_file_is_promoted_with_verdict_page_and_items(
    capsys: pytest.CaptureFixture[str], data: dict[str, str], weaker: Path, exported: Path
) -> None:
    words = ["--baseline", str(weaker), "--data", data["primary"], "--general", data["general"]]
    code, told, out = run(capsys, "good-1", *words)
    assert code == 0 and told["verdicts"][0]["verdict"] == "PROMOTE", out
    folder = Path(told["folder"])
    card = read_card(folder)
    assert card.kind == "evaluation" and card.libraries["rouge-score"]
    assert {entry["role"] for entry in card.inputs} == {"model", "baseline", "data: primary", "data: general"}
    verdict = read_verdict(exported.parent / "verdict.json")
    assert (verdict.word, verdict.gguf_sha256) == ("PROMOTE", sha256_of(exported))
    assert verdict.raw == read_json(folder / "verdict.json")
    rows = list(read_jsonl(folder / "items.jsonl"))
    fixed = sum(row["change"] == "fixed" for row in rows)
    assert fixed >= 6 and f"{fixed} fixed" in out
    assert "fixed" in (folder / "side_by_side.html").read_text()
    assert not folder.with_name(f"{folder.name}.parts").exists()

    written = (folder / "card.json").stat().st_mtime_ns
    assert run(capsys, "good-1", *words)[:2] == (0, told)
    assert (folder / "card.json").stat().st_mtime_ns == written


def test_the_same_model_is_held_and_the_exit_code_says_so(
    capsys: pytest.CaptureFixture[str], data: dict[str, str]
) -> None:
    code, told, out = run(capsys, "mini", "--baseline", "mini", "--data", data["primary"])
    assert code == 3 and told["verdicts"][0]["verdict"] == "HOLD"
    assert "more items needed" in out and "--general FILE" in out


def test_a_worse_model_is_rejected(
    capsys: pytest.CaptureFixture[str], data: dict[str, str], weaker: Path
) -> None:
    code, told, _ = run(capsys, str(weaker), "--baseline", "mini", "--data", data["primary"])
    assert code == 3 and told["verdicts"][0]["verdict"] == "REJECT"


def test_bits_of_general_text_alone_lead_to_the_same_verdict(
    capsys: pytest.CaptureFixture[str], data: dict[str, str], weaker: Path
) -> None:
    words = ["mini", "--baseline", str(weaker), "--data", data["primary"], "--general", data["general"]]
    whole, short = (Path(run(capsys, *words, "--bits", which)[1]["folder"]) for which in ("every", "general"))
    assert read_json(whole / "verdict.json")["conditions"] == read_json(short / "verdict.json")["conditions"]
    rows = list(read_jsonl(short / "items.jsonl"))
    assert {(row["part"], "bits" in row["model"]) for row in rows} == {("primary", False), ("general", True)}


def interrupted_after(count: int, monkeypatch: pytest.MonkeyPatch) -> list[Item]:
    """Ctrl-C comes once, after so many answers; what is asked is told, then and later."""
    asked: list[Item] = []
    ask = Served.ask

    def stopping(self: Served, items: Any, most: int) -> Any:
        for item, answer in ask(self, items, most):
            asked.append(item)
            yield item, answer
            if len(asked) == count:
                raise KeyboardInterrupt

    monkeypatch.setattr(Served, "ask", stopping)
    return asked


def test_an_interrupted_evaluation_goes_on_where_it_stopped(
    capsys: pytest.CaptureFixture[str], data: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = interrupted_after(9, monkeypatch)
    assert cli.main(["evaluate", "mini", "--data", data["primary"], "--max-tokens", "32"]) == 130
    (parts,) = (home() / "evaluations").iterdir()
    (kept,) = parts.iterdir()
    kept.write_bytes(kept.read_bytes() + b'["primary", "torn')
    code, told, _ = run(capsys, "mini", "--data", data["primary"])
    count = told["metrics"]["models"][0]["items"]
    assert code == 0 and len(asked) == len({item.id for item in asked}) == count > 9


def test_what_was_answered_before_an_interruption_is_known_to_every_evaluation(
    capsys: pytest.CaptureFixture[str], data: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = interrupted_after(9, monkeypatch)
    one, other = (Path(data["primary"]).with_name(f"{name}.jsonl") for name in ("one", "other"))
    for path in (one, other):
        write_jsonl(path, [{"id": path.stem, "prompt": f"is it {path.stem}?", "must": ["yes"]}])
    sets = ["--task", data["primary"], "--max-tokens", "32"]
    assert cli.main(["evaluate", "mini", "--data", str(one), *sets]) == 130
    code, _, _ = run(capsys, "mini", "--data", str(other), *sets)
    parts = [item.part for item in asked]
    assert code == 0
    assert (parts.count("primary"), parts.count("task")) == (2, len(list(read_jsonl(Path(data["primary"])))))


def test_what_no_flag_asked_is_asked_of_a_file_once(
    capsys: pytest.CaptureFixture[str], data: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    ask = Served.ask

    def counting(self: Served, items: Any, most: int) -> Any:
        for item, answer in ask(self, items, most):
            asked.append(item.part)
            yield item, answer

    rows = list(read_jsonl(Path(data["primary"])))
    flagged = Path(data["primary"]).with_name("flagged.jsonl")
    write_jsonl(flagged, ({**row, "id": f"f{place}", "flags": ["01"]} for place, row in enumerate(rows[:5])))
    monkeypatch.setattr(Served, "ask", counting)
    sets = ["--task", data["primary"], str(flagged), "--general", data["general"]]
    _, first, _ = run(capsys, "mini", "--data", data["primary"], *sets)
    assert (asked.count("primary"), asked.count("task")) == (len(rows), len(rows) + 5)
    asked.clear()
    _, second, _ = run(capsys, "mini", "--baseline", "mini", "--data", data["primary"], *sets)
    assert (asked.count("primary"), asked.count("task")) == (2 * len(rows), 2 * 5)
    results = {
        role: row for row in second["metrics"]["models"] if row["part"] == "task" for role in [row["role"]]
    }
    then = next(row for row in first["metrics"]["models"] if row["part"] == "task")
    assert {**results["model"], "role": ""} == {**results["baseline"], "role": ""} == {**then, "role": ""}
    (file,) = (home() / "answers").iterdir()
    assert sum(what == "answer" for _, what, _ in read_jsonl(file)) == len(rows)


def test_each_prompt_variant_has_a_baseline_of_its_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = [
        {"id": str(n), "dialogue": f"Ana: I lost {n} tents.", "summary": f"Ana lost {n} tents."}
        for n in range(4)
    ]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    words = ["--data", str(tmp_path / "rows.jsonl"), "--prompt", "summary", "summary_bare"]
    _, told, _ = run(capsys, "mini", "--baseline", "mini", *words)
    found = {(row["role"], row["prompt"]) for row in told["metrics"]["models"]}
    assert found == {(role, prompt) for role in ("model", "baseline") for prompt in words[3:]}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["mini", "--data", "{primary}", "--metric", "rouge"], 2, "rouge"),
        (["mini", "--data", "{primary}", "--metric", "exact"], 2, "'exact' wants"),
        (["mini", "--data", "{general}"], 2, "plain text and nothing to answer"),
        (["mini", "--data", "{primary}", "--prompt", "sumary"], 2, "Did you mean 'summary'"),
        (["mini", "--data", "gone.jsonl"], 2, "There is no file gone.jsonl"),
        (["mini", "--data", "{primary}", "--baseline", "base"], 1, "names no base"),
        (["mini"], 2, "--data"),
    ],
)
def test_wrong_words_are_one_sentence(
    capsys: pytest.CaptureFixture[str], data: dict[str, str], words: list[str], code: int, said: str
) -> None:
    assert cli.main(["evaluate", *(word.format(**data) for word in words)]) == code
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
    assert not (home() / "evaluations").exists()
