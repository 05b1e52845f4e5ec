"""A Space from this checkout: what goes, what is made on the Hub, which tokens are refused, how it builds.

Command: pytest tests/backtalk/deploy/test_space.py

Promise: nothing but the allow-list goes, in one commit; a token that could do more is never handed over; a
second deployment changes nothing that visitors' pseudonyms hang on.
"""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from backtalk import cli
from backtalk.deploy import building
from backtalk.deploy import space as verb
from backtalk.deploy.folder import assemble
from backtalk.errors import BacktalkError, NetworkError, WordsError
from backtalk.hub.spaces import PLANS
from backtalk.models import resolve
from export.pointer import move_on_hub
from tests.hub.call import Token
from tests.hub.faults import status
from tests.hub.server import Hub
from tests.hub.store import Repo

pytest_plugins = ["tests.hub.local"]

SPACE = "somebody/desk"
FLAGS, SAFETY, MODEL = (f"{SPACE}-{end}" for end in ("flags", "safety", "model"))
READS = ("repo.content.read", "repo.access.read")
NARROW = Token(
    "somebody",
    (FLAGS, SAFETY),
    scopes=(
        ("dataset", FLAGS, (*READS, "repo.write")),
        ("dataset", SAFETY, (*READS, "repo.write")),
        ("model", MODEL, READS),
    ),
)
EVERYTHING_OF_A_USER = ("user", "somebody", (*READS, "repo.write"))
BROADER = {
    "a write token": Token("somebody", ("*",)),
    "a read token": Token("somebody"),
    "all repositories": replace(NARROW, scopes=(*NARROW.scopes, EVERYTHING_OF_A_USER)),
    "writing the model": replace(NARROW, scopes=(("model", MODEL, (*READS, "repo.write")),)),
    "another dataset": replace(NARROW, scopes=(*NARROW.scopes, ("dataset", "somebody/other", READS))),
    "a right of the account": replace(NARROW, everywhere=("discussion.write",)),
    "jobs": replace(NARROW, scopes=(*NARROW.scopes, ("dataset", FLAGS, ("job.write",)))),
}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "BETWEEN_LOOKS", 0)


@pytest.fixture
def space_token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> str:
    """A token as narrow as the Space needs, in the environment."""
    hub.tokens["hf_space"] = NARROW
    monkeypatch.setenv("BACKTALK_SPACE_TOKEN", "hf_space")
    return "hf_space"


def deploy(*words: str) -> int:
    return verb.main([SPACE, "--llama", "compile", *words])


def space_of(hub: Hub) -> Repo:
    return hub.store.repo("space", SPACE)


def commits(repo: Repo) -> int:
    return len(list(repo.log(repo.commit("main"))))


def test_a_dry_run_lists_every_file_and_asks_the_hub_nothing(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["deploy", "space", SPACE, "--llama", "compile", "--dry-run", "--json"]) == 0
    printed = capsys.readouterr().out
    told = json.loads(printed.splitlines()[-1])
    assert {"space.py", "requirements.txt", "README.md", "models/mini/mini-Q8_0.gguf"} <= told["files"].keys()
    assert all(f"  {path}\n" in printed for path in told["files"])
    assert told["bytes"] == sum(told["files"].values()) and PLANS in printed
    assert hub.requests == []


