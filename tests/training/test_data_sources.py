"""Sources of every kind become the same rows; what is broken is one sentence with the numbers of the rows.

Command: pytest tests/training/test_data_sources.py
Promise: real files of every format and a real curated set; no network, nothing trained.
"""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from backtalk.errors import BacktalkError, WordsError
from feedback.curate.curate import Curation, curate
from tests.feedback.events import CORRECTION, flag, segment
from tests.training.loading import asked, loaded, pair, questions, write

ROWS = [
    {"question": "Where is it?", "answer": "Here, at last."},
    {"question": "When does it come?", "answer": "It comes\non Friday."},
]
COLUMNS = {"prompt": "question", "completion": "answer"}


def said(data: Any) -> set[tuple[str, str]]:
    return {(row["prompt"][-1]["content"], row["completion"][-1]["content"]) for row in data}


def as_csv(path: Path, rows: list[dict[str, str]]) -> None:
    with open(path, "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


WRITERS = {
    "jsonl": lambda path, rows: write(path, rows),
    "json": lambda path, rows: path.write_text(json.dumps(rows)),
    "csv": as_csv,
    "parquet": lambda path, rows: Dataset.from_list(rows).to_parquet(path),
}


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_every_format_gives_the_same_rows(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{kind}"
    WRITERS[kind](path, ROWS)
    found = loaded({"path": str(path), "columns": COLUMNS})
    assert said(found.train) == {(row["question"], row["answer"]) for row in ROWS}


def test_a_folder_is_read_file_by_file_with_rows_numbered_through(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    write(folder / "a.jsonl", questions(3))
    write(folder / "b.jsonl", [*questions(5)[3:], pair("What?", "")])
    with pytest.raises(BacktalkError, match=r"nothing in the column 'completion' in row 6"):
        loaded(str(folder))


@pytest.mark.parametrize(
    "turns",
    [
        [("human", "a?"), ("gpt", "b."), ("human", "c?"), ("gpt", "d.")],
        [("system", "Be kind."), ("user", "a?"), ("assistant", "b.")],
        [("system", ""), ("human", "a?"), ("gpt", "b."), ("human", "never answered")],
    ],
)
def test_sharegpt_and_messages_become_prompt_and_completion(
    turns: list[tuple[str, str]], tmp_path: Path
) -> None:
    keys = ("from", "value") if turns[-1][0] in ("gpt", "human") else ("role", "content")
    row = {
        "conversations": [dict(zip(keys, turn, strict=True)) for turn in turns],
        "source": "x",
        "score": 4.5,
    }
    [found] = loaded(write(tmp_path / "talk.jsonl", [row])).train
    role = {"human": "user", "gpt": "assistant"}
    messages = [{"role": role.get(who, who), "content": text} for who, text in turns if text]
    answered = [n for n, one in enumerate(messages) if one["role"] == "assistant"]
    assert found["prompt"] == messages[: answered[0]]
    assert found["completion"] == messages[answered[0] : answered[-1] + 1]


def test_a_conversation_cut_behind_its_last_answer_is_counted(tmp_path: Path) -> None:
    talk = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    found = loaded(write(tmp_path / "talk.jsonl", [{"messages": talk}]))
    assert found.report["sources"][0]["trimmed"] == 1


def test_labels_and_pairs_become_the_columns_of_their_trainers(tmp_path: Path) -> None:
    labelled = write(tmp_path / "kto.jsonl", [pair("p", "good", label=True), pair("q", "bad", label=False)])
    rows = {row["completion"][0]["content"]: row["label"] for row in loaded(labelled, form="kto").train}
    assert rows == {"good": True, "bad": False}
    whole = [{"role": "user", "content": "p"}, {"role": "assistant", "content": "good"}]
    pairs = write(
        tmp_path / "dpo.jsonl", [{"chosen": whole, "rejected": [whole[0], {**whole[1], "content": "bad"}]}]
    )
    [row] = loaded(pairs, form="dpo").train
    assert (row["prompt"], row["chosen"]) == (whole[:1], whole[1:])
    assert row["rejected"][0]["content"] == "bad"


def test_an_answer_labelled_bad_is_not_imitated(tmp_path: Path) -> None:
    rows = [pair("p", "good", label=True), pair("q", "bad", label=False)]
    found = loaded(write(tmp_path / "labelled.jsonl", rows))
    assert asked(found.train) == ["p"]
    assert found.report["sources"][0]["removed"] == {"labelled_bad": 1}


def test_a_source_without_the_method_is_left_out_and_said(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain.jsonl", questions(5))
    labelled = write(
        tmp_path / "labelled.jsonl", [pair("p", "good", label=True), pair("q", "bad", label=False)]
    )
    found = loaded({"path": plain, "share": 0.5}, {"path": labelled, "share": 0.5}, form="kto")
    assert len(found.train) == 2
    assert found.notes == [f"{plain} has nothing for KTO, and is left out of it"]


BROKEN: dict[str, tuple[list[Any], str]] = {
    "json": (
        [*questions(2), b'{"prompt": "a"', *questions(3)[2:], b"[1]"],
        "not valid JSON in row 3; no object .* in row 5",
    ),
    "encoding": ([*questions(2), '{"prompt": "caf\u00e9"}'.encode("latin-1")], "not UTF-8 text in row 3"),
    "surrogate": ([b'{"prompt": "a", "completion": "\\ud800"}', *questions(1)], "lone surrogate.* in row 1"),
    "assistant": (
        [{"messages": [{"role": "user", "content": "a"}] * times} for times in (1, 2)],
        "no assistant turn in rows 1 and 2",
    ),
    "user": ([{"messages": [{"role": "assistant", "content": "a"}]}], "no user turn before .* in row 1"),
    "empty turn": ([{"messages": [{"role": "user", "content": " "}]}], "an empty turn in row 1"),
    "number": ([pair("a"), {"prompt": 5, "completion": "b"}], "no text in the column 'prompt' in row 2"),
    "speaker": ([{"messages": [{"role": "tool", "content": "a"}]}], "a turn of 'tool' in row 1"),
    "hole": (
        [*questions(1), {"prompt": "a"}, {"prompt": "b", "completion": None}],
        "nothing in the column 'completion' in rows 2 and 3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_a_broken_row_is_one_sentence_with_its_number(case: str, tmp_path: Path) -> None:
    rows, sentence = BROKEN[case]
    path = write(tmp_path / "broken.jsonl", rows)
    with pytest.raises(BacktalkError, match=sentence) as fault:
        loaded(path)
    assert "\n" not in str(fault.value)
    usable = sum(isinstance(row, dict) and row in questions(3) for row in rows)
    if usable:
        found = loaded(path, faulty="leave_out")
        assert len(found.train) == usable
        assert sum(found.report["sources"][0]["removed"].values()) == len(rows) - usable


def test_a_missing_column_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", ROWS)
    with pytest.raises(BacktalkError, match=r"no column 'answers'.*question, answer\. Did you mean 'answer'"):
        loaded({"path": path, "columns": {"prompt": "question", "completion": "answers"}})
    with pytest.raises(BacktalkError, match="has the columns question, answer; for SFT messages, or prompt"):
        loaded(path)
    with pytest.raises(BacktalkError, match="no column 'topic' .'stratify'."):
        loaded({"path": path, "columns": COLUMNS, "stratify": "topic"})


@pytest.mark.parametrize(
    ("name", "content"), [("a.jsonl", b""), ("b.csv", b"prompt,completion\n"), ("c.json", b"[]")]
)
def test_an_empty_dataset_is_one_sentence(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BacktalkError, match="holds no rows"):
        loaded(str(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"prompt,completion\na,b\n\xff,c\n", "line 3, is not UTF-8 text"),
        ("b.csv", b"prompt,completion\na,b,c\n", "3 cells where the head names 2 in row 1"),
        ("c.csv", b'prompt,completion\na,"b\n', "line 2, is not valid CSV"),
        ("d.parquet", b"PAR1 but not really", "is not a Parquet file"),
        ("e.json", b"{}", "holds no list of rows"),
        ("f.txt", b"hello", "is of no known kind"),
    ],
)
def test_a_broken_file_is_one_sentence(name: str, content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BacktalkError, match=sentence):
        loaded(str(tmp_path / name))


def test_a_place_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(WordsError, match="There is no .*nowhere.jsonl"):
        loaded(str(tmp_path / "nowhere.jsonl"))
    with pytest.raises(WordsError, match="entry 1: 'name' has 'finetom'.*Did you mean 'finetome'"):
        loaded({"name": "finetom"})
    with pytest.raises(WordsError, match="entry 1: It has name and repo"):
        loaded({"name": "bitext", "repo": "a/b"})


@pytest.fixture
def curated(tmp_path: Path) -> Path:
    """A set of corrections, some of them held out."""
    events = [
        flag(
            f"who{n}",
            "bad",
            ["factual_error"],
            correction=f"{CORRECTION} Or {n}.",
            question=row["prompt"],
            earlier=("Hello.", "Hello, how can I help?") if n % 2 else (),
        )
        for n, row in enumerate(questions(40))
    ]
    return curate(Curation(include="all", eval_share=0.3), [segment(tmp_path / "events.jsonl", events)])[0]


@pytest.mark.parametrize("form", ["sft", "kto", "dpo"])
def test_a_curated_set_gives_each_method_its_file(form: str, curated: Path) -> None:
    lines = [json.loads(line) for line in (curated / f"{form}.jsonl").read_text().splitlines()]
    found = loaded(str(curated), form=form, eval_share=0.3)
    assert lines
    assert {row["id"] for row in found.train} == {line["id"] for line in lines}
    by_id = {line["id"]: line for line in lines}
    answer = "chosen" if form == "dpo" else "completion"
    assert all(row["prompt"] == by_id[row["id"]]["prompt"] for row in found.train)
    assert all(row[answer] == by_id[row["id"]][answer] for row in found.train)


def test_a_curated_set_is_found_by_its_id_and_compared_on_its_own_items(curated: Path) -> None:
    found = loaded(f"curated/{curated.name}")
    items = [json.loads(line) for line in (curated / "eval.jsonl").read_text().splitlines()]
    assert {row["id"] for row in found.evaluation} == {item["id"] for item in items if item["reference"]}
    assert len(found.evaluation)


def test_a_replayed_row_that_asks_an_item_of_a_curated_set_is_a_leak(curated: Path, tmp_path: Path) -> None:
    item = next(
        item for line in (curated / "eval.jsonl").read_text().splitlines()
        for item in [json.loads(line)] if len(item["prompt"]) == 1
    )  # fmt: skip
    replay = write(tmp_path / "replay.jsonl", [pair("Who are you?"), pair(item["prompt"][0]["content"])])
    with pytest.raises(BacktalkError, match=f"exact: .*replay.jsonl, row 2 and .*{item['id']}"):
        loaded(str(curated), replay)


def test_what_flags_teach_and_what_is_replayed_are_told_apart_and_a_few_flags_come_again(
    tmp_path: Path,
) -> None:
    events = [
        flag(
            f"who{n}", "bad", ["outdated"], correction=f"It is {n} now.", question=f"What is it, number {n}?"
        )
        for n in range(8)
    ]
    made = with_replay(tmp_path, events)
    taught = loaded({"path": str(made), "only": "taught"})
    replayed = loaded({"path": str(made), "only": "replayed"})
    assert {row["completion"][0]["content"] for row in taught.train} == {f"It is {n} now." for n in range(8)}
    assert len(replayed.train) == 12
    both = loaded(
        {"path": str(made), "only": "taught", "repeat": 3, "share": 0.5},
        {"path": str(made), "only": "replayed", "share": 0.5},
    )
    answers = [row["completion"][0]["content"] for row in both.train]
    assert sum(answer.startswith("It is") for answer in answers) == 12
    assert len(answers) == 24


def test_what_is_replayed_is_a_good_answer_to_one_who_learns_from_votes(tmp_path: Path) -> None:
    events = [
        flag(f"who{n}", "bad", ["too_long"], question=f"What is {n}?", answer=f"Well, {n}.") for n in range(8)
    ]
    made = with_replay(tmp_path, events)
    votes = loaded(
        {"path": str(made), "only": "taught", "repeat": 3, "share": 0.5},
        {"path": str(made), "only": "replayed", "share": 0.5},
        form="kto",
    ).train
    assert {row["completion"][0]["content"] for row in votes if row["label"]} == {"Yes."}
    assert {row["completion"][0]["content"] for row in votes if not row["label"]} == {
        f"Well, {n}." for n in range(8)
    }
    assert sum(row["label"] for row in votes) == 12 == len(votes) / 2


def test_a_curated_set_that_was_changed_or_is_unfinished_is_refused(curated: Path) -> None:
    with open(curated / "sft.jsonl", "a") as file:
        file.write("\n")
    with pytest.raises(BacktalkError, match="is not what the set's card says"):
        loaded(str(curated))
    (curated / "card.json").unlink()
    with pytest.raises(BacktalkError, match="so it is not finished"):
        loaded(str(curated))


def test_a_stream_is_read_only_as_far_as_it_is_needed(tmp_path: Path) -> None:
    path = write(tmp_path / "endless.jsonl", (pair(f"q{n}", f"a{n}") for n in range(1500)))
    found = loaded({"path": path, "streaming": True, "limit": 5})
    assert (len(found.train), found.report["sources"][0]["read"]) == (5, 1000)
    assert found.notes == [f"{path} is streamed: at most its first 1,000 rows are read"]
    with pytest.raises(WordsError, match="'streaming' needs a 'limit'"):
        loaded({"path": path, "streaming": True})


def with_replay(folder: Path, events: list[Any]) -> Path:
    """A set of these flags, with twelve rows replayed that all say yes."""
    known = [
        {"messages": [{"role": "user", "content": f"Say {n}."}, {"role": "assistant", "content": "Yes."}]}
        for n in range(30)
    ]
    made, _ = curate(
        Curation(include="all", eval_share=0, replay_rows=12),
        [segment(folder / "events.jsonl", events)],
        replay_from=Path(write(folder / "known.jsonl", known)),
    )
    return made
