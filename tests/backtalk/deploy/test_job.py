"""A recipe on rented hardware: what goes along, what is asked of the Hub, and what happens on the machine.

Command: pytest tests/backtalk/deploy/test_job.py

Promise: a Job has a time limit, code at one commit and no more than one token; a nightly round runs only
where enough flags are new.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backtalk import cli
from backtalk.deploy import job as verb
from backtalk.deploy import on_job
from backtalk.errors import NetworkError, WordsError
from scripts import install
from tests.hub.faults import cut, status
from tests.hub.server import Hub

pytest_plugins = ["tests.hub.local"]

ROOT = Path(__file__).resolve().parents[3]
TRAINING = str(ROOT / "recipes" / "mini_feedback.yaml")
REPO = "somebody/backtalk-job"


@pytest.fixture
def round_recipe(tmp_path: Path) -> Path:
    recipe = tmp_path / "nightly.yaml"
    recipe.write_text("include: agreed\ntrain: {recipe: recipes/mini_feedback.yaml}\n")
    return recipe


def deploy(*words: object) -> int:
    return verb.main([*map(str, words)])


def test_a_recipe_is_started_with_a_limit_its_code_and_its_state(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BACKTALK_FLAGS_DATASET", "somebody/flags")
    words = ["--flavor", "l4x1", "--timeout", "90m", "--model", "somebody/desk-model", "--json"]
    assert cli.main(["deploy", "job", TRAINING, *words]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    [job] = hub.store.jobs
    spec = job["spec"]
    code = hub.store.repo("dataset", REPO)
    assert spec["timeoutSeconds"] == 5400 and spec["flavor"] == "l4x1"
    assert spec["volumes"] == [
        {
            "type": "dataset",
            "source": REPO,
            "mountPath": "/code",
            "revision": code.commit("main").oid,
            "readOnly": True,
        },
        {"type": "bucket", "source": REPO, "mountPath": "/state"},
    ]
    assert spec["secrets"] == {"HF_TOKEN": "hf_write"}
    assert spec["environment"] == {"BACKTALK_FLAGS_DATASET": "somebody/flags"}
    assert code.private and told["address"] == f"{hub.endpoint}/jobs/somebody/{job['id']}"
    assert "hf_write" not in json.dumps(spec["command"])


def test_what_goes_along_is_all_that_the_command_needs(hub: Hub) -> None:
    deploy(TRAINING, "--flavor", "cpu-upgrade")
    command = hub.store.jobs[0]["spec"]["command"]
    assert command[:2] == ["bash", "-c"]
    machine = command[2].split("scripts.install ")[1].split(";")[0]
    words = command[2].split(" -m backtalk.deploy.on_job ")[1].split()
    assert machine in install.EXTRAS and words == ["recipes/mini_feedback.yaml", "--state", "/state"]
    files = hub.store.repo("dataset", REPO).commit("main").tree.keys()
    assert {
        words[0],
        "pyproject.toml",
        "LICENSE",
        "README.md",
        f"constraints/{install.CONSTRAINTS[machine]}",
        "constraints/app.txt",
        "scripts/install.py",
        "scripts/llama.cmake",
        "models/mini/model.safetensors",
        "models/mini/tokenizer.json",
        "training/prompts/summary.jinja",
        "backtalk/deploy/on_job.py",
    } <= files
    assert not [path for path in files if path.startswith(("tests/", ".backtalk", ".git/"))]


def test_a_recipe_from_elsewhere_goes_along(hub: Hub, round_recipe: Path) -> None:
    deploy(round_recipe, "--flavor", "cpu-upgrade")
    code = hub.store.repo("dataset", REPO)
    assert code.read(code.commit("main"), "recipes/nightly.yaml") == round_recipe.read_bytes()


def test_a_schedule_takes_the_place_of_the_earlier_one(hub: Hub, round_recipe: Path) -> None:
    deploy(round_recipe, "--flavor", "l4x1", "--schedule", "@daily", "--fewest-new", 5)
    deploy(round_recipe, "--flavor", "l4x1", "--schedule", "0 3 * * *")
    [one] = hub.store.schedules.values()
    assert one["schedule"] == "0 3 * * *" and one["concurrency"] is False
    assert one["jobSpec"]["command"][2].endswith("--state /state --fewest-new 20")
    assert one["jobSpec"]["timeoutSeconds"] == 7200 and not hub.store.jobs


@pytest.mark.parametrize("fault", [cut(after=True), status(500, after=True)], ids=["cut", "500"])
def test_a_job_whose_answer_was_lost_is_not_started_twice(hub: Hub, fault: Any) -> None:
    hub.faults.next("job", fault)
    with pytest.raises(NetworkError, match="may have started or not. Look at .*/jobs/somebody before"):
        deploy(TRAINING, "--flavor", "l4x1")
    assert len(hub.store.jobs) == 1


def test_an_account_without_credit_is_told_so(hub: Hub) -> None:
    hub.faults.next("job", status(402))
    with pytest.raises(NetworkError, match="402"):
        deploy(TRAINING, "--flavor", "l4x1")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--flavor", "l4x"], "There is no flavor 'l4x'. Did you mean 'l4x"),
        (["--flavor", "l4x1", "--timeout", "2"], "--timeout is '2'; wanted is a number with s, m, h or d"),
        (["--flavor", "l4x1", "--schedule", "nightly"], "wanted are five fields"),
        (["--flavor", "l4x1", "--fewest-new", "3"], "is a training recipe"),
    ],
)
def test_wrong_words_are_answered_before_anything_is_pushed(
    hub: Hub, words: list[str], sentence: str
) -> None:
    with pytest.raises(WordsError, match=sentence):
        deploy(TRAINING, *words)
    assert "commit" not in hub.requests


def test_the_price_is_said_where_it_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    deploy(TRAINING, "--flavor", "l4x1", "--timeout", "3h", "--dry-run")
    assert "At most 3 hours of l4x1 at $0.80: $2.40. Jobs need prepaid credits" in capsys.readouterr().out


def test_a_nightly_round_waits_for_enough_new_flags(round_recipe: Path, tmp_path: Path) -> None:
    """The real verbs, in the process that a Job would run."""
    words = [str(round_recipe), "--state", str(tmp_path / "bucket"), "--fewest-new", "20"]
    command = [sys.executable, "-m", "backtalk.deploy.on_job", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "0 flags stand, 0 at the last round; fewer than 20 are new: no round." in done.stdout
    assert "$ backtalk round" not in done.stdout
    assert len(list((tmp_path / "bucket").iterdir())) == 1


@pytest.fixture
def verbs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The verbs that were run, in their order; each does nothing and says what the next one reads."""
    ran: list[str] = []
    said = {"flags list": {"standing": 25}, "train": {"id": "run-1"}, "export": {"id": "export-1"}}

    def run(*words: object, fine: tuple[int, ...] = (0,)) -> tuple[int, str]:
        ran.append(" ".join(map(str, words)))
        name = next((name for name in said if ran[-1].startswith(name)), "")
        return 0, json.dumps(said.get(name, {})) + "\n"

    monkeypatch.setattr(on_job, "_run", run)
    return ran


