"""Withdrawn, a flag leaves the next set; purged, its texts are found nowhere, and what used it is known."""

import gzip
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from backtalk.card import Card, file_entry, write_card
from backtalk.errors import OutboxError, WordsError
from backtalk.files import canonical_json, read_jsonl, sha256_of, write_json, write_jsonl, write_text
from feedback.curate.curate import Curation, curate
from feedback.hub.compact import compact
from feedback.hub.dataset import FLAGS
from feedback.hub.erase import without
from feedback.hub.sync import Sync
from feedback.rights import purge as verb
from feedback.rights import retract
from feedback.rights.purge import purge
from feedback.rights.trace import trace
from feedback.schema import Answer, Consent, FlagEvent, Message, to_row
from feedback.store.decisions import Decisions, Review, matter_of
from feedback.store.outbox import NAME, Outbox
from feedback.store.saving import Choice, FlaggedMessage, save_flag
from tests.hub.server import Hub
from training.evaluation.order import Order
from training.evaluation.run import evaluate

pytest_plugins = ["tests.hub.local"]
pytestmark = [
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),  # the client's own
    pytest.mark.usefixtures("quick_pauses"),
]

DATASET = "somebody/flags"
YES = Consent("v1", "flag+thread", True, "", "2026-11-20T10:00:01.000Z")
SETTINGS = Curation(include="all", eval_share=0.0)
SECRET = "quokka"  # a word that only the flag to purge holds
TOMORROW = datetime.now(UTC) + timedelta(days=2)

Save = Callable[..., FlagEvent]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BACKTALK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def home_outbox(state: Path) -> Iterator[Outbox]:
    outbox = Outbox(state / NAME)
    yield outbox
    outbox.close()


@pytest.fixture
def save(home_outbox: Outbox, message: FlaggedMessage) -> Save:
    """save(name, word) flags an answer with a correction; question, answer and correction hold the word."""

    def save(name: str, word: str, **chosen: object) -> FlagEvent:
        asked = (Message(f"{name}-q", "user", f"How long may I keep a {word}?"),)
        flagged = replace(
            message,
            message_id=name,
            conversation_id=f"talk-{name}",
            shown=asked,
            sent=replace(message.sent, message_ids=(f"{name}-q",)),
            answer=Answer(f"A {word} may be kept for 30 days.", "stop", 12),
        )
        correction = f"A {word} may be kept for 60 days."
        choice = {
            "verdict": "bad",
            "reasons": ("outdated",),
            "correction": correction,
            "consent": YES,
            **chosen,
        }
        return save_flag(home_outbox, flagged, Choice(**choice)).event

    return save


