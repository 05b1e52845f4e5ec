"""Every file that curation writes is one that TRL trains on: one step each, on the bundled model."""

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer

from feedback.curate.curate import Curation, curate
from tests.feedback.events import CORRECTION, flag, segment

MINI = Path(__file__).resolve().parents[3] / "models" / "mini"
ON_A_PLAIN_CPU = {
    "max_steps": 1,
    "per_device_train_batch_size": 4,
    "max_length": 128,
    "bf16": False,
    "gradient_checkpointing": False,
    "use_cpu": True,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
}
TRAINERS = {"sft": (SFTTrainer, SFTConfig), "kto": (KTOTrainer, KTOConfig), "dpo": (DPOTrainer, DPOConfig)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set with good and bad answers, with and without system prompt and earlier turns."""
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
    source = segment(tmp_path / "events.jsonl", events)
    return curate(Curation(include="all", eval_share=0.0), [source])[0]


@pytest.mark.parametrize("name", sorted(TRAINERS))
def test_a_trainer_takes_a_step_on_the_file(name: str, folder: Path, tmp_path: Path) -> None:
    trainer_of, config_of = TRAINERS[name]
    rows: Any = Dataset.from_json(str(folder / f"{name}.jsonl"), cache_dir=str(tmp_path / "cache"))
    trainer = trainer_of(
        model=AutoModelForCausalLM.from_pretrained(MINI),
        args=config_of(output_dir=str(tmp_path / name), **ON_A_PLAIN_CPU),
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(MINI),
    )
    done = trainer.train()
    assert done.global_step == 1
    assert 0 < done.training_loss < 100


def test_the_completion_is_what_the_trainer_learns(folder: Path, tmp_path: Path) -> None:
    rows: Any = Dataset.from_json(str(folder / "sft.jsonl"), cache_dir=str(tmp_path / "cache"))
    tokenizer = AutoTokenizer.from_pretrained(MINI)
    for row in rows:
        whole = tokenizer.apply_chat_template(row["prompt"] + row["completion"], tokenize=False)
        asked = tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
        assert whole == f"{asked}{row['completion'][0]['content']}<|eot_id|>"
