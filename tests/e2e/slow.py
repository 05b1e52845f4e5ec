"""A model that takes its time: random weights, which hardly ever find an end."""

import shutil
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from export.convert import convert

MINI = Path(__file__).parents[2] / "models" / "mini"
LARGER = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12}


def make_slow_model(folder: Path) -> Path:
    """A larger sister of the bundled model with its tokenizer; it has learned nothing."""
    torch.manual_seed(0)
    config = LlamaConfig.from_pretrained(MINI, **LARGER)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(MINI / name, folder)
    return convert(folder, folder / "slow-Q8_0.gguf", "Q8_0")
