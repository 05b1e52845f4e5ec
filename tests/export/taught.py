"""Bases and adapters as a run leaves them, made by PEFT itself, for the tests of merging."""

import shutil
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from backtalk.card import Card, file_entry, write_card

MINI = Path(__file__).resolve().parents[2] / "models" / "mini"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
OF_BASE = ("config.json", "generation_config.json", *TOKENIZER)
IDS = torch.tensor([[3840, 5, 17, 300, 3849, 42, 9, 1000, 7, 4000, 2, 3]])


def mini_folder(folder: Path) -> Path:
    """The bundled model's base files, somewhere else."""
    folder.mkdir(parents=True)
    for name in (*OF_BASE, "model.safetensors"):
        shutil.copy(MINI / name, folder / name)
    return folder


def gpt2_folder(folder: Path) -> Path:
    """A small random GPT-2: its matrices keep inputs as rows, one of them is square."""
    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=4096,
        n_positions=64,
        n_embd=32,
        n_layer=2,
        n_head=2,
        bos_token_id=3840,
        eos_token_id=3849,
        initializer_range=0.2,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    for name in TOKENIZER:
        shutil.copy(MINI / name, folder / name)
    return folder


def taught(base: Path, **config: Any) -> Any:
    """A PEFT model on `base` in float32 whose every trainable value was moved by a fixed draw."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "k_proj"], **config}
    model = get_peft_model(model, LoraConfig(**config)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight) * 0.02)
    return model


def save_run(model: Any, base: Path, run: Path, recipe: dict[str, Any] | None = None, **place: Any) -> Path:
    """The adapter and the card of its run; `place` says where the base is, its folder by default."""
    model.save_pretrained(run)
    place = place or {"folder": str(base)}
    files = sorted(path for path in base.iterdir() if path.name != "card.json")
    inputs = [{"role": "base", **place, **file_entry(path, base)} for path in files]
    write_card(run, Card(kind="run", id="taught", inputs=inputs, recipe=recipe or {}, seed=5))
    return run


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS).logits[0]


def loaded(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
