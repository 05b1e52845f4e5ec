"""One training in a process of its own, so that its memory is its own; bench/train.py compares them.

    python bench/contender.py FOLDER '{"kind": "ours", "recipe": "..."}'
    python bench/contender.py FOLDER '{"kind": "trl", "base": "...", "rows": "...", "settings": {}}'

FOLDER/steps.jsonl gets a line for each step: tokens without padding, seconds, loss, and the most bytes that
the process held so far; what is there when a contender is stopped for taking too long counts. FOLDER/began
says when the first step began. The adapter is left in FOLDER/adapter.
"""

import json
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backtalk.files import read_jsonl

LORA = {"r": 16, "alpha": 32, "targets": "all-linear"}
STEPS, BEGAN = "steps.jsonl", "began"


def main() -> None:
    folder, order = Path(sys.argv[1]), json.loads(sys.argv[2])
    warnings.filterwarnings("ignore", category=FutureWarning)
    {"ours": _ours, "trl": _trl}[order["kind"]](folder, order)


def _ours(folder: Path, order: dict[str, Any]) -> None:
    """`backtalk train`, told of each step as any user is: by metrics.jsonl."""
    from training import train

    train.quiet(offline=True)  # as the verb does: libraries read the environment when they are loaded
    import training.sft
    from training import watch

    if not order.get("by_places", True):
        training.sft.can_learn_by_places = lambda _: False
    os.environ["BACKTALK_HOME"] = str(folder / "home")
    add, begin = watch.Metrics.add, watch.Watch.on_step_begin

    def begun(self: Any, *words: Any, **more: Any) -> None:
        begin(self, *words, **more)
        if not (folder / BEGAN).exists():
            (folder / BEGAN).write_text(str(time.time()))

    def added(self: Any, row: dict[str, Any]) -> None:
        add(self, row)
        _note(folder, row["tokens"], row["seconds"], row["loss"])

    watch.Watch.on_step_begin, watch.Metrics.add = begun, added
    assert train.main([order["recipe"], "--offline"]) == 0
    (card,) = (folder / "home").glob("runs/*/card.json")
    shutil.copytree(card.parent, folder / "adapter")


def _trl(folder: Path, order: dict[str, Any]) -> None:
    """TRL's SFTTrainer as its documentation shows it; `settings` are what is changed of its defaults."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    config = SFTConfig(
        output_dir=str(folder / "trl"), report_to="none", save_strategy="no", logging_steps=1,
        disable_tqdm=True, use_cpu=True, **order["settings"],
    )  # fmt: skip
    lora = LoraConfig(
        r=LORA["r"], lora_alpha=LORA["alpha"], target_modules=LORA["targets"], task_type="CAUSAL_LM"
    )
    trainer = SFTTrainer(
        model=order["base"],
        args=config,
        train_dataset=Dataset.from_list(list(read_jsonl(Path(order["rows"])))),
        processing_class=AutoTokenizer.from_pretrained(order["base"]),
        peft_config=lora,
    )
    seen = _counted(trainer)
    trainer.add_callback(_clock(folder, seen))
    trainer.train()
    trainer.model.save_pretrained(folder / "adapter", save_embedding_layers=False)


def _counted(trainer: Any) -> Callable[[], int]:
    """How many tokens the trainer has read, padding left out."""
    collate, seen = trainer.data_collator, [0]

    def counting(examples: Any) -> Any:
        batch = collate(examples)
        seen.append(int(batch["attention_mask"].sum()))
        return batch

    trainer.data_collator = counting
    return lambda: seen[-1]


def _clock(folder: Path, tokens: Callable[[], int]) -> Any:
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        """As training/watch.py counts: a step begins when its batch is there."""

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            (folder / BEGAN).write_text(str(time.time()))

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.monotonic()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any, **_: Any) -> None:
            if "loss" in logs:
                _note(folder, tokens(), time.monotonic() - self.began, logs["loss"])

    return Clock()


def _note(folder: Path, tokens: int, seconds: float, loss: float) -> None:
    from training.machine import peak_memory

    row = {"tokens": tokens, "seconds": seconds, "loss": loss, "peak_bytes": peak_memory("cpu")}
    with open(folder / STEPS, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
