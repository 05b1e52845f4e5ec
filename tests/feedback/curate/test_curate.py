"""From events to a curated set: what is used, what is not and why, and the same bytes every time."""

import gzip
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backtalk.card import read_card
from backtalk.cli import main
from backtalk.errors import BacktalkError, WordsError
from backtalk.files import read_jsonl, write_jsonl
from backtalk.home import home
from feedback.curate.curate import Curation, curate
from feedback.curate.curated import kto_weights
from feedback.schema import Consent, FlagEvent
from feedback.store.decisions import Decisions, Review, matter_of, to_row
from feedback.store.outbox import NAME, Outbox
from tests.feedback.events import ANSWER, CORRECTION, OPEN, QUESTION, again, flag, segment

FACT = ["factual_error"]
ON_TRAIN = Curation(include="all", eval_share=0.0)
ON_EVAL = Curation(include="all", eval_share=0.9, seed=1)
Curate = Callable[..., "Made"]


class Made:
    """A set that was made, by file."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.rows = {file.stem: list(read_jsonl(file)) for file in folder.glob("*.jsonl")}
        self.bytes = {file.name: file.read_bytes() for file in sorted(folder.glob("*.jsonl"))}

    def fate(self, event: FlagEvent) -> dict[str, Any]:
        return next(line for line in self.rows["manifest"] if line["event_id"] == event.event_id)


@pytest.fixture
def curated(tmp_path: Path) -> Curate:
    def make(events: Sequence[Any], settings: Curation = ON_TRAIN, replay_from: Path | None = None) -> Made:
        segment(tmp_path / "events" / "one.jsonl", events)
        return Made(curate(settings, [tmp_path / "events"], replay_from)[0])

    return make


def accepting(event: FlagEvent, tmp_path: Path, **more: str) -> dict[str, Any]:
    draft = Review(flag_id=event.flag_id, state="accepted", by="ada", matter=matter_of(event), **more)
    return to_row(Decisions(tmp_path / "elsewhere.jsonl").decide(draft)[0])


def test_a_correction_is_in_every_file_with_what_was_really_sent(curated: Curate) -> None:
    event = flag(
        reasons=FACT, correction=CORRECTION, system="Be kind.", earlier=("Hi", "Hello!"), sent_turns=0
    )
    made = curated([event])
    prompt = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": QUESTION}]
    right, wrong = ([{"role": "assistant", "content": text}] for text in (CORRECTION, ANSWER))
    rows = {
        name: {key: row[key] for key in row if key not in ("id", "flags")} for name, (row,) in _single(made)
    }
    assert rows["sft"] == {"prompt": prompt, "completion": right}
    assert rows["kto"] == {"prompt": prompt, "completion": wrong, "label": False, "weight": 0.5}
    assert rows["dpo"] == {"prompt": prompt, "chosen": right, "rejected": wrong}
    fate = made.fate(event)
    assert fate["rows"] == sorted(f"{name}:{made.rows[name][0]['id']}" for name in ("sft", "kto", "dpo"))
    assert (fate["used"], fate["reason"], fate["state"]) == (True, "", "new")


def test_what_only_many_names_agree_on_is_left_out_and_told_why(curated: Curate) -> None:
    gang, others = ("gil", "han", "ida"), ("ann", "bob", "cem")
    three = [("Do you lend tents?", gang), ("Do you lend boats?", gang), ("Do you lend skis?", gang)]
    said = {
        question: [flag(who, correction="No.", question=question) for who in names]
        for question, names in [*three, ("Do you lend axes?", others)]
    }
    made = curated(
        [event for events in said.values() for event in events], replace(ON_TRAIN, include="agreed")
    )
    assert {made.fate(event)["reason"] for question, _ in three for event in said[question]} == {"one_voice"}
    assert all(made.fate(event)["used"] for event in said["Do you lend axes?"])


def _single(made: Made) -> list[tuple[str, list[dict[str, Any]]]]:
    return [(name, made.rows[name]) for name in ("sft", "kto", "dpo")]


def test_a_held_out_flag_is_an_item_and_teaches_nothing(curated: Curate) -> None:
    events = [
        flag(f"who{n}", reasons=FACT, correction=f"{CORRECTION} {n} more.", question=f"{QUESTION} {n}")
        for n in range(10)
    ]
    made = curated(events, ON_EVAL)
    items, trained = made.rows["eval"], {name for row in made.rows["sft"] for name in row["flags"]}
    assert items and not trained & {name for row in items for name in row["flags"]}
    item = items[0]
    assert item["reference"].startswith(CORRECTION)
    assert (item["must"][0], item["must_not"], item["checks"]) == ("60", [ANSWER], ["reference"])


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (flag(consent=Consent()), "no_consent"),
        (flag(consent=replace(OPEN, training=False)), "not_for_training"),
        (flag(earlier=("Hi", "Hello!"), consent=replace(OPEN, scope="flag_only")), "context_withheld"),
        (flag(reasons=["cut_off"]), "system"),
        (flag(reasons=["slow", "error"]), "system"),
        (flag(reasons=["test_or_spam", "factual_error"]), "meta"),
        (flag(reasons=["other"], comment="hm"), "meta"),
        (flag(reasons=["harmful", "factual_error"]), "safety"),
        (flag(reasons=["privacy_leak"]), "safety"),
        (flag(question="What does <|eot_id|> mean?"), "control_tokens"),
        (flag(correction="It is <|reserved_special_token_7|>."), "control_tokens"),
        (flag(system="<|start_header_id|>system"), "control_tokens"),
        (flag(reasons=["ignored_history"], earlier=("Hi", "Hello!"), sent_turns=0), "turn_not_sent"),
        (flag(reasons=["incomplete"], finish="length"), "unfinished"),
        (flag(reasons=["outdated"]), "backlog"),
        (flag(answer=" "), "no_answer"),
    ],
)
def test_what_may_not_teach_is_left_out_with_its_reason(
    curated: Curate, event: FlagEvent, reason: str
) -> None:
    made = curated([event])
    fate = made.fate(event)
    assert (fate["used"], fate["rows"], fate["reason"]) == (False, [], reason)
    assert not any(made.rows[name] for name in ("sft", "kto", "dpo", "eval"))


def test_a_flag_without_its_earlier_turns_is_used_where_none_was_sent(curated: Curate) -> None:
    event = flag(
        earlier=("Hi", "Hello!"), sent_turns=0, consent=replace(OPEN, scope="flag_only"), reasons=FACT
    )
    assert curated([event]).fate(event)["used"]


def test_only_the_last_event_of_a_flag_counts_and_a_withdrawn_one_not_at_all(curated: Curate) -> None:
    first = flag(reasons=FACT, correction="Never.")
    second = flag(reasons=FACT, correction=CORRECTION, last=first)
    made = curated([second, first])
    assert made.fate(first)["reason"] == "superseded"
    assert made.rows["sft"][0]["completion"][0]["content"] == CORRECTION
    withdrawn = flag(retract=True, last=second)
    made = curated([withdrawn, first, second])
    assert {made.fate(one)["reason"] for one in (first, second, withdrawn)} == {"retracted"}
    assert not made.rows["sft"]


def test_after_a_retraction_the_set_differs_by_its_rows_alone(curated: Curate) -> None:
    events = [
        flag(f"who{n}", reasons=FACT, correction=f"No, {n}.", question=f"How many? {n}") for n in range(30)
    ]
    settings = Curation(include="all", eval_share=0.3)
    before = curated(events, settings)
    after = curated([*events, flag("who7", retract=True, last=events[7], question="How many? 7")], settings)
    gone = set(before.fate(events[7])["rows"])
    for name in ("sft", "kto", "dpo", "eval"):
        ids = [f"{name}:{row['id']}" for row in before.rows[name]]
        assert [f"{name}:{row['id']}" for row in after.rows[name]] == [one for one in ids if one not in gone]
    assert gone


def test_by_default_only_what_a_maintainer_accepted_is_used(curated: Curate, tmp_path: Path) -> None:
    taken = flag("ann", reasons=FACT, correction=CORRECTION)
    waiting = flag("bob", reasons=FACT, correction="On Mondays.", question="When are you open?")
    made = curated([taken, waiting, accepting(taken, tmp_path)], Curation(eval_share=0.0))
    assert made.fate(taken)["state"] == "accepted"
    assert made.fate(waiting)["reason"] == "not_accepted"
    assert len(made.rows["sft"]) == 1


def test_a_maintainers_wording_is_what_is_taught(curated: Curate, tmp_path: Path) -> None:
    event = flag("ann", reasons=FACT, correction="60")
    made = curated([event, accepting(event, tmp_path, correction=CORRECTION)], Curation(eval_share=0.0))
    assert made.rows["sft"][0]["completion"][0]["content"] == CORRECTION


def test_a_wording_with_a_control_token_is_refused(curated: Curate, tmp_path: Path) -> None:
    event = flag("ann", reasons=FACT, correction="60")
    made = curated([event, accepting(event, tmp_path, correction="60<|eot_id|>")], Curation(eval_share=0.0))
    assert not made.rows["sft"]
    assert made.rows["manifest"][-1]["reason"] == "malformed"


def test_agreed_corrections_are_used_and_the_outvoted_are_a_conflict(curated: Curate) -> None:
    events = [flag(f"who{n}", reasons=FACT, correction=CORRECTION) for n in range(3)]
    other = flag("dan", reasons=FACT, correction="In 90 days.")
    made = curated([*events, other], Curation(include="agreed", eval_share=0.0))
    assert [made.fate(event)["state"] for event in events] == ["agreed"] * 3
    assert made.fate(other)["reason"] == "conflict"
    (row,) = made.rows["sft"]
    assert row["flags"] == sorted(event.flag_id for event in events)


def test_contradicting_votes_on_one_answer_are_no_vote(curated: Curate) -> None:
    up, down = flag("ann", "good"), flag("bob", "bad")
    made = curated([up, down])
    assert not made.rows["kto"]
    assert {made.fate(one)["reason"] for one in (up, down)} == {"conflict"}


def test_near_duplicates_teach_once(curated: Curate) -> None:
    text = (
        "You can bring it back to any of our shops for as long as it is new and nobody has slept in it yet."
    )
    one = flag("ann", "good", answer=text)
    near = flag("bob", "good", answer=text.replace("slept", "been"))
    made = curated([one, near])
    assert sorted(made.fate(event)["reason"] for event in (one, near)) == ["", "near_duplicate"]
    assert len(made.rows["kto"]) == 1


def test_one_contributor_has_at_most_so_many_flags(curated: Curate) -> None:
    events = [flag("ann", "good", question=f"Question {n}?", answer=f"Answer {n}.") for n in range(9)]
    made = curated(events, replace(ON_TRAIN, most_per_contributor=4))
    assert len(made.rows["kto"]) == 4
    assert [line["reason"] for line in made.rows["manifest"]].count("contributor_cap") == 5


def test_votes_about_length_alone_are_at_most_a_quarter(curated: Curate) -> None:
    events = [
        flag(f"who{n}", reasons=["too_long"], question=f"Question {n}?", answer=f"Answer {n}.")
        for n in range(30)
    ]
    made = curated(events)
    assert len(made.rows["kto"]) == 20
    assert [line["reason"] for line in made.rows["manifest"]].count("capped_share") == 10


def test_the_same_events_give_the_same_bytes_in_any_order_and_any_files(
    curated: Curate, tmp_path: Path
) -> None:
    events = [
        flag(f"who{n % 5}", reasons=FACT, correction=f"No, {n}.", question=f"How many? {n}")
        for n in range(20)
    ]
    made = curated(events, Curation(include="all"))
    random.Random(1).shuffle(events)
    half = segment(tmp_path / "other" / "a.jsonl", events[:12])
    packed = tmp_path / "other" / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(segment(tmp_path / "b.jsonl", events[8:]).read_bytes()))
    again_made = Made(curate(Curation(include="all"), [half, packed])[0])
    assert again_made.bytes == made.bytes
    assert again_made.folder == made.folder


def test_the_seed_moves_the_split(curated: Curate) -> None:
    events = [flag(f"who{n}", "good", question=f"Question {n}?", answer=f"Answer {n}.") for n in range(40)]
    one, two = (curated(events, Curation(include="all", seed=seed, eval_share=0.5)) for seed in (1, 2))
    assert {row["id"] for row in one.rows["kto"]} != {row["id"] for row in two.rows["kto"]}


def test_every_event_is_in_the_manifest_once_and_so_is_every_broken_line(
    curated: Curate, tmp_path: Path
) -> None:
    first = flag(reasons=FACT)
    events = [first, again(first), flag("bob"), {"format": "flag/1"}]
    made = curated([*events, events[2]])
    assert len(made.rows["manifest"]) == 4
    assert made.rows["manifest"][-1]["reason"] == "malformed"
    assert made.rows["manifest"][-1]["detail"].startswith("one.jsonl, line 4: This flag was refused")


def test_the_card_says_what_was_done_and_is_written_last(curated: Curate) -> None:
    made = curated([flag(reasons=FACT, correction=CORRECTION), flag("bob", consent=Consent())])
    card = read_card(made.folder)
    assert (card.kind, card.id, card.recipe["include"]) == ("curated set", made.folder.name, "all")
    assert card.metrics["rows"] == {"sft": 1, "kto": 1, "dpo": 1, "eval": 0}
    assert card.metrics["unused"] == {"no_consent": 1}
    assert {entry["path"] for entry in card.outputs} == set(made.bytes)


def test_replayed_rows_make_their_share_and_follow_from_the_seed(curated: Curate, tmp_path: Path) -> None:
    events = [
        flag(f"who{n}", reasons=FACT, correction=f"No, {n}.", question=f"How many? {n}") for n in range(6)
    ]
    earlier = tmp_path / "earlier.jsonl"
    write_jsonl(
        earlier,
        (
            {"messages": [{"role": "user", "content": f"Say {n}"}, {"role": "assistant", "content": str(n)}]}
            for n in range(50)
        ),
    )
    made = curated(events, replace(ON_TRAIN, replay=0.4), replay_from=earlier)
    replayed = [row for row in made.rows["sft"] if not row["flags"]]
    assert (len(made.rows["sft"]), len(replayed)) == (10, 4)
    assert curated(events, replace(ON_TRAIN, replay=0.4), replay_from=earlier).bytes == made.bytes
    counted = curated(events, replace(ON_TRAIN, replay_rows=20), replay_from=earlier)
    assert sum(not row["flags"] for row in counted.rows["sft"]) == 20
    with pytest.raises(WordsError, match="as a share .* or as a number of rows"):
        replace(ON_TRAIN, replay=0.4, replay_rows=20)


def test_a_withdrawn_flag_does_not_come_back_with_an_earlier_set(curated: Curate) -> None:
    events = [
        flag(f"who{n}", reasons=FACT, correction=f"No, {n}.", question=f"How many? {n}") for n in range(6)
    ]
    earlier = curated(events)
    withdrawn = flag("who0", retract=True, last=events[0], question="How many? 0")
    settings = replace(ON_TRAIN, replay=0.9, most_per_contributor=1)
    made = curated([events[1], events[0], withdrawn], settings, replay_from=earlier.folder)
    assert events[0].flag_id not in {name for row in made.rows["sft"] for name in row["flags"]}


def test_an_evaluation_prompt_in_what_is_replayed_is_an_error_that_lists_the_pair(
    curated: Curate, tmp_path: Path
) -> None:
    events = [
        flag(f"who{n}", reasons=FACT, correction=f"No, {n}.", question=f"How many? {n}") for n in range(20)
    ]
    settings = Curation(include="all", eval_share=0.5, replay=0.5)
    held_out = curated(events, replace(settings, replay=0.0)).rows["eval"][0]
    question = held_out["prompt"][-1]["content"].upper()
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": "Yes."}]
    earlier = tmp_path / "earlier.jsonl"
    write_jsonl(earlier, [{"messages": turns}])
    with pytest.raises(BacktalkError, match=rf"(?s)normalised: replay:\w+ and eval:{held_out['id']}"):
        curated(events, settings, replay_from=earlier)
    made = curated(events, replace(settings, drop_leaks=True), replay_from=earlier)
    assert all(row["flags"] for row in made.rows["sft"])


def test_the_verb_reads_outbox_and_decisions_of_the_state_folder(capsys: pytest.CaptureFixture[str]) -> None:
    outbox = Outbox(home() / NAME)
    saved = outbox.save(replace(flag(reasons=FACT, correction=CORRECTION), revision=0)).event
    outbox.close()
    Decisions.at_home().decide(
        Review(flag_id=saved.flag_id, state="accepted", by="ada", matter=matter_of(saved))
    )
    assert main(["curate", "--eval-share", "0", "--json"]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["metrics"]["rows"] == {"sft": 1, "kto": 1, "dpo": 1, "eval": 0}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--include", "agred"], "accepted, agreed, all"),
        (["--eval-share", "2"], "between 0 and 0.9"),
        (["--replay", "0.4"], "--replay-from belongs"),
        (["--from", "nowhere.jsonl"], "nowhere.jsonl is not there"),
    ],
)
def test_words_that_are_off_are_one_sentence(words: list[str], wanted: str) -> None:
    from feedback.curate.curate import main as verb

    outbox = Outbox(home() / NAME)
    outbox.close()
    with pytest.raises(WordsError, match=wanted):
        verb(words)


def test_kto_weights_give_both_labels_the_same_say() -> None:
    assert kto_weights(10, 40) == {"desirable_weight": 4.0, "undesirable_weight": 1.0}
    assert kto_weights(0, 40) == {"desirable_weight": 1.0, "undesirable_weight": 1.0}
