"""An export on the Hub: all of it or nothing, nothing but it, under a licence that is kept.

Command: python -m pytest tests/export/test_publish.py
Promise: the real client downloads what was published, byte for byte; a commit that fails leaves no trace.
"""

import json
from pathlib import Path

import pytest
from huggingface_hub import HfApi, ModelCard, hf_hub_download

from backtalk import cli
from backtalk.errors import BacktalkError, ModelError, NetworkError, WordsError
from backtalk.files import sha256_of, write_json, write_text
from backtalk.home import home
from export import publish
from export.licence import llama_version
from tests.export.folders import finish, judge, small_gguf
from tests.hub.faults import Fault, cut, status
from tests.hub.server import Hub

pytest_plugins = ["tests.hub.local"]
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the client's own

REPO = "somebody/desk"
LLAMA = "meta-llama/Llama-3.2-1B-Instruct"


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backtalk.hub.FIRST_PAUSE", 0.0)


@pytest.fixture
def export() -> Path:
    """Two files, one verdict, and something that nobody wants to publish."""
    folder = home() / "exports" / "desk-3"
    for number, quant in enumerate(("Q4_K_M", "Q8_0")):
        small_gguf(folder / f"desk-{quant}.gguf", license="apache-2.0", number=number, round=3)
    write_text(folder / "notes.txt", "not for everyone")
    finish(folder)
    judge(folder / "desk-Q4_K_M.gguf")
    return folder


def run(*words: str) -> int:
    return publish.main(["desk-3", "--repo", REPO, *words])


def files(hub: Hub, repo: str = REPO) -> set[str]:
    return set(client(hub).list_repo_files(repo))


def client(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token="hf_write")


def downloaded(hub: Hub, path: str, folder: Path, repo: str = REPO) -> Path:
    cache = folder / "cache"
    return Path(hf_hub_download(repo, path, cache_dir=cache, endpoint=hub.endpoint, token="hf_write"))


def llama_export(name: str = "Llama-desk", **head: str) -> Path:
    folder = home() / "exports" / "desk-3"
    small_gguf(folder / f"{name}-Q8_0.gguf", **head)
    return finish(folder)


def test_the_real_client_downloads_what_was_published(export: Path, hub: Hub, tmp_path: Path) -> None:
    assert run() == 0
    for path in export.glob("*.gguf"):
        assert sha256_of(downloaded(hub, path.name, tmp_path)) == sha256_of(path)
    assert client(hub).model_info(REPO).private


def test_all_of_it_is_one_commit_and_nothing_that_is_not_on_the_list_goes_up(export: Path, hub: Hub) -> None:
    run()
    assert files(hub) == {
        ".gitattributes", "README.md", "card.json", "desk-Q4_K_M.gguf", "desk-Q8_0.gguf",
        "quality_vs_size.png", "verdict.json",
    }  # fmt: skip
    assert len(client(hub).list_repo_commits(REPO)) == 2  # the first is the repository's own
    large = hub.store.repo("model", REPO).large_files()
    assert not any(b"not for everyone" in path.read_bytes() for path in large)


