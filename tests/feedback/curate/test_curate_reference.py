"""The quick way gives the bytes of the straightforward one, which compares every pair."""

import json
from collections import Counter, defaultdict
from dataclasses import replace
from difflib import SequenceMatcher
from hashlib import sha256
from itertools import combinations, product
from pathlib import Path
from random import Random
from typing import Any

import pytest

from backtalk.files import canonical_json, read_jsonl
from bench.contributors import write_events
from feedback.curate.candidate import Candidate
from feedback.curate.controls import pattern
from feedback.curate.curate import Curation, curate
from feedback.curate.routes import Lesson, teach
from feedback.curate.similar import normalised, numbers, pairs
from feedback.revisions import fold
from feedback.schema import FlagEvent, from_row
from feedback.store import decisions
from tests.feedback.curate.by_hand import Flags, states
from tests.feedback.events import flag as flagged
from tests.feedback.events import segment

EVENTS = 2_000
CONTROLS = pattern()
TRUST = {"accepted": 0, "agreed": 1, "new": 2}
WANTED = {"accepted": ["accepted"], "agreed": ["accepted", "agreed"], "all": ["accepted", "agreed", "new"]}


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("events")
    write_events(folder, EVENTS, seed=3)
    segment(folder / "talk.jsonl", talk_of_the_town())
    return folder


def talk_of_the_town() -> list[FlagEvent]:
    """Two dozen people correct a few answers, mostly alike; five say the same of questions of their own."""
    chance, said = Random(7), []
    for number, place in product(range(24), range(18)):
        of_five = number < 5 and place < 5
        value = "4" if of_five else chance.choice(["60"] * 9 + ["90", "two"])
        if chance.random() > (0.95 if of_five else 0.3) or (place < 5 and not of_five):
            continue
        about = "a canoe" if place < 3 else ("a tent", "a stove", "boots")[place % 3]
        said.append(
            flagged(
                f"person{number}",
                question=f"Question {place}: until when can I give {about} back?",
                answer=f"You can return {about} within 30 days.",
                correction=f"You can return {about} within {value} days.",
                conversation=f"talk{number}-{place}",
            )
        )
    return said


@pytest.mark.parametrize("include", ["accepted", "agreed", "all"])
def test_the_bytes_are_those_of_the_reference(include: Any, events: Path) -> None:
    settings = Curation(include=include, eval_share=0.25, most_per_contributor=30, seed=5)
    folder, _ = curate(settings, [events])
    expected = reference(settings, events)
    reasons = {line["reason"] for line in expected["manifest"]}
    assert {"conflict"} <= reasons and ("one_voice" in reasons) == (include == "agreed")
    for name, lines in expected.items():
        assert lines, name
        assert (folder / f"{name}.jsonl").read_bytes() == b"".join(
            canonical_json(line) + b"\n" for line in lines
        ), name


