"""`backtalk curate`: flags become a curated set, and every flag that does not is told why.

    backtalk curate --include agreed --replay 0.4 --replay-from data/earlier.jsonl

Events are folded; what nobody allowed to train on, what speaks of the machine and what is unsafe is left out;
states follow from decisions and agreement; near-duplicates and over-represented contributors are reduced;
conversations go to training or to evaluation; the taxonomy's routes make rows. The same flags and decisions
give the same bytes, under BACKTALK_HOME/curated/ID, where ID follows from them. An evaluation prompt in the
training data is an error that lists the pairs.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from backtalk.card import Card
from backtalk.config import add_flags, from_sources, knob, to_plain
from backtalk.errors import BacktalkError, WordsError
from backtalk.files import sha256_of
from backtalk.verb import Parser, report_json
from feedback.curate import agreement, controls
from feedback.curate.agreement import ACCEPTED, AGREED, INCLUDED, NEW, Judged
from feedback.curate.candidate import Candidate
from feedback.curate.curated import Curated, Fates, write_set
from feedback.curate.gather import Gathered, add_sources, gather, nothing_thrown_away
from feedback.curate.mend import corrections, mended
from feedback.curate.replay import Replay, Stands, read_replay, saying, wanted
from feedback.curate.routes import teach
from feedback.curate.rows import FILES, Rows
from feedback.curate.similar import Text, first_alike, normalised
from feedback.curate.split import EVAL, Leak, find_leaks, split, spoken
from feedback.curate.wrong import wrong_answers
from feedback.hub.fetch import sources_at_home
from feedback.store.decisions import Review

FORMAT = "curated/7"  # raised when the same flags would give other rows
WORTH = {ACCEPTED: 0, AGREED: 1, NEW: 2}  # whose spelling and whose flag is kept where several say the same
MOST_LEAKS_TOLD = 10


@dataclass(frozen=True)
class Curation:
    """How flags become a set."""

    include: Literal["accepted", "agreed", "all"] = knob("accepted", "flags to use: by a maintainer's word")
    eval_share: float = knob(0.2, "share of the conversations that is held out for evaluation")
    most_per_contributor: int = knob(100, "flags of one contributor that are used at most")
    replay: float = knob(0.0, "share of sft.jsonl that is rows from earlier")
    replay_rows: int = knob(0, "rows from earlier, as a number in place of a share")
    drop_leaks: bool = knob(False, "leave out rows to replay that hold an evaluation prompt")
    seed: int = knob(1, "of the split and the order")

    def __post_init__(self) -> None:
        for name, value, most in (("eval_share", self.eval_share, 0.9), ("replay", self.replay, 0.95)):
            if not 0 <= value <= most:
                raise WordsError(f"'{name}' should be between 0 and {most}, but {value} was given.")
        if self.most_per_contributor < 1:
            raise WordsError("'most_per_contributor' should be 1 or more.")
        if self.replay_rows < 0 or (self.replay_rows and self.replay):
            raise WordsError("Replay is told as a share (--replay) or as a number of rows (--replay-rows).")


def main(argv: list[str]) -> int:
    parser = Parser(
        "curate", "Flags to a curated set.", example="backtalk curate --include agreed --eval-share 0.25"
    )
    add_sources(parser)
    parser.add_argument(
        "--replay-from", type=Path, metavar="PATH", help="a curated set or a .jsonl file to replay rows from"
    )
    parser.add_argument(
        "--tokenizer", type=Path, metavar="PATH", help="tokenizer.json whose added tokens no text may hold"
    )
    add_flags(parser, Curation)
    parser.add_json()
    args = parser.parse_args(argv)
    settings = from_sources(Curation, flags=vars(args))
    with nothing_thrown_away():
        folder, card = curate(settings, args.sources or _at_home(), args.replay_from, args.tokenizer)
    for line in _told(folder, card):
        print(line)
    if args.json:
        report_json({"folder": str(folder), "id": card.id, "metrics": card.metrics})
    return 0


def curate(
    settings: Curation,
    sources: Sequence[Path],
    replay_from: Path | None = None,
    tokenizer: Path | None = None,
) -> tuple[Path, Card]:
    """Makes the set of these sources and returns its folder, complete with card."""
    if bool(settings.replay or settings.replay_rows) != bool(replay_from):
        raise WordsError(
            "--replay-from belongs together with --replay or --replay-rows: from where, and how much."
        )
    control = _control_tokens(tokenizer)
    gathered = gather(sources, control)
    curated = choose(gathered, settings)
    if replay_from:
        replay = read_replay(replay_from, control, _stands(gathered, curated.fates), settings.seed)
        _mend(replay, curated)
        replay.drop(saying(replay.rows, _wrong_answers(gathered, curated.fates)), "corrected")
        _take_for_replay(replay, curated, settings)
    _refuse_leaks(find_leaks(_training_prompts(curated), _evaluation_prompts(curated.rows)))
    recipe = {"format": FORMAT, **to_plain(settings), "control_tokens": _sha256(control.pattern)}
    return write_set(curated, gathered, recipe, [*gathered.inputs, *_replay_input(replay_from)])


def choose(gathered: Gathered, settings: Curation) -> Curated:
    """Everything but reading and writing: which flags are used, and the rows that they become."""
    fates = Fates()
    flags = _included(_eligible(gathered, fates), gathered.reviews, settings, fates)
    flags = _distinct(_capped(flags, settings.most_per_contributor, fates), fates)
    sides = split(flags, settings.eval_share, settings.seed)
    beside = {(flag.contributor, flag.message): flag for flag in flags if flag.choice}
    rows = Rows(settings.seed)
    for flag in flags:
        if flag.flag_id in sides.left_out:
            fates.left_out[flag.flag_id] = "other_side"
            continue
        on_eval = sides.side[flag.flag_id] == EVAL
        state = fates.state[flag.flag_id]
        wording = gathered.reviews[flag.flag_id].correction if state == ACCEPTED else ""
        teaching = teach(flag, state, wording, beside.get((flag.contributor, flag.other_message)))
        fates.withheld[flag.flag_id] += teaching.withheld
        lessons = teaching.lessons
        fitting = [lesson for lesson in lessons if (lesson.file == "eval") == on_eval]
        for lesson in fitting:
            rows.add(flag, state, lesson, sides.group[flag.conversation])
        if lessons and not fitting:
            fates.left_out[flag.flag_id] = "nothing_to_check" if on_eval else "nothing_to_learn"
    rows.settle()
    for name, why in rows.taken_out.items():
        fates.withheld[name] += why
    fates.rows = rows.used()
    return Curated(rows, [], fates)


def _eligible(gathered: Gathered, fates: Fates) -> list[Candidate]:
    fates.left_out |= {name: flag.fault for name, flag in gathered.standing.items() if flag.fault}
    return [flag for flag in gathered.standing.values() if not flag.fault]


def _included(
    flags: list[Candidate], reviews: Mapping[str, Review], settings: Curation, fates: Fates
) -> list[Candidate]:
    """The flags in a state that is asked for, the most trusted first."""
    judged = agreement.judge(flags, reviews)
    fates.state = judged.state
    wanted_states = INCLUDED[settings.include]
    chosen = [flag for flag in flags if fates.state[flag.flag_id] in wanted_states]
    chosen += _other_sides(flags, chosen, fates)
    used = {flag.flag_id for flag in chosen}
    for flag in flags:
        if flag.flag_id not in used:
            fates.left_out[flag.flag_id] = _why_not(flag, judged, settings)
    return sorted(chosen, key=lambda flag: (WORTH[fates.state[flag.flag_id]], flag.flag_id))


def _why_not(flag: Candidate, judged: Judged, settings: Curation) -> str:
    """Why a flag is not included: its state says it, or what its state still wants."""
    state = judged.state[flag.flag_id]
    if state not in (NEW, AGREED):
        return state
    only_names = settings.include == AGREED and flag.flag_id in judged.one_voice
    return "one_voice" if only_names else f"not_{settings.include}"


def _other_sides(flags: list[Candidate], chosen: list[Candidate], fates: Fates) -> list[Candidate]:
    """A vote between two answers is two flags: a maintainer's word on one holds for an undecided other."""
    voted = {(flag.contributor, flag.other_message) for flag in chosen if flag.choice}
    decided = {flag.flag_id for flag in chosen}
    return [
        flag
        for flag in flags
        if flag.choice
        and (flag.contributor, flag.message) in voted
        and fates.state[flag.flag_id] == NEW
        and flag.flag_id not in decided
    ]