@pytest.fixture
def datasets(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setenv("BACKTALK_FLAGS_DATASET", DATASET)
    monkeypatch.setenv("BACKTALK_SAFETY_DATASET", "")
    return hub


def curated(state: Path) -> Path:
    return curate(SETTINGS, [state / NAME])[0]


def rows(folder: Path) -> set[bytes]:
    return {
        canonical_json(row) for name in ("sft", "kto", "dpo") for row in read_jsonl(folder / f"{name}.jsonl")
    }


def holding(folder: Path, text: str) -> list[str]:
    """What grep would list, compressed files and binary ones included."""

    def content(path: Path) -> bytes:
        found = path.read_bytes()
        return found + (gzip.decompress(found) if found[:2] == b"\x1f\x8b" else b"")

    return [str(path) for path in folder.rglob("*") if path.is_file() and text.encode() in content(path)]


def test_a_withdrawn_flag_takes_exactly_its_rows_out_of_the_next_set(
    state: Path, save: Save, capsys: pytest.CaptureFixture[str]
) -> None:
    event = save("m1", SECRET)
    save("m2", "tent")
    before = curated(state)
    its_own = {row for row in rows(before) if event.flag_id in json.loads(row)["flags"]}
    assert len(its_own) == 2  # a correction and a pair
    assert retract.main([event.flag_id[:8]]) == 0
    assert "withdrawn" in capsys.readouterr().out
    assert rows(before) - rows(curated(state)) == its_own
    assert rows(curated(state)) < rows(before)


def test_after_a_purge_the_text_is_nowhere_and_its_traces_remain(
    state: Path, save: Save, datasets: Hub, home_outbox: Outbox
) -> None:
    event, other = save("m1", SECRET, comment=f"No {SECRET}!"), save("m2", "tent")
    note = f"The {SECRET} says so."
    decision = Review(flag_id=event.flag_id, state="accepted", by="ada", note=note, matter=matter_of(event))
    Decisions.at_home().decide(decision)
    Sync(home_outbox).flush()
    compact(FLAGS, now=TOMORROW)
    late = save("m3", SECRET + " and stove")
    save("m1", SECRET, comment=f"Still no {SECRET}!")
    Sync(home_outbox).flush()
    folder = curated(state)
    sft = sha256_of(folder / "sft.jsonl")
    run = state / "runs" / "r1"
    run.mkdir(parents=True)
    (run / "adapter").write_text("weights")
    write_card(run, Card("run", "r1", inputs=[file_entry(folder / "sft.jsonl", folder)]))
    assert len(holding(datasets.store.folder, SECRET)) >= 2
    assert len(holding(state, SECRET)) >= 3

    for flag in (late.flag_id, event.flag_id):
        assert verb.main([flag]) == 0
    home_outbox.close()

    assert holding(state, SECRET) == []
    assert holding(datasets.store.folder, SECRET) == []
    assert holding(datasets.store.folder, "tent")
    assert [one.card.kind for one in trace(event.flag_id).forth][1:] == ["run"]
    outputs = json.loads((folder / "card.json").read_text())["outputs"]
    assert sft in {output["sha256"] for output in outputs}
    assert rows_on_hub(datasets) == {
        (other.flag_id, "create"),
        (event.flag_id, "retract"),
        (late.flag_id, "retract"),
    }


def test_after_a_purge_the_text_is_in_no_evaluation_and_no_report_of_a_round(
    state: Path, save: Save, home_outbox: Outbox
) -> None:
    event = save("m1", SECRET)
    save("m2", "tent")
    folder = curate(replace(SETTINGS, eval_share=0.9), [state / NAME])[0]
    order = Order("mini", {"primary": (folder / "eval.jsonl",)}, baseline="mini", max_tokens=8)
    evaluation, _ = evaluate(order)
    write_text(evaluation / "side_by_side.html", f"Here an answer about a {SECRET} changed.")
    shutil.copytree(evaluation, evaluation.with_name("kept"))  # what was asked once more, and interrupted
    interrupted = evaluation.with_name("x.parts")
    interrupted.mkdir()
    item = next(row for row in read_jsonl(folder / "eval.jsonl") if event.flag_id in row["flags"])
    write_jsonl(interrupted / "model-as-it-is.jsonl", [["primary", item["id"], "answer", {"text": SECRET}]])
    for number, said in enumerate((folder.name, evaluation.name, "something else"), start=1):
        report = f"Fixed: {SECRET if number < 3 else 'a tent'}."
        write_text(state / "rounds" / str(number) / "REPORT.md", report)
        write_json(state / "rounds" / str(number) / "round.json", {"said": said})
    write_jsonl(state / "rounds" / "1" / "earlier.jsonl", [item])
    asked = len(list(read_jsonl(evaluation / "items.jsonl")))
    assert len(holding(state, SECRET)) >= 10

    purge(event.flag_id)
    home_outbox.close()

    assert holding(state, SECRET) == []
    assert len(list(read_jsonl(evaluation / "items.jsonl"))) == asked - 1
    assert [path.parent.name for path in state.glob("rounds/*/REPORT.md")] == ["3"]


def test_a_purge_finds_the_rows_of_a_set_whose_files_another_purge_deleted(
    state: Path, save: Save, home_outbox: Outbox
) -> None:
    event, other = save("m1", SECRET), save("m2", "tent")
    folder = curate(replace(SETTINGS, eval_share=0.9), [state / NAME])[0]
    asked = [{"id": row["id"], "messages": row["prompt"]} for row in read_jsonl(folder / "eval.jsonl")]
    write_jsonl(state / "evaluations" / "e1" / "items.jsonl", asked)
    purge(other.flag_id)
    assert not (folder / "eval.jsonl").exists()
    assert len(holding(state / "evaluations", SECRET)) == 1
    purge(event.flag_id)
    assert holding(state / "evaluations", SECRET) == []


def rows_on_hub(hub: Hub) -> set[tuple[str, str]]:
    repo = hub.store.repo("dataset", DATASET)
    head = repo.commit("main")
    assert len(list(repo.log(head))) == 1
    contents = [(path, repo.read(head, path)) for path in head.tree if path.startswith("data/")]
    lines = [
        line
        for path, content in contents
        for line in (gzip.decompress(content) if path.endswith(".gz") else content).splitlines()
    ]
    return {(row["flag_id"], row["op"]) for row in map(json.loads, lines)}


def test_a_flag_that_is_only_on_the_hub_is_withdrawn_and_purged(
    state: Path, save: Save, datasets: Hub, home_outbox: Outbox
) -> None:
    event = save("m1", SECRET)
    Sync(home_outbox).flush()
    home_outbox.close()
    for path in state.glob(f"{NAME}*"):
        path.unlink()
    with pytest.raises(WordsError, match="give its whole id"):
        purge(event.flag_id[:8])
    assert purge(event.flag_id).rows_on_hub == 1
    assert holding(datasets.store.folder, SECRET) == []
    assert rows_on_hub(datasets) == {(event.flag_id, "retract")}


def test_a_purge_can_be_run_again(save: Save, datasets: Hub, home_outbox: Outbox) -> None:
    event = save("m1", SECRET)
    Sync(home_outbox).flush()
    first, again = purge(event.flag_id), purge(event.flag_id)
    assert (first.rows, first.rows_on_hub) == (1, 1)
    assert (again.rows, again.rows_on_hub) == (0, 0)


def test_branches_and_tags_that_keep_the_past_are_named(
    save: Save, datasets: Hub, home_outbox: Outbox, capsys: pytest.CaptureFixture[str]
) -> None:
    event = save("m1", SECRET)
    Sync(home_outbox).flush()
    HfApi(endpoint=datasets.endpoint).create_tag(DATASET, tag="v1", repo_type="dataset")
    assert verb.main([event.flag_id]) == 1
    assert "still holding the past: refs/tags/v1" in capsys.readouterr().out


def test_without_a_dataset_this_machine_is_purged(state: Path, save: Save, home_outbox: Outbox) -> None:
    event = save("m1", SECRET)
    assert purge(event.flag_id[:10]).rows == 1
    home_outbox.close()
    assert holding(state, SECRET) == []


def test_a_flag_that_never_left_sends_no_withdrawal(save: Save, datasets: Hub, home_outbox: Outbox) -> None:
    event = save("m1", SECRET, consent=Consent())
    save("m2", "tent")
    purge(event.flag_id)
    assert holding(datasets.store.folder, event.flag_id) == []


def test_a_reader_that_keeps_old_pages_is_told_of(save: Save, state: Path, home_outbox: Outbox) -> None:
    event = save("m1", SECRET)
    impatient = Outbox(state / NAME, wait=0.05)
    with home_outbox.transaction() as reader:
        reader.execute("SELECT * FROM events").fetchone()
        with pytest.raises(OutboxError):
            impatient.forget(event.flag_id)
    impatient.close()


def test_copies_of_a_damaged_outbox_go_too(save: Save, state: Path, home_outbox: Outbox) -> None:
    event = save("m1", SECRET)
    aside = state / f"{NAME}.aside-20261120T000000-1"
    aside.write_bytes(canonical_json(to_row(event)))
    assert purge(event.flag_id).copies == [aside.name]
    assert not aside.exists()


def test_lines_that_are_no_rows_stay() -> None:
    content = b'not json with f1\n{"flag_id":"f1","op":"create"}\n["f1"]\n{"note":"f1"}\n{"flags":["f1"]}\n'
    kept, gone = without(content, "x.jsonl", "f1")
    assert gone == 2
    assert kept == b'not json with f1\n["f1"]\n{"note":"f1"}\n'