def reference(settings: Curation, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The whole of curation, without replay, as one would do it by hand."""
    rows = [row for file in sorted(folder.glob("*.jsonl")) for row in read_jsonl(file)]
    events = [from_row(row) for row in rows if row["format"] == "flag/1"]
    reviews = decisions.standing(decisions.from_row(row) for row in rows if row["format"] == "review/1")
    standing = fold(events)
    flags = [Candidate.of(event, CONTROLS) for event in standing.values()]
    why = {flag.flag_id: flag.fault for flag in flags if flag.fault}
    flags = [flag for flag in flags if not flag.fault]
    state, only_names = states(flags, reviews)
    for flag in flags:
        if state[flag.flag_id] not in WANTED[settings.include]:
            known = state[flag.flag_id] in ("new", "agreed")
            why[flag.flag_id] = f"not_{settings.include}" if known else state[flag.flag_id]
            if settings.include == "agreed" and flag.flag_id in only_names:
                why[flag.flag_id] = "one_voice"
    flags = sorted(
        (flag for flag in flags if flag.flag_id not in why),
        key=lambda flag: (TRUST[state[flag.flag_id]], flag.flag_id),
    )
    flags = without(flags, over_the_cap(flags, settings.most_per_contributor), "contributor_cap", why)
    flags = without(flags, near_duplicates(flags), "near_duplicate", why)
    side, left_out, group = split(flags, settings)
    flags = without(flags, left_out, "other_side", why)
    lessons, withheld = lessons_of(flags, state, reviews, side, why)
    files = settle(lessons, state, withheld, settings.seed)
    made = {name: build(name, rows, group) for name, rows in files.items()}
    lines = {
        name: [line for line, _ in sorted(rows, key=lambda row: shuffle(settings.seed, row[0]["id"]))]
        for name, rows in made.items()
    }
    lines["manifest"] = manifest(events, standing, state, why, made, withheld)
    return lines


def without(flags: Flags, names: set[str], reason: str, why: dict[str, str]) -> Flags:
    why |= dict.fromkeys(names, reason)
    return [flag for flag in flags if flag.flag_id not in names]


def over_the_cap(flags: Flags, most: int) -> set[str]:
    return {
        flag.flag_id
        for who in {flag.contributor for flag in flags}
        for flag in [flag for flag in flags if flag.contributor == who][most:]
    }


def near_duplicates(flags: Flags) -> set[str]:
    kept: list[tuple[Any, set[str], Candidate]] = []
    dropped = set()
    for flag in flags:
        turns = "\n".join(f"{role}: {content}" for role, content in flag.turns)
        words = normalised("\n".join((turns, flag.answer, flag.correction)))
        same = (normalised(flag.system), flag.verdict, bool(flag.correction), numbers(words))
        exact = (flag.item_key, flag.answer_key, flag.correction_key, flag.verdict)
        mine = pairs(words)
        if any(exact == other for _, _, other in kept):
            continue
        if any(same == others and share(mine, theirs) >= 0.8 for others, theirs, _ in kept):
            dropped |= {one.flag_id for one in flags if exact == content_of(one)}
        else:
            kept.append((same, mine, exact))  # type: ignore[arg-type]
    return dropped


def content_of(flag: Candidate) -> tuple[bytes | str, ...]:
    return flag.item_key, flag.answer_key, flag.correction_key, flag.verdict


def share(one: set[str], other: set[str]) -> float:
    if min(len(one), len(other)) < 0.8 * max(len(one), len(other)):
        return 0.0
    return len(one & other) / len(one | other)


def split(flags: Flags, settings: Curation) -> tuple[dict[str, str], set[str], dict[str, str]]:
    prompts = {}
    for flag in flags:
        text = normalised("\n".join(f"{role}: {content}" for role, content in flag.turns))
        prompts.setdefault(flag.prompt_key, (pairs(text), numbers(text)))
    question = {name: place for place, name in enumerate(sorted(prompts))}
    for one, other in combinations(sorted(prompts), 2):
        (mine, figures), (theirs, other_figures) = prompts[one], prompts[other]
        if figures == other_figures and share(mine, theirs) >= 0.8:
            joined = min(question[one], question[other])
            old = {question[one], question[other]}
            question = {name: joined if number in old else number for name, number in question.items()}
    group = {flag.conversation: flag.conversation for flag in flags}
    asked = defaultdict(set)
    for flag in flags:
        asked[question[flag.prompt_key]].add(flag.conversation)
    for _, _, talks in sorted((len(them), number, sorted(them)) for number, them in asked.items()):
        names = {group[talk] for talk in talks}
        size = sum(group[flag.conversation] in names for flag in flags)
        if size <= max(20, 0.1 * len(flags)):
            group = {talk: min(names) if name in names else name for talk, name in group.items()}
    side = {}
    for flag in flags:
        digest = sha256(f"{settings.seed}|{group[flag.conversation]}".encode()).hexdigest()
        side[flag.flag_id] = "eval" if int(digest[:16], 16) / 16**16 < settings.eval_share else "train"
    count = Counter((question[flag.prompt_key], side[flag.flag_id]) for flag in flags)
    left_out = set()
    for flag in flags:
        number = question[flag.prompt_key]
        kept = "eval" if count[number, "eval"] > count[number, "train"] else "train"
        if side[flag.flag_id] != kept:
            left_out.add(flag.flag_id)
    return side, left_out, group


def lessons_of(
    flags: Flags, state: dict[str, str], reviews: dict[str, Any], side: dict[str, str], why: dict[str, str]
) -> tuple[list[tuple[Candidate, Lesson]], dict[str, list[str]]]:
    lessons, withheld = [], {}
    for flag in flags:
        name = flag.flag_id
        wording = reviews[name].correction if state[name] == "accepted" else ""
        teaching = teach(flag, state[name], wording)
        withheld[name] = list(teaching.withheld)
        fitting = [one for one in teaching.lessons if (one.file == "eval") == (side[name] == "eval")]
        lessons += [(flag, lesson) for lesson in fitting]
        if teaching.lessons and not fitting:
            why[name] = "nothing_to_check" if side[name] == "eval" else "nothing_to_learn"
    return lessons, withheld


def settle(
    lessons: list[tuple[Candidate, Lesson]], state: dict[str, str], withheld: dict[str, list[str]], seed: int
) -> dict[str, list[list[tuple[Candidate, Lesson]]]]:
    """The lessons that become one row together, by file."""
    files: dict[str, dict[Any, list[tuple[Candidate, Lesson]]]] = {
        name: defaultdict(list) for name in ("sft", "kto", "dpo", "eval")
    }
    for flag, lesson in lessons:
        key: Any = (flag.item_key, lesson.target_key, lesson.against_key, lesson.label)
        files[lesson.file][(flag.item_key,) if lesson.file == "eval" else key].append((flag, lesson))
    votes = files["kto"]
    contradicting = [
        key for key, row in votes.items() if counted(row[0][0], lessons, state) != row[0][1].label
    ]
    take_out(votes, contradicting, "kto:conflict", withheld)
    capped = [key for key, row in votes.items() if all(lesson.capped for _, lesson in row)]
    room = max(20, int((len(votes) - len(capped)) * 0.25 / 0.75))
    capped.sort(key=lambda key: shuffle(seed, repr(key)))
    take_out(votes, capped[room:], "kto:capped_share", withheld)
    for name in ("sft", "dpo"):
        spell_alike(files[name])
    return {name: list(rows.values()) for name, rows in files.items()}


def spell_alike(rows: dict[Any, list[tuple[Candidate, Lesson]]]) -> None:
    first = {key: row[0] for key, row in rows.items()}
    for key, (flag, lesson) in first.items():
        said = (flag.answer_key, lesson.target_key)
        alike = [row for row in first.values() if (row[0].answer_key, row[1].target_key) == said]
        texts, answer = [one.target for _, one in alike], alike[0][0].answer

        def unlike(text: str, answer: str = answer, texts: list[str] = texts) -> tuple[float, int, str]:
            ratio = SequenceMatcher(None, answer, text, autojunk=False).ratio()
            return -ratio, -texts.count(text), text

        rows[key][0] = (flag, replace(lesson, target=min(texts, key=unlike)))


def take_out(rows: dict[Any, Any], keys: list[Any], reason: str, withheld: dict[str, list[str]]) -> None:
    for key in keys:
        for flag, _ in rows.pop(key):
            withheld[flag.flag_id].append(reason)


def counted(flag: Candidate, lessons: list[tuple[Candidate, Lesson]], state: dict[str, str]) -> str:
    votes = [
        (one, lesson.label)
        for one, lesson in lessons
        if lesson.file == "kto" and (one.item_key, one.answer_key) == (flag.item_key, flag.answer_key)
    ]
    decided = {label for one, label in votes if state[one.flag_id] == "accepted"}
    if decided:
        return decided.pop() if len(decided) == 1 else ""
    voters = {label: {one.contributor for one, given in votes if given == label} for _, label in votes}
    everybody = set().union(*voters.values())
    return next((name for name in sorted(voters) if len(voters[name]) / len(everybody) >= 0.75), "")


def build(
    name: str, rows: list[list[tuple[Candidate, Lesson]]], group: dict[str, str]
) -> list[tuple[dict[str, Any], list[str]]]:
    made = []
    for row in rows:
        flag, lesson = row[0]
        system = [{"role": "system", "content": flag.system}] if flag.system else []
        turns = [{"role": role, "content": content} for role, content in flag.turns]
        target, against = (
            [{"role": "assistant", "content": text}] for text in (lesson.target, lesson.against)
        )
        content: dict[str, Any] = {"prompt": system + turns}
        more: dict[str, Any] = {}
        if name == "sft":
            content |= {"completion": target}
        elif name == "kto":
            content |= {"completion": target, "label": lesson.label == "good"}
            more = {"weight": max(lesson.weight for _, lesson in row)}
        elif name == "dpo":
            content |= {"chosen": target, "rejected": against}
        else:
            content |= item(row)
            more = {"group": group[flag.conversation]}
        digest = sha256(canonical_json([name, content])).hexdigest()[:16]
        flags = sorted(flag.flag_id for flag, _ in row)
        made.append(({**content, **more, "id": digest, "flags": flags}, flags))
    return made


def item(row: list[tuple[Candidate, Lesson]]) -> dict[str, Any]:
    reference = next((lesson.target for _, lesson in row if lesson.target), "")
    avoid: list[str] = []
    for _, lesson in row:
        known = [normalised(text) for text in avoid]
        if lesson.against and normalised(lesson.against) not in known and len(avoid) < 5:
            avoid.append(lesson.against)
    avoid = [text for text in avoid if normalised(text) != normalised(reference)]
    wrong = [number for text in avoid for number in numbers(normalised(text))]
    must = [one for one in numbers(reference) if normalised(one) not in wrong] if avoid else []
    checks = sorted({check for _, lesson in row for check in lesson.checks})
    return {
        "reference": reference,
        "must": list(dict.fromkeys(must)),
        "must_not": avoid,
        "checks": checks,
    }


def manifest(
    events: list[FlagEvent],
    standing: dict[str, FlagEvent],
    state: dict[str, str],
    why: dict[str, str],
    made: dict[str, list[tuple[dict[str, Any], list[str]]]],
    withheld: dict[str, list[str]],
) -> list[dict[str, Any]]:
    lines = []
    for event in sorted(events, key=lambda event: (event.flag_id, event.revision, event.event_id)):
        name = event.flag_id
        line = {
            "event_id": event.event_id, "flag_id": name, "revision": event.revision,
            "state": "", "used": False, "rows": [], "reason": "", "withheld": [], "detail": "",
        }  # fmt: skip
        last = standing.get(name)
        if last is None:
            withdrawn = event.op == "retract"
            line |= {"reason": "retracted"} | ({"state": "new"} if withdrawn else {})
        elif last.event_id != event.event_id:
            line["reason"] = "superseded"
        else:
            rows = sorted(
                f"{file}:{row['id']}" for file, rows in made.items() for row, flags in rows if name in flags
            )
            lost = sorted(set(withheld.get(name, [])))
            reason = why.get(name, "")
            if not rows and not reason:
                reason = lost[0].partition(":")[2] if lost else "nothing_to_learn"
            line |= {
                "state": state.get(name, "new"),
                "used": bool(rows),
                "rows": rows,
                "reason": reason,
                "withheld": lost,
            }
        lines.append(json.loads(json.dumps(line)))
    return lines


def shuffle(seed: int, name: str) -> str:
    return sha256(f"{seed}|{name}".encode()).hexdigest()