def _capped(flags: list[Candidate], most: int, fates: Fates) -> list[Candidate]:
    """No more than so many flags of one contributor; the ids of flags are as good as random."""
    seen: Counter[str] = Counter()
    kept = []
    for flag in flags:
        seen[flag.contributor] += 1
        if seen[flag.contributor] <= most:
            kept.append(flag)
        else:
            fates.left_out[flag.flag_id] = "contributor_cap"
    return kept


def _distinct(flags: list[Candidate], fates: Fates) -> list[Candidate]:
    """Without near-duplicates. Exact ones stay: they become one row that names them all."""
    contents: dict[tuple[bytes | str, ...], int] = {}
    place = [contents.setdefault(_content_key(flag), len(contents)) for flag in flags]
    first = {number: flag for number, flag in reversed(list(zip(place, flags, strict=True)))}
    alike = first_alike([_content(first[number]) for number in range(len(contents))])
    for number, flag in zip(place, flags, strict=True):
        if alike[number] != number:
            fates.left_out[flag.flag_id] = "near_duplicate"
    return [flag for number, flag in zip(place, flags, strict=True) if alike[number] == number]


def _content_key(flag: Candidate) -> tuple[bytes | str, ...]:
    return flag.item_key, flag.answer_key, flag.correction_key, flag.verdict, flag.choice, flag.position


