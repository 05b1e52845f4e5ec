"""One small pointer says what is served; it moves whole, never without a verdict, and can always go back.

Command: python -m pytest tests/export/test_promote.py
Promise: whatever ends the process, and wherever, the pointer names the model before or the model after.
"""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from app import ask
from backtalk import cli
from backtalk import hub as door
from backtalk.errors import BacktalkError, ModelError, NetworkError, WordsError
from backtalk.files import sha256_of, write_json
from backtalk.home import home
from backtalk.models import MINI, resolve
from export import pointer as pointing
from export import promote, publish, rollback
from tests.export.folders import finish, judge, pointer, promotable, small_gguf
from tests.hub.faults import cut, status
from tests.hub.server import Hub

pytest_plugins = ["tests.hub.local"]
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the client's own

REPO = "somebody/desk"
KILLED_ANYWHERE = Path(__file__).with_name("killed_anywhere.py")


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backtalk.hub.FIRST_PAUSE", 0.0)
    monkeypatch.setattr(pointing, "PAUSE_SECONDS", 0.0)


def answering(capsys: pytest.CaptureFixture[str], ref: str = "promoted") -> dict[str, Any]:
    """The model that answers a question now, as `backtalk ask` tells it."""
    capsys.readouterr()
    assert ask.main(["hello", "--model", ref, "--max-tokens", "16", "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])["model"]


# Here


def test_promoted_served_rolled_back_served(capsys: pytest.CaptureFixture[str]) -> None:
    one, two = promotable("one", 1, served=True), promotable("two", 2, served=True)
    for file in (one, two):
        assert promote.main([file.parent.name, "--why", "a round"]) == 0
        assert answering(capsys)["gguf_sha256"] == sha256_of(file)
    assert rollback.main([]) == 0
    assert "one-Q8_0 (sha256" in capsys.readouterr().out
    assert answering(capsys)["gguf_sha256"] == sha256_of(one)
    assert rollback.main([]) == 0
    assert "Served here again: the bundled model, mini." in capsys.readouterr().out
    assert answering(capsys)["gguf_sha256"] == sha256_of(MINI)


def test_the_pointer_says_what_who_why_and_when() -> None:
    file = promotable("three", round=3)
    promote.main(["three", "--by", "ada", "--why", "round 3"])
    told = pointer()
    assert told["file"] == "exports/three/three-Q8_0.gguf"
    assert (told["sha256"], told["bytes"], told["quant"]) == (sha256_of(file), file.stat().st_size, "Q8_0")
    assert told["verdict"] == {"verdict": "PROMOTE", "why": "better by 4 points"}
    assert (told["who"], told["why"], told["round"], told["license"]) == ("ada", "round 3", 3, "apache-2.0")
    assert told["when"].endswith("+00:00") and told["overruled"] == []
    assert (resolve().path, resolve().round) == (file, 3)


@pytest.mark.parametrize("word", ["HOLD", "REJECT"])
def test_hold_and_reject_have_an_exit_code_of_their_own(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    judge(promotable("one"), word, "about 40 more items needed")
    assert cli.main(["promote", "one"]) == 3
    said = f"The verdict on one-Q8_0.gguf is {word}: about 40 more items needed. Nothing was promoted.\n"
    assert capsys.readouterr() == ("", said)
    assert not (home() / "promoted.json").exists()


def test_without_a_verdict_nothing_is_promoted() -> None:
    file = promotable("one")
    (file.parent / "verdict.json").unlink()
    with pytest.raises(BacktalkError, match="has no verdict, and a verdict PROMOTE on this file was wanted"):
        promote.main(["one"])
    assert not (home() / "promoted.json").exists()


def test_a_verdict_on_another_file_does_not_count() -> None:
    file, other = promotable("one", 1), promotable("two", 2)
    with pytest.raises(BacktalkError, match=f"has a verdict on another file .sha256 {sha256_of(other)[:8]}"):
        promote.main([str(file), "--verdict", str(other.parent / "verdict.json")])


def test_a_file_that_changed_after_the_verdict_is_refused() -> None:
    file = promotable("one")
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="changed after the export"):
        promote.main(["one"])


def test_a_file_that_broke_a_bound_is_refused_by_the_bound_s_name() -> None:
    finish(promotable("one").parent, failed={"Q8_0": ["divergence", "top_token_equal"]})
    with pytest.raises(ModelError, match="did not pass: divergence, top_token_equal"):
        promote.main(["one"])


@pytest.mark.parametrize("content", ["[]", "{}", '{"verdict": "MAYBE", "gguf_sha256": "a"}', "PROMOTE"])
def test_a_verdict_that_is_none_is_one_sentence(content: str) -> None:
    (promotable("one").parent / "verdict.json").write_text(content)
    assert cli.main(["promote", "one"]) == 1


def test_force_needs_a_reason_and_writes_down_what_it_overruled() -> None:
    judge(promotable("one"), "HOLD")
    with pytest.raises(WordsError, match="--force needs --why"):
        promote.main(["one", "--force"])
    assert promote.main(["one", "--force", "--why", "the demo is today", "--by", "ada"]) == 0
    told = pointer()
    assert (told["who"], told["why"]) == ("ada", "the demo is today")
    assert (told["overruled"], told["verdict"]["verdict"]) == (["HOLD"], "HOLD")


def test_of_several_files_the_verdict_s_is_meant() -> None:
    folder = home() / "exports" / "two"
    for number, quant in enumerate(("Q4_K_M", "Q8_0")):
        small_gguf(folder / f"two-{quant}.gguf", number=number)
    finish(folder)
    with pytest.raises(WordsError, match="and no verdict. Name the file that you mean"):
        promote.main(["two"])
    judge(folder / "two-Q8_0.gguf")
    promote.main(["two"])
    assert pointer()["quant"] == "Q8_0"


def test_a_file_outside_the_state_folder_can_be_served(tmp_path: Path) -> None:
    file = small_gguf(tmp_path / "elsewhere" / "lone-F16.gguf")
    judge(file)
    promote.main([str(file)])
    assert pointer()["file"] == str(file) and resolve().path == file


def test_what_is_no_gguf_is_not_promoted(tmp_path: Path) -> None:
    file = tmp_path / "lone-F16.gguf"
    file.write_bytes(b"not a model")
    judge(file)
    with pytest.raises(ModelError, match="is not a whole GGUF .*a GGUF model was wanted"):
        promote.main([str(file)])


def test_promoting_again_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    promotable("one")
    promote.main(["one"])
    before = (home() / "promoted.json").read_bytes()
    promote.main(["one", "--json"])
    told = capsys.readouterr().out.splitlines()
    assert "already" in told[-2] and json.loads(told[-1])["changed"] is False
    assert (home() / "promoted.json").read_bytes() == before


def test_the_last_five_are_kept() -> None:
    for number in range(8):
        promotable(f"m{number}", number)
        promote.main([f"m{number}"])
    assert [one["name"] for one in pointer()["earlier"]] == [f"m{number}-Q8_0" for number in (6, 5, 4, 3, 2)]
    for number in (6, 5, 4, 3, 2):
        rollback.main([])
        assert pointer()["name"] == f"m{number}-Q8_0"
    with pytest.raises(WordsError, match="nothing to go back to"):
        rollback.main([])


def test_a_rollback_says_who_left_what_and_why() -> None:
    for number in (1, 2):
        promotable(f"m{number}", number)
        promote.main([f"m{number}"])
    left = pointer()["sha256"]
    rollback.main(["--by", "ada", "--why", "it invents prices"])
    told = pointer()["rolled_back"]
    assert (told["name"], told["sha256"]) == ("m2-Q8_0", left)
    assert (told["who"], told["why"]) == ("ada", "it invents prices")
    promote.main(["m2"])
    assert "rolled_back" not in pointer()


def test_a_file_that_is_gone_is_named_and_stepped_over() -> None:
    files = [promotable(f"m{number}", number) for number in (1, 2, 3)]
    for file in files:
        promote.main([file.parent.name])
    files[1].unlink()
    with pytest.raises(ModelError, match="exports/m2/m2-Q8_0.gguf, the file of m2-Q8_0 .* is gone"):
        rollback.main([])
    assert pointer()["name"] == "m3-Q8_0"
    with pytest.raises(WordsError, match="none of the models before"):
        rollback.main(["--to", "m9"])
    rollback.main(["--to", sha256_of(files[0])[:8]])
    assert resolve().path == files[0]


def test_nothing_was_promoted_yet() -> None:
    with pytest.raises(WordsError, match="Nothing was promoted before the bundled model, mini"):
        rollback.main([])


def test_a_pointer_of_before_is_read_and_kept() -> None:
    old, new = promotable("old", 1), promotable("new", 2)
    write_json(home() / "promoted.json", {"file": "exports/old/old-Q8_0.gguf", "sha256": sha256_of(old)})
    promote.main(["new"])
    assert resolve().path == new
    rollback.main([])
    assert resolve().path == old


@pytest.mark.parametrize("content", ["[]", '{"format": "promoted/9"}', '{"earlier": 3}', '{"file": '])
def test_a_pointer_that_is_none_is_one_sentence(content: str, capsys: pytest.CaptureFixture[str]) -> None:
    promotable("one")
    (home() / "promoted.json").write_text(content)
    assert cli.main(["promote", "one"]) == 1
    assert "Restore it or delete it" in capsys.readouterr().err
    assert (home() / "promoted.json").read_text() == content


def test_several_at_once_lose_none() -> None:
    for number in range(5):
        promotable(f"m{number}", number)
    with ThreadPoolExecutor(5) as people:
        assert list(people.map(lambda number: promote.main([f"m{number}"]), range(5))) == [0] * 5
    told = [pointer()["name"], *(one["name"] for one in pointer()["earlier"])]
    assert sorted(told) == ["m0-Q8_0", "m1-Q8_0", "m2-Q8_0", "m3-Q8_0", "m4-Q8_0", "mini"]


@pytest.mark.timeout(400)  # some 130 processes: seconds, or minutes where others keep the machine busy
@pytest.mark.parametrize("verb", ["promote", "rollback"])
def test_killed_between_any_two_steps_the_pointer_is_whole(verb: str) -> None:
    for number in (1, 2, 3):
        promotable(f"m{number}", number)
    for number in (1, 2):
        promote.main([f"m{number}"])
    words = {"promote": ["m3"], "rollback": []}[verb]
    before = (home() / "promoted.json").read_bytes()
    done = subprocess.run(
        [sys.executable, str(KILLED_ANYWHERE), f"export.{verb}", *words],
        capture_output=True,
        text=True,
        timeout=380,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["before"] > 10 and told["after"] > 0
    assert told["neither"] == 0 and told["finished"]
    assert (home() / "promoted.json").read_bytes() != before


# On the Hub


@pytest.fixture
def published(hub: Hub) -> Hub:
    """A repository with two exports."""
    for number in (1, 2):
        promotable(f"m{number}", number)
        publish.main([f"m{number}", "--repo", REPO])
    return hub


def client(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token="hf_write")


def on_hub(hub: Hub) -> dict[str, Any]:
    repo = hub.store.repo("model", REPO)
    return json.loads(repo.read(repo.commit("main"), "promoted.json"))


def commits(hub: Hub) -> int:
    return len(client(hub).list_repo_commits(REPO))


def someone_commits(hub: Hub, path: str, content: bytes) -> None:
    client(hub).create_commit(REPO, [CommitOperationAdd(path, content)], commit_message="meanwhile")


def meddle(monkeypatch: pytest.MonkeyPatch, hub: Hub, path: str, content: bytes) -> None:
    """Once, just before the pointer's commit, somebody else's arrives."""
    real, left = door.commit, [True]

    def commit(*words: Any, **more: Any) -> str:
        if left and left.pop():
            someone_commits(hub, path, content)
        return real(*words, **more)

    monkeypatch.setattr(door, "commit", commit)


def test_promoted_served_rolled_back_served_from_the_hub(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {f"m{number}": promotable(f"m{number}", number, served=True) for number in (1, 2)}
    ref = f"hf://{REPO}/promoted.json"
    for name, file in files.items():
        publish.main([name, "--repo", REPO])
        before = commits(hub)
        assert promote.main([name, "--repo", REPO]) == 0
        assert commits(hub) == before + 1
        model = answering(capsys, ref)
        assert (model["gguf_sha256"], model["repo"]) == (sha256_of(file), REPO)
        assert model["revision"] == on_hub(hub)["revision"]
    assert rollback.main(["--repo", REPO]) == 0
    assert answering(capsys, ref)["gguf_sha256"] == sha256_of(files["m1"])
    assert not (home() / "promoted.json").exists()  # this machine's own pointer is another matter


def test_a_file_that_was_not_published_cannot_be_promoted_there(published: Hub) -> None:
    promotable("m3", 3)
    with pytest.raises(BacktalkError, match=f"Publish it first: backtalk publish m3 --repo {REPO}"):
        promote.main(["m3", "--repo", REPO])
    with pytest.raises(NetworkError, match="Publish first"):
        promote.main(["m3", "--repo", "somebody/nothing"])


def test_another_commit_in_between_is_built_upon(published: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    meddle(monkeypatch, published, "notes.md", b"hello")
    assert promote.main(["m1", "--repo", REPO]) == 0
    assert on_hub(published)["name"] == "m1-Q8_0"
    assert "notes.md" in client(published).list_repo_files(REPO)


@pytest.mark.parametrize("verb", ["promote", "rollback"])
def test_a_pointer_that_moved_in_between_is_left_alone(
    verb: str, published: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote.main(["m1", "--repo", REPO, "--by", "ada"])
    other = {**on_hub(published), "name": "m0", "who": "grace", "sha256": "0" * 64}
    meddle(monkeypatch, published, "promoted.json", json.dumps(other).encode())
    words = {"promote": ["m2", "--repo", REPO], "rollback": ["--repo", REPO]}[verb]
    with pytest.raises(BacktalkError, match="Meanwhile grace moved the pointer of somebody/desk to m0"):
        {"promote": promote, "rollback": rollback}[verb].main(words)
    assert on_hub(published) == other


@pytest.mark.parametrize("fault", [cut(after=True), status(504, after=True), status(412), cut(), status(409)])
def test_a_lost_or_failed_answer_still_moves_the_pointer_once(published: Hub, fault: Any) -> None:
    before = commits(published)
    published.faults.next("commit", fault)
    assert promote.main(["m1", "--repo", REPO]) == 0
    assert (on_hub(published)["name"], commits(published)) == ("m1-Q8_0", before + 1)


def test_a_lost_answer_with_another_commit_on_top_is_recognised(
    published: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit was made, its answer was lost, and then the head moved on: the pointer is ours."""
    real, left = door.commit, [True]

    def commit(*words: Any, **more: Any) -> str:
        made = real(*words, **more)
        if left and left.pop():
            someone_commits(published, "notes.md", b"hello")
            return ""
        return made

    monkeypatch.setattr(door, "commit", commit)
    before = commits(published)
    assert promote.main(["m1", "--repo", REPO]) == 0
    assert on_hub(published)["name"] == "m1-Q8_0" and len(on_hub(published)["earlier"]) == 1
    assert commits(published) == before + 2


def test_a_commit_that_is_refused_leaves_the_pointer(published: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    promote.main(["m1", "--repo", REPO])
    before = on_hub(published), commits(published)
    monkeypatch.setenv("HF_TOKEN", "hf_read")
    for verb, words in ((promote, ["m2", "--repo", REPO]), (rollback, ["--repo", REPO])):
        with pytest.raises(NetworkError, match="may not write"):
            verb.main(words)
    assert (on_hub(published), commits(published)) == before


def test_an_earlier_revision_is_served_though_the_file_was_replaced(published: Hub) -> None:
    """A new export under the same file name does not take the way back away."""
    promote.main(["m1", "--repo", REPO])
    first = on_hub(published)["sha256"]
    again = promotable("m1", 7)
    publish.main(["m1", "--repo", REPO])
    promote.main(["m1", "--repo", REPO])
    assert on_hub(published)["sha256"] == sha256_of(again) != first
    rollback.main(["--repo", REPO])
    served = resolve(f"hf://{REPO}/promoted.json")
    assert served.sha256 == sha256_of(served.path) == first
