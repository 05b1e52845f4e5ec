"""Rows to replay that give an answer which flags corrected: they get the correction as their answer.

What was right when a corpus was written may be out of date now. Its rows ask for the same fact in words that
nobody has flagged yet; left out they teach nothing, put right they teach what the flags say. This is done
only where it cannot be meant otherwise: the row's whole answer is the flagged one (but for spelling), nobody
calls it good, and flags correct it all in the same words, be it that `FEWEST_PEOPLE` put another number into
the answer's own sentence, or that it is called out of date on `FEWEST` questions. An answer to another
question than was asked is corrected too, and is right where it belongs.

A question that is held out counts, for or against, where a taught one says the same; it is not taught itself.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from feedback.curate.replay import Replayed
from feedback.curate.rows import Row, Rows, row_id
from feedback.curate.sentence import BLANK, sentence
from feedback.curate.similar import normalised

OUTDATED = "outdated"
FEWEST = 3  # questions: below that an answer such as "I do not know" may be wrong for one of them alone
FEWEST_PEOPLE = 2  # where a number is put right: what states one is wrong wherever it is said


@dataclass
class Correction:
    """What is said in place of an answer, and the flags that say so."""

    text: str
    flags: set[str] = field(default_factory=set)
    questions: set[bytes] = field(default_factory=set)
    contributors: set[str] = field(default_factory=set)

    def add(self, row: Row) -> None:
        self.questions.add(row.first.item_key)
        self.contributors |= row.contributors

    def is_enough(self, answer: str) -> bool:
        """Whether so much was said that the answer is wrong wherever it is given."""
        if is_another_value(answer, self.text):
            return len(self.contributors) >= FEWEST_PEOPLE
        return len(self.questions) >= FEWEST


def corrections(rows: Rows) -> dict[str, Correction]:
    """By the normalised answer that is wrong: its one correction. Rows are settled."""
    found: defaultdict[str, dict[str, Correction]] = defaultdict(dict)
    for row in filter(_is_of_the_answer, rows.corrected("sft")):
        text = row.lesson.target
        correction = found[normalised(row.first.answer)].setdefault(normalised(text), Correction(text))
        correction.flags.update(row.flags)
        correction.add(row)
    for row in filter(_is_of_the_answer, rows.corrected("eval")):
        if known := found.get(normalised(row.first.answer)):
            known.setdefault(normalised(row.lesson.target), Correction(row.lesson.target)).add(row)
    for answer in rows.called_good():
        found.pop(normalised(answer), None)
    return {
        answer: correction
        for answer, targets in found.items()
        if len(targets) == 1
        for text, correction in targets.items()
        if text != answer and correction.is_enough(answer)
    }


def _is_of_the_answer(row: Row) -> bool:
    """Whether the answer is corrected, and not what it was given to."""
    flag, target = row.first, row.lesson.target
    return OUTDATED in flag.reasons or is_another_value(flag.answer, target)


def is_another_value(answer: str, correction: str) -> bool:
    """Whether the correction is the answer's own sentence with another number in it."""
    own = sentence(answer, answer, "")
    return BLANK in own.split() and sentence(correction, answer, "") == own


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
