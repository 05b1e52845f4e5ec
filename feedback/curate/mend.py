"""Rows to replay that give an answer which flags corrected: they get the correction as their answer.

What was right when a corpus was written may be out of date now. Its rows ask for the same fact in words that
nobody has flagged yet; left out they teach nothing, put right they teach what the flags say. This is done
only where it cannot be meant otherwise: the row's whole answer is the flagged one (but for spelling), nobody
calls it good, and flags correct it all in the same words, either on `FEWEST_OF_A_VALUE` questions with
another number in the answer's own sentence, or on `FEWEST` for which it is called out of date. An answer to
another question than was asked is corrected too, and is right where it belongs.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from feedback.curate.replay import Replayed
from feedback.curate.rows import Rows, row_id
from feedback.curate.sentence import BLANK, sentence
from feedback.curate.similar import normalised

OUTDATED = "outdated"
FEWEST = 3  # questions: below that an answer such as "I do not know" may be wrong for one of them alone
FEWEST_OF_A_VALUE = 2  # what states a number states it of something, and is wrong wherever it is said


@dataclass
class Correction:
    """What is said in place of an answer, and the flags that say so."""

    text: str
    flags: set[str] = field(default_factory=set)
    questions: set[bytes] = field(default_factory=set)


def corrections(rows: Rows) -> dict[str, Correction]:
    """By the normalised answer that is wrong: its one correction. Rows are settled."""
    found: defaultdict[str, dict[str, Correction]] = defaultdict(dict)
    for first, target, flags in rows.taught():
        correction = found[normalised(first.answer)].setdefault(normalised(target), Correction(target))
        correction.flags.update(flags)
        if OUTDATED in first.reasons or is_another_value(first.answer, target):
            correction.questions.add(first.item_key)
    for answer in rows.called_good():
        found.pop(normalised(answer), None)
    return {
        answer: correction
        for answer, targets in found.items()
        if len(targets) == 1
        for text, correction in targets.items()
        if text != answer and len(correction.questions) >= _enough(answer, text)
    }


def is_another_value(answer: str, correction: str) -> bool:
    """Whether the correction is the answer's own sentence with another number in it."""
    own = sentence(answer, answer, "")
    return BLANK in own.split() and sentence(correction, answer, "") == own


def _enough(answer: str, correction: str) -> int:
    return FEWEST_OF_A_VALUE if is_another_value(answer, correction) else FEWEST


def mended(rows: Sequence[Replayed], found: Mapping[str, Correction]) -> Iterator[tuple[str, Replayed]]:
    """Each row that gives one of the answers: the id that it had, and the row as it is taught now."""
    for row in rows:
        correction = found.get(normalised(row.answer))
        if correction:
            completion = [{"role": "assistant", "content": correction.text}]
            content = {"prompt": row.line["prompt"], "completion": completion}
            name = row_id("sft", content)
            yield (
                row.id,
                Replayed(name, row.prompt, {**content, "id": name, "flags": sorted(correction.flags)}),
            )