def test_publishing_again_changes_nothing(export: Path, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    run("--json")
    first = json.loads(capsys.readouterr().out.splitlines()[-1])
    run("--json")
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert first["changed"] and not again["changed"] and first["commit"] == again["commit"]
    assert first["files"] == {path.name: sha256_of(path) for path in export.glob("*.gguf")}


@pytest.mark.parametrize("route", ["validate-yaml", "preupload", "lfs-batch", "lfs-upload", "commit"])
@pytest.mark.parametrize("fault", [status(403), status(503), cut()], ids=["403", "503", "cut"])
def test_a_commit_that_fails_leaves_the_repository_as_it_was(
    route: str, fault: Fault, export: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("--quants", "Q8_0")
    before = client(hub).model_info(REPO).sha, files(hub)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _seconds: None)
    monkeypatch.setattr(publish, "PATIENCE_SECONDS", 0.0)
    hub.faults.next(route, *[fault] * 20)
    with pytest.raises(NetworkError):
        run()
    assert (client(hub).model_info(REPO).sha, files(hub)) == before
    hub.faults.stop()
    monkeypatch.setattr(publish, "PATIENCE_SECONDS", 60.0)
    run()
    assert "desk-Q4_K_M.gguf" in files(hub)


@pytest.mark.parametrize("fault", [cut(after=True), status(504, after=True), status(409), status(412)])
def test_a_lost_answer_is_not_a_second_commit(fault: Fault, export: Path, hub: Hub) -> None:
    hub.faults.next("commit", fault)
    assert run() == 0
    assert len(client(hub).list_repo_commits(REPO)) == 2


def test_a_file_that_broke_a_bound_is_refused_by_the_bound_s_name(export: Path, hub: Hub) -> None:
    finish(export, failed={"Q4_K_M": ["divergence"]})
    with pytest.raises(ModelError, match="desk-Q4_K_M.gguf did not pass: divergence"):
        run()
    assert not client(hub).repo_exists(REPO)
    run("--quants", "Q8_0")
    assert {path for path in files(hub) if path.endswith(".gguf")} == {"desk-Q8_0.gguf"}
    assert "verdict.json" not in files(hub)  # it speaks of the other file


def test_a_file_that_was_never_verified_is_refused(export: Path, hub: Hub) -> None:
    finish(export, unverified="Q8_0")
    with pytest.raises(ModelError, match="verification .it never ran."):
        run()


def test_a_file_that_changed_after_the_export_is_refused(export: Path, hub: Hub) -> None:
    (export / "desk-Q8_0.gguf").write_bytes(b"GGUF, but other bytes")
    with pytest.raises(ModelError, match="changed after the export"):
        run()


def test_a_folder_without_a_card_is_not_finished(export: Path, hub: Hub) -> None:
    (export / "card.json").unlink()
    with pytest.raises(BacktalkError, match="not finished"):
        run()


def test_a_repository_that_everyone_sees_wants_the_word_public(export: Path, hub: Hub) -> None:
    client(hub).create_repo(REPO, private=False)
    with pytest.raises(WordsError, match="can be seen by everyone"):
        run()
    assert files(hub) == {".gitattributes"}
    run("--public")
    assert "card.json" in files(hub)


def test_a_dry_run_asks_nothing_of_the_hub(
    export: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--dry-run", "--json") == 0
    assert "desk-Q8_0.gguf" in json.loads(capsys.readouterr().out.splitlines()[-1])["would_publish"]
    assert hub.requests == []


def test_the_hub_s_library_reads_the_metadata(export: Path, hub: Hub, tmp_path: Path) -> None:
    base = {"role": "base", "repo": "acme/tiny-chat", "revision": "abc", "sha256": "1" * 64, "bytes": 5}
    finish(export, inputs=[base])
    run("--datasets", "somebody/flags")
    data = ModelCard(downloaded(hub, "README.md", tmp_path).read_text()).data
    assert (data.license, data.library_name, data.pipeline_tag) == ("apache-2.0", "gguf", "text-generation")
    assert (data.base_model, data.base_model_relation) == (["acme/tiny-chat"], "quantized")
    assert data.datasets == ["somebody/flags"] and {"gguf", "backtalk"} <= {*data.tags}
    measured = {(one.metric_type, one.metric_name.rpartition("(")[2]): one for one in data.eval_results}
    assert measured["kl_divergence", "Q8_0)"].metric_value == 0.0004
    assert len(measured) == 4


def test_the_page_says_how_to_run_it_and_what_was_decided(export: Path, hub: Hub, tmp_path: Path) -> None:
    run()
    page = downloaded(hub, "README.md", tmp_path).read_text()
    for command in (
        f"llama-cli -hf {REPO}:Q4_K_M",
        f"ollama run hf.co/{REPO}:Q4_K_M",
        f"backtalk chat --model hf://{REPO}/desk-Q4_K_M.gguf",
        f"backtalk chat --model hf://{REPO}/promoted.json",
    ):
        assert command in page
    assert "taught by 3 rounds" in page and "**PROMOTE**: better by 4 points" in page
    assert "| held-out flags | 0.021 to 0.058 |" in page
    assert "| `desk-Q8_0.gguf` | 0.0 | 4.0e-04 | 97.31% |" in page


def test_the_published_card_names_no_place_of_this_machine(export: Path, hub: Hub, tmp_path: Path) -> None:
    entry = {"folder": "/home/ada/models/merged", "path": "model.safetensors", "sha256": "2" * 64, "bytes": 9}
    finish(export, inputs=[entry], recipe={"out": "/home/ada/exports/desk-3", "types": ["Q8_0"]})
    run("--quants", "Q8_0")
    card = json.loads(downloaded(hub, "card.json", tmp_path).read_text())
    assert card["inputs"][0] == {**entry, "folder": "merged"}
    assert card["recipe"] == {"out": "desk-3", "types": ["Q8_0"]}
    assert [output["path"] for output in card["outputs"]] == ["desk-Q8_0.gguf", "quality_vs_size.png"]
    assert "/home/ada" in (export / "card.json").read_text()


# Licences


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (LLAMA, "3.2"), ("unsloth/Llama-3.2-1B-Instruct-bnb-4bit", "3.2"), ("llama3.2", "3.2"),
        ("Llama 3.2 Community License", "3.2"), ("meta-llama/Llama-3.1-8B", "3.1"), ("llama3", "3"),
        ("Meta-Llama-3-8B", "3"), ("Llama-2-7b-chat", "2"), ("TinyLlama/TinyLlama-1.1B", ""),
        ("llama-1b-rehearsal", ""), ("apache-2.0", ""), ("gpt2", ""), ("llama.cpp", ""),
    ],
)  # fmt: skip
def test_llama_is_known_by_its_version_not_by_a_size(text: str, version: str) -> None:
    assert llama_version([text]) == version