def _content(flag: Candidate) -> Text:
    words = normalised("\n".join((spoken(flag.turns), flag.answer, flag.correction)))
    return Text(
        words, (normalised(flag.system), flag.verdict, bool(flag.correction), flag.choice, flag.position)
    )


def _stands(gathered: Gathered, fates: Fates) -> dict[str, Stands]:
    return {name: Stands(gathered.standing[name].event_id, state) for name, state in fates.state.items()}


def _wrong_answers(gathered: Gathered, fates: Fates) -> set[str]:
    used = (flag for name, flag in gathered.standing.items() if fates.rows.get(name) and not flag.choice)
    return wrong_answers(used, gathered.reviews)


def _mend(replay: Replay, curated: Curated) -> None:
    """Takes rows that give a corrected answer out of the replay; put right, they are rows of the flags."""
    known = {name for name, _ in curated.rows.turns("sft")}
    found = {old: row for old, row in mended(replay.rows, corrections(curated.rows)) if row.id not in known}
    leaks = find_leaks([(row.id, row.prompt) for row in found.values()], _evaluation_prompts(curated.rows))
    replay.drop(found, "mended")
    held_out = {leak.train for leak in leaks}
    curated.mended = list({row.id: row for row in found.values() if row.id not in held_out}.values())
    teaches = {name: list(rows) for name, rows in curated.fates.rows.items()}
    for row in curated.mended:
        for flag in row.line["flags"]:
            teaches[flag].append(f"sft:{row.id}")
    curated.fates.rows = teaches


def _take_for_replay(replay: Replay, curated: Curated, settings: Curation) -> None:
    """As many rows as are asked for, without those that the set has anyway."""
    rows = curated.rows
    replay.drop({name for name, _ in rows.turns("sft")}, "in_the_set")
    if settings.drop_leaks:
        leaks = find_leaks([(row.id, row.prompt) for row in replay.rows], _evaluation_prompts(rows))
        replay.drop({leak.train for leak in leaks}, "leak")
    most = settings.replay_rows or wanted(settings.replay, rows.count("sft"))
    curated.replayed = replay.rows[:most]
    curated.not_replayed = dict(sorted((+replay.left_out).items()))


def _training_prompts(curated: Curated) -> list[tuple[str, str]]:
    own = [
        (f"{name}:{row}", spoken(flag.turns)) for name in FILES[:3] for row, flag in curated.rows.turns(name)
    ]
    return own + [(f"replay:{row.id}", row.prompt) for row in curated.replayed]


def _evaluation_prompts(rows: Rows) -> list[tuple[str, str]]:
    return [(f"eval:{row}", spoken(flag.turns)) for row, flag in rows.turns("eval")]


def _refuse_leaks(leaks: list[Leak]) -> None:
    if leaks:
        told = [f"  {leak.kind}: {leak.train} and {leak.evaluation}: {leak.prompt[-80:]!r}" for leak in leaks]
        more = [f"  and {len(leaks) - MOST_LEAKS_TOLD} more"] if len(leaks) > MOST_LEAKS_TOLD else []
        raise BacktalkError(
            f"{len(leaks)} training rows hold an evaluation prompt, and nothing was written. Take them out "
            "of what is replayed, or give --drop-leaks.\n" + "\n".join(told[:MOST_LEAKS_TOLD] + more)
        )


def _control_tokens(tokenizer: Path | None) -> re.Pattern[str]:
    if tokenizer is None and controls.MINI.exists():
        tokenizer = controls.MINI
    return controls.pattern(controls.added_tokens(tokenizer) if tokenizer else ())


def _at_home() -> list[Path]:
    """The sources of the state folder, with what others sent to the Hub in the meantime."""
    found = sources_at_home()
    if not found:
        raise BacktalkError("There are no flags to curate. Visitors make them in: backtalk chat")
    return found


def _replay_input(source: Path | None) -> list[dict[str, Any]]:
    if source is None:
        return []
    file = source / "sft.jsonl" if source.is_dir() else source
    return [{"path": str(file), "sha256": sha256_of(file), "bytes": file.stat().st_size, "use": "replay"}]


def _told(folder: Path, card: Card) -> Iterable[str]:
    metrics = card.metrics
    rows = metrics["rows"]
    yield f"{metrics['used']:,} of {metrics['events']:,} events are used, {card.recipe['include']} ones only."
    yield f"  sft {rows['sft']:,} rows and {metrics['replayed']:,} replayed, kto {rows['kto']:,}"
    yield f"  dpo {rows['dpo']:,}, eval {rows['eval']:,}"
    for reason, count in sorted(metrics["unused"].items(), key=lambda entry: (-entry[1], entry[0])):
        yield f"  {count:>9,}  {reason}"
    yield f"The set is in {folder}"


def _sha256(text: str) -> str:
    return sha256(text.encode()).hexdigest()
