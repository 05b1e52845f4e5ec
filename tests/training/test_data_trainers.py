"""TRL's trainers take what curation writes and what the data give them: one step each, on a small model.

Command: pytest tests/training/test_data_trainers.py
Promise: a real step of SFT, KTO and DPO on the CPU, on the files of a curated set as they are and on loaded
rows; no network.
"""

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer

from feedback.curate.curate import Curation, curate
from tests.feedback.events import CORRECTION, flag, segment
from tests.training.loading import MINI, loaded, pair, questions, write
from tests.training.teaching import small_base
from training.data.form import as_messages

ON_A_PLAIN_CPU = {
    "max_steps": 1,
    "per_device_train_batch_size": 4,
    "max_length": 256,
    "bf16": False,
    "gradient_checkpointing": False,
    "use_cpu": True,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
}
TRAINERS = {"sft": (SFTTrainer, SFTConfig), "kto": (KTOTrainer, KTOConfig), "dpo": (DPOTrainer, DPOConfig)}
SOURCES: dict[str, Any] = {
    "sft": [pair(**row) for row in questions(8)],
    "kto": [pair(**row, label=n % 2 == 0) for n, row in enumerate(questions(8))],
    "dpo": [
        {"prompt": row["prompt"], "chosen": row["completion"], "rejected": "No."} for row in questions(8)
    ],
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_base(tmp_path_factory.mktemp("base") / "small")


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with good and bad answers, with and without system prompt and earlier turns."""
    place = tmp_path_factory.mktemp("curated")
    events = [
        flag(
            f"who{n}",
            "bad" if n % 2 else "good",
            ["factual_error"] if n % 2 else ["clear"],
            correction=f"{CORRECTION} Or {n}." if n % 2 else "",
            question=f"How long can I return item {n}?",
            system="Be brief." if n % 3 else "",
            earlier=("Hello.", "Hello, how can I help?") if n % 4 else (),
        )
        for n in range(12)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BACKTALK_HOME", str(place / "home"))
        everything = Curation(include="all", eval_share=0.0)
        return curate(everything, [segment(place / "events.jsonl", events)])[0]


@pytest.mark.parametrize("form", sorted(TRAINERS))
def test_a_trainer_takes_a_step_on_the_loaded_rows(form: str, base: Path, tmp_path: Path) -> None:
    sources = [write(tmp_path / "rows.jsonl", SOURCES[form])]
    rows = loaded(*sources, *(["finetome"] if form == "sft" else []), form=form, offline=True).train
    assert_takes_a_step(form, rows, base, tmp_path)


@pytest.mark.parametrize("form", sorted(TRAINERS))
def test_a_trainer_takes_a_step_on_a_curated_file(
    form: str, base: Path, curated: Path, tmp_path: Path
) -> None:
    assert_takes_a_step(form, rows_of(curated, form, tmp_path), base, tmp_path)


def assert_takes_a_step(form: str, rows: Any, base: Path, place: Path) -> None:
    trainer_of, config_of = TRAINERS[form]
    trainer = trainer_of(
        model=AutoModelForCausalLM.from_pretrained(base),
        args=config_of(output_dir=str(place / form), **ON_A_PLAIN_CPU),
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(base),
    )
    done = trainer.train()
    assert done.global_step == 1
    assert 0 < done.training_loss < 100


def rows_of(curated: Path, form: str, cache: Path) -> Any:
    return Dataset.from_json(str(curated / f"{form}.jsonl"), cache_dir=str(cache / "cache"))


def test_the_completion_of_a_curated_row_is_what_the_trainer_learns(curated: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(MINI)
    for row in rows_of(curated, "sft", tmp_path):
        whole = tokenizer.apply_chat_template(row["prompt"] + row["completion"], tokenize=False)
        asked = tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
        assert whole == f"{asked}{row['completion'][0]['content']}<|eot_id|>"


def test_rows_become_whole_messages_unless_an_answer_is_not_to_be_learned() -> None:
    rows = loaded("finetome", offline=True).train
    whole = [as_messages(row)["messages"] for row in rows]
    assert all(messages[-1]["role"] == "assistant" for messages in whole)
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    with pytest.raises(ValueError, match="holds an answer that is not to be learned"):
        as_messages({"id": "x", "prompt": [*talk, *talk[:1]], "completion": talk[1:]})
