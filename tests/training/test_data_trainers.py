"""TRL's trainers take what the data give them: one step each, on the bundled model.

Command: pytest tests/training/test_data_trainers.py
Promise: a real step of SFT, KTO and DPO on the CPU; no network.
"""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer

from tests.training.loading import MINI, loaded, pair, questions, write
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


@pytest.mark.parametrize("form", sorted(TRAINERS))
def test_a_trainer_takes_a_step_on_the_rows(form: str, tmp_path: Path) -> None:
    sources = [write(tmp_path / "rows.jsonl", SOURCES[form])]
    rows = loaded(*sources, *(["finetome"] if form == "sft" else []), form=form, offline=True).train
    trainer_of, config_of = TRAINERS[form]
    trainer = trainer_of(
        model=AutoModelForCausalLM.from_pretrained(MINI),
        args=config_of(output_dir=str(tmp_path / form), **ON_A_PLAIN_CPU),
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(MINI),
    )
    done = trainer.train()
    assert done.global_step == 1
    assert 0 < done.training_loss < 100


def test_rows_become_whole_messages_unless_an_answer_is_not_to_be_learned() -> None:
    rows = loaded("finetome", offline=True).train
    whole = [as_messages(row)["messages"] for row in rows]
    assert all(messages[-1]["role"] == "assistant" for messages in whole)
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    with pytest.raises(ValueError, match="holds an answer that is not to be learned"):
        as_messages({"id": "x", "prompt": [*talk, *talk[:1]], "completion": talk[1:]})
