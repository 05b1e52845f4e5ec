"""Everything that was scored, and what cards and items.jsonl tell of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.evaluation import compare
from training.evaluation.compare import Pair
from training.evaluation.items import PARTS
from training.evaluation.order import Order
from training.evaluation.scores import Scored, as_json, summary
from training.evaluation.subject import Subject


@dataclass(frozen=True)
class Results:
    """Scores by role ("model", "baseline") and prompt, each in the order of the items."""

    order: Order
    subjects: Mapping[str, Subject]
    scored: Mapping[tuple[str, str], Sequence[Scored]]

    def part(self, role: str, prompt: str, part: str) -> list[Scored]:
        return [one for one in self.scored[role, prompt] if one.item.part == part]

    def pairs(self, prompt: str, part: str) -> list[Pair]:
        """The baseline's and the model's results on the items of a part."""
        before, after = (self.part(role, prompt, part) for role in ("baseline", "model"))
        return list(zip(before, after, strict=True))

    def metrics(self) -> dict[str, Any]:
        """The numbers of the card: every model's, and with a baseline the differences."""
        places = [
            (part, prompt) for part in PARTS if self.order.files.get(part) for prompt in self.order.prompts
        ]
        models = [
            {"role": role, "name": subject.name, "prompt": prompt, "part": part}
            | summary(self.part(role, prompt, part))
            for part, prompt in places
            for role, subject in self.subjects.items()
        ]
        if not self.order.baseline:
            return {"models": models}
        compared = [(part, prompt, self.pairs(prompt, part)) for part, prompt in places]
        differences = [
            {"prompt": prompt, "part": part, "metric": metric} | compare.as_json(found)
            for part, prompt, pairs in compared
            for metric, found in compare.differences(pairs).items()
        ]
        changes = [
            {"prompt": prompt, "part": part} | compare.changes(pairs)
            for part, prompt, pairs in compared
            if any(compare.change(pair) for pair in pairs)
        ]
        return {"models": models, "differences": differences, "changes": changes}

    def rows(self) -> Iterator[dict[str, Any]]:
        """The lines of items.jsonl."""
        for prompt in self.order.prompts:
            for place, one in enumerate(self.scored["model", prompt]):
                item = one.item
                row: dict[str, Any] = {
                    "id": item.id,
                    "part": item.part,
                    "prompt": prompt,
                    "cluster": item.cluster,
                    "messages": list(item.messages),
                    "reference": item.reference,
                    "must": list(item.must),
                    "must_not": list(item.must_not),
                    "model": as_json(one),
                }
                if self.order.baseline:
                    before = self.scored["baseline", prompt][place]
                    row |= {"baseline": as_json(before), "change": compare.change((before, one))}
                yield row
