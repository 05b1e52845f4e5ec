"""Examples as the rows of a `datasets.Dataset`, in the conversational formats that TRL's trainers take.

| form | columns |
|---|---|
| sft | `prompt`, `completion` |
| kto | `prompt`, `completion`, `label`, `weight` |
| dpo | `prompt`, `chosen`, `rejected` |

and in each `id` and `source`. Every assistant message of a completion is learned; a completion of several
turns also holds what the user said in between, which is not.
"""

from collections.abc import Sequence
from typing import Any

from training.data.example import Example, Message
from training.data.recipe import Form


def as_dataset(examples: Sequence[Example], form: Form) -> Any:
    """The examples in their order, with all columns even where there are no rows; it lies in memory."""
    from datasets import Dataset

    rows = [columns(example, form) for example in examples]
    features = _features(form)
    return Dataset.from_dict({name: [row[name] for row in rows] for name in features}, features=features)


def columns(example: Example, form: Form) -> dict[str, Any]:
    """One row."""
    row: dict[str, Any] = {"prompt": _listed(example.prompt)}
    if form == "dpo":
        row |= {"chosen": _listed(example.completion), "rejected": _listed(example.rejected)}
    else:
        row["completion"] = _listed(example.completion)
    if form == "kto":
        row |= {"label": bool(example.label), "weight": example.weight}
    return {**row, "id": example.id, "source": example.source}


def as_messages(row: dict[str, Any]) -> dict[str, Any]:
    """An sft row with `messages` alone, for a trainer that learns all assistant turns of a conversation.

    Raises ValueError where the prompt holds an answer, which would then be learned too.
    """
    if any(message["role"] == "assistant" for message in row["prompt"]):
        raise ValueError(f"The prompt of row {row['id']} holds an answer that is not to be learned.")
    return {"messages": row["prompt"] + row["completion"]}


def _listed(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": one["role"], "content": one["content"]} for one in messages]


def _features(form: Form) -> Any:
    from datasets import Features, List, Value

    text, said = Value("string"), List({"role": Value("string"), "content": Value("string")})
    answers = ("chosen", "rejected") if form == "dpo" else ("completion",)
    more = {"label": Value("bool"), "weight": Value("float64")} if form == "kto" else {}
    return Features({"prompt": said, **{name: said for name in answers}, **more, "id": text, "source": text})