def test_everything_is_made_and_one_commit_is_pushed(
    hub: Hub, space_token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deploy("--json") == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    space = space_of(hub)
    assert told["made"] == [FLAGS, SAFETY, MODEL, SPACE]
    assert told["address"] == "https://somebody-desk.hf.space"
    assert commits(space) == 2 and told["commit"] == space.commit("main").oid
    assert space.commit("main").tree.keys() - {".gitattributes"} == told["files"].keys()
    assert all(hub.store.repo("dataset", name).private for name in (FLAGS, SAFETY))
    assert hub.store.repo("model", MODEL).private and not space.private
    assert space.about["variables"] == {
        "BACKTALK_FLAGS_DATASET": FLAGS,
        "BACKTALK_SAFETY_DATASET": SAFETY,
        "BACKTALK_MODEL": f"hf://{MODEL}/promoted.json",
    }
    assert space.about["secrets"].keys() == {"HF_TOKEN", "BACKTALK_SECRET"}
    assert space.about["secrets"]["HF_TOKEN"] == space_token
    assert len(space.about["secrets"]["BACKTALK_SECRET"]) == 64


def test_a_fresh_model_repository_serves_the_bundled_model(hub: Hub, space_token: str) -> None:
    deploy()
    pointer = hub.store.repo("model", MODEL)
    written = json.loads(pointer.read(pointer.commit("main"), "promoted.json"))
    assert written["file"] == "" and written["earlier"] == []
    assert resolve(f"hf://{MODEL}/promoted.json").name == "mini"
    before, after = move_on_hub(MODEL, lambda pointer, commit: pointer)
    assert before == after and before.served.sentence == "the bundled model, mini"


def test_a_second_deployment_changes_nothing(hub: Hub, space_token: str) -> None:
    deploy()
    space = space_of(hub)
    secret, head = space.about["secrets"]["BACKTALK_SECRET"], space.commit("main").oid
    hub.requests.clear()
    deploy()
    assert space_of(hub).about["secrets"]["BACKTALK_SECRET"] == secret
    assert space_of(hub).commit("main").oid == head
    assert "variables" in hub.requests and "create" not in hub.requests


def test_a_space_that_has_its_token_needs_it_no_more(
    hub: Hub, space_token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy()
    monkeypatch.delenv("BACKTALK_SPACE_TOKEN")
    assert deploy() == 0
    assert space_of(hub).about["secrets"]["HF_TOKEN"] == space_token


def test_what_the_checkout_no_longer_has_leaves_the_space(hub: Hub, space_token: str) -> None:
    from backtalk import hub as door

    deploy()
    door.commit(SPACE, {"app/old.py": b"", ".env": b"KEY=1"}, "by hand", kind="space")
    deploy()
    assert not {"app/old.py", ".env"} & space_of(hub).commit("main").tree.keys()


@pytest.mark.parametrize("token", BROADER.values(), ids=BROADER)
def test_a_broader_token_is_refused_and_nothing_is_handed_over(
    hub: Hub, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.tokens["hf_broad"] = token
    monkeypatch.setenv("BACKTALK_SPACE_TOKEN", "hf_broad")
    with pytest.raises(WordsError, match="may do more than write the flags: .* It was not handed over"):
        deploy()
    assert "secrets" not in hub.requests and not (hub.store.folder / "spaces").exists()


def test_a_token_that_cannot_write_the_flags_or_read_the_model_is_refused(
    hub: Hub, space_token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.tokens["hf_space"] = replace(NARROW, writes=(FLAGS,))
    with pytest.raises(WordsError, match=f"may not write {SAFETY}. Make one at"):
        deploy()
    hub.tokens["hf_space"] = replace(NARROW, scopes=NARROW.scopes[:2])
    with pytest.raises(WordsError, match=f"may not read {MODEL}. Make one at"):
        deploy()
    monkeypatch.delenv("BACKTALK_SPACE_TOKEN")
    with pytest.raises(WordsError, match="has no token yet .* Make one at"):
        deploy()


def test_an_account_without_a_plan_is_told_of_the_plans(
    hub: Hub, space_token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy("--no-wait")
    hub.store.delete("space", SPACE)
    hub.faults.next("create", status(402))
    with pytest.raises(NetworkError, match="under this account's plan .402.. A new Gradio or Docker Space"):
        deploy()


@pytest.mark.parametrize(
    ("stage", "log"), [("BUILD_ERROR", "ERROR: No matching"), ("RUNTIME_ERROR", "Trace")]
)
def test_a_build_that_fails_ends_with_its_log(hub: Hub, space_token: str, stage: str, log: str) -> None:
    deploy("--no-wait")
    space = space_of(hub)
    space.about |= {"stages": ["BUILDING", stage], "log": ["Collecting things", log]}
    with pytest.raises(
        BacktalkError, match=rf"says {stage}\. The end of its log:\n  Collecting things\n  {log}"
    ):
        deploy()


def test_a_build_without_end_is_given_up_with_a_sentence(hub: Hub, space_token: str) -> None:
    deploy("--no-wait")
    space_of(hub).about["stages"] = ["BUILDING"]
    clock = iter(range(0, 100_000, 1000))
    progress = SimpleNamespace(report=lambda text: None)
    with pytest.raises(BacktalkError, match="is being built after 35 minutes"):
        building.wait_until_it_runs(
            SPACE, space_of(hub).commit("main").oid, progress, lambda: next(clock), lambda seconds: None
        )


def test_the_build_of_an_earlier_commit_does_not_count(hub: Hub, space_token: str) -> None:
    deploy("--no-wait")
    looks = []
    building_sleep = looks.append
    space_of(hub).about["stages"] = ["RUNNING"]
    progress = SimpleNamespace(report=lambda text: None)
    clock = iter([0, 1, 2, 1e6])
    with pytest.raises(BacktalkError, match="after 35 minutes"):
        building.wait_until_it_runs(SPACE, "another commit", progress, lambda: next(clock), building_sleep)
    assert len(looks) == 2


def test_a_bucket_is_made_and_mounted(hub: Hub, space_token: str) -> None:
    deploy("--bucket", "somebody/spool")
    assert space_of(hub).about["volumes"] == [
        {"type": "bucket", "source": "somebody/spool", "mountPath": "/data"}
    ]
    assert space_of(hub).about["variables"]["BACKTALK_VOLUME"] == "/data"


def test_only_what_serves_goes() -> None:
    paths = assemble("gradio", SPACE, MODEL, "compile").files.keys()
    tops = {path.partition("/")[0] for path in paths}
    assert tops == {
        *("app", "backtalk", "export", "feedback", "models"),
        *("LICENSE", "README.md", "requirements.txt", "space.py"),
    }
    assert not [path for path in paths if "__pycache__" in path or path.endswith((".pyc", ".part"))]
    assert not [path for path in paths if Path(path).name.startswith(".")]


def test_a_file_with_a_secret_stops_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKTALK_SECRET", "What a Space runs, and the Docker image")
    with pytest.raises(BacktalkError, match="space.py holds what looks like a secret"):
        assemble("gradio", SPACE, MODEL, "compile")


@pytest.mark.parametrize("sdk", ["gradio", "docker"])
def test_the_readme_tells_the_hub_how_to_run_it(sdk: str) -> None:
    files = assemble(sdk, SPACE, MODEL, "compile").files
    head = yaml.safe_load(bytes(files["README.md"]).decode().split("---\n")[1])
    assert head["sdk"] == sdk and head["models"] == [MODEL]
    if sdk == "docker":
        assert head["app_port"] == 7860 and {"Dockerfile", "scripts/install.py"} <= files.keys()
    else:
        assert (
            head["app_file"] in files and head["sdk_version"] == "6.31.0" and head["python_version"] == "3.11"
        )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["desk"], "SPACE is 'desk'; wanted is OWNER/NAME"),
        ([SPACE, "--flags", "a/b", "--safety", "a/b"], "name one dataset"),
        ([SPACE, "--sdk", "static"], "invalid choice: 'static'"),
    ],
)
def test_wrong_words_are_answered(words: list[str], sentence: str) -> None:
    with pytest.raises(WordsError, match=sentence):
        verb.main([*words, "--dry-run"])