def test_a_round_runs_where_enough_is_new_and_not_again(
    round_recipe: Path, tmp_path: Path, verbs: list[str]
) -> None:
    words = [str(round_recipe), "--state", str(tmp_path / "bucket"), "--model", "a/b", "--fewest-new", "20"]
    on_job.main(words)
    on_job.main(words)
    look = ["flags sync", "flags list --limit 1 --json"]
    assert verbs == [*look, f"round {round_recipe} --hub.model a/b", *look]


def test_a_training_is_curated_trained_exported_and_published(tmp_path: Path, verbs: list[str]) -> None:
    on_job.main([TRAINING, "--state", str(tmp_path / "bucket"), "--model", "a/b"])
    assert verbs == [
        "flags sync",
        "curate",
        f"train {TRAINING} --json",
        "export run-1 --json",
        "publish export-1 --repo a/b",
    ]


def test_a_verb_that_fails_ends_the_job_with_its_code_and_the_state_is_kept(tmp_path: Path) -> None:
    missing = tmp_path / "broken.yaml"
    missing.write_text("bsae: {model: mini}\n")
    command = [sys.executable, "-m", "backtalk.deploy.on_job", missing, "--state", tmp_path / "bucket"]
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "has the key 'bsae'" in done.stderr
    assert len(list((tmp_path / "bucket").iterdir())) == 1