@pytest.mark.parametrize("stated", ["licence in the head", "base in the head", "input", "card before"])
def test_what_comes_from_llama_follows_its_licence_wherever_that_is_stated(
    stated: str, hub: Hub, tmp_path: Path
) -> None:
    folder = llama_export(
        license="llama3.2" if stated == "licence in the head" else "",
        base=LLAMA if stated == "base in the head" else "",
    )
    if stated == "input":
        finish(folder, inputs=[{"role": "base", "repo": LLAMA, "sha256": "3" * 64, "bytes": 1}])
    if stated == "card before":
        merged = home() / "runs" / "r1" / "merged"
        write_json(merged / "config.json", {})
        write_text(merged / "README.md", f"---\nlicense: llama3.2\nbase_model: {LLAMA}\n---\n# Merged\n")
        finish(
            folder, inputs=[{"folder": "runs/r1/merged", "path": "config.json", "sha256": "4", "bytes": 3}]
        )
    repo = "somebody/Llama-desk"
    publish.main(["desk-3", "--repo", repo])
    assert {"LICENSE", "NOTICE"} <= files(hub, repo)
    agreement = downloaded(hub, "LICENSE", tmp_path, repo).read_text()
    assert agreement.startswith("LLAMA 3.2 COMMUNITY LICENSE AGREEMENT")
    notice = downloaded(hub, "NOTICE", tmp_path, repo).read_text()
    assert notice.startswith("Llama 3.2 is licensed under the Llama 3.2 Community License, Copyright ©")
    page = downloaded(hub, "README.md", tmp_path, repo).read_text()
    assert "**Built with Llama**" in page and "\nlicense: llama3.2\n" in page


def test_a_name_that_llama_s_licence_does_not_want_is_refused(hub: Hub) -> None:
    folder = llama_export("desk", license="llama3.2")
    with pytest.raises(WordsError, match="Publish it as somebody/Llama-desk"):
        run()
    with pytest.raises(BacktalkError, match="desk-Q8_0.gguf was made from Llama 3.2.*Export it again"):
        publish.main([str(folder), "--repo", "somebody/Llama-desk"])
    assert "create" not in hub.requests


def test_a_stated_licence_does_not_free_from_llama_s(hub: Hub) -> None:
    llama_export("desk", license="apache-2.0", base=LLAMA)
    with pytest.raises(WordsError, match="begins with 'Llama'"):
        run("--license", "mit")


def test_a_llama_whose_agreement_is_not_here_is_refused(hub: Hub) -> None:
    llama_export(license="llama2")
    with pytest.raises(
        BacktalkError, match="Llama 2, and Backtalk holds the agreements of Llama 3.1 and 3.2"
    ):
        publish.main(["desk-3", "--repo", "somebody/Llama-desk"])


def test_without_any_licence_it_has_to_be_stated(hub: Hub, tmp_path: Path) -> None:
    llama_export("desk")
    with pytest.raises(WordsError, match="No licence is stated"):
        run()
    run("--license", "MIT")
    assert "\nlicense: mit\n" in downloaded(hub, "README.md", tmp_path).read_text()


def test_a_licence_that_contradicts_what_is_stated_is_refused(export: Path, hub: Hub) -> None:
    with pytest.raises(
        WordsError, match="--license says mit, and what the model was made from says apache-2"
    ):
        run("--license", "mit")


@pytest.mark.parametrize("repo", ["desk", "a/b/c", "/desk"])
def test_a_name_that_is_no_repository_is_one_sentence(repo: str, export: Path, hub: Hub) -> None:
    assert cli.main(["publish", "desk-3", "--repo", repo]) == 2
    assert hub.requests == []


def test_an_export_that_is_not_here_is_one_sentence(hub: Hub) -> None:
    with pytest.raises(WordsError, match="There is no export nothing here"):
        publish.main(["nothing", "--repo", REPO])
