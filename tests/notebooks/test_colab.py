"""The notebook for a lent GPU, cell by cell, on the bundled model: from a recipe to a published GGUF.

Command: pytest tests/notebooks/test_colab.py

Promise: all cells run, offline but for the Hub that they publish to; what was trained is in a copy from which
another machine could go on; the committed notebook holds no output.
"""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from backtalk.deploy.kept import Kept
from tests.hub.server import Hub

pytest_plugins = ["tests.hub.local"]

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "notebooks" / "colab.ipynb"
REPOSITORY = "somebody/desk-model"
RECIPE = """
base: {model: mini}
data: {sources: [{path: rows.jsonl}]}
lora: {r: 2, targets: qv}
schedule: {steps: 2}
batch: {size: 2, max_length: 128}
"""
ROW = {"prompt": "how long can i return a tent", "completion": "Within 60 days, unused."}


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A recipe of two steps, its rows, and rows to evaluate on."""
    folder = tmp_path / "work"
    folder.mkdir()
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps({**ROW, "prompt": f"{ROW['prompt']} {n}"}) + "\n" for n in range(8)))
    (folder / "tiny.yaml").write_text(RECIPE.replace("rows.jsonl", str(rows)))
    turns = [{"role": "user", "content": ROW["prompt"]}, {"role": "assistant", "content": ROW["completion"]}]
    (folder / "evaluation.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    return folder


def set_parameters(notebook: nbformat.NotebookNode, **values: object) -> None:
    """Other values in the cell that is there to be changed."""
    [cell] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    names = {line.split(" = ")[0] for line in cell.source.splitlines()}
    assert values.keys() <= names, "the notebook has no such parameter"
    cell.source += "\n" + "\n".join(f"{name} = {value!r}" for name, value in values.items())


@pytest.mark.timeout(900)
def test_every_cell_runs_and_the_model_is_published(
    notebook: nbformat.NotebookNode,
    work: Path,
    hub: Hub,
    state_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    set_parameters(
        notebook,
        RECIPE=str(work / "tiny.yaml"),
        EVALUATION=str(work / "evaluation.jsonl"),
        QUANTS="Q8_0",
        REPOSITORY=REPOSITORY,
        KEPT=str(tmp_path / "drive"),
    )
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT / "notebooks")}}).execute()
    published = hub.store.repo("model", REPOSITORY).commit("main").tree
    assert {"README.md", "card.json"} <= published.keys()
    assert [path for path in published if path.endswith("Q8_0.gguf")]
    [run] = (state_folder / "runs").iterdir()
    assert Kept(tmp_path / "drive").restore(tmp_path / "another machine")
    assert (tmp_path / "another machine" / "runs" / run.name / "card.json").exists()


def test_the_committed_notebook_is_clean(notebook: nbformat.NotebookNode) -> None:
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not [cell for cell in code if cell.outputs or cell.execution_count]
    assert "hf_" not in NOTEBOOK.read_text()


def test_what_it_installs_and_trains_is_there(notebook: nbformat.NotebookNode) -> None:
    text = "\n".join(cell.source for cell in notebook.cells)
    for path in ("scripts/install.py", "scripts/install_unsloth.py", "recipes/llama32_finetome_sft.yaml"):
        assert (ROOT / path).exists()
    assert 'RECIPE = "recipes/llama32_finetome_sft.yaml"' in text
    assert '"scripts.install", "train"' in text and '"scripts.install_unsloth"' in text
