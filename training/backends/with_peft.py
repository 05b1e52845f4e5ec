"""A base with a fresh LoRA adapter, by transformers and PEFT: on a CPU, on CUDA, on MPS."""

from importlib.util import find_spec
from typing import Any

import torch
import transformers
from peft import LoraConfig, get_peft_model

from backtalk.errors import ModelError, WordsError
from backtalk.malloc import give_back_what_is_freed
from training.backends import Plan
from training.base import Base
from training.frozen import widen_when_used
from training.machine import is_tight
from training.recipe import Lora, Recipe
from training.recomputed import compute_anew

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj", "c_attn", "attn.c_proj")
TRANSPOSED = transformers.pytorch_utils.Conv1D  # GPT-2 keeps its matrices the other way round
QUERY_AND_VALUE = ("q_proj", "v_proj", "c_attn")


def load(recipe: Recipe, base: Base, plan: Plan) -> Any:
    """The model in training mode; only the adapter's weights, in float32, have gradients.

    Raises ModelError where the base cannot be read, WordsError where lora.targets or lora.layers names no
    layer of it.
    """
    return with_adapter(open_base(recipe, base, plan), recipe, base)


def open_base(recipe: Recipe, base: Base, plan: Plan) -> Any:
    """The frozen model, as an adapter is put on it. Raises ModelError where it cannot be read."""
    tight = is_tight(plan.device, base.values)
    if tight:
        give_back_what_is_freed()
    model = _base(recipe, base, plan)
    model.config.use_cache = False
    if tight:
        compute_anew(model)
    if plan.numbers.widened and not recipe.base.load_in_4bit:  # packed bytes are no matrix to widen
        widen_when_used(model, model.get_output_embeddings())
    return model


def with_adapter(model: Any, recipe: Recipe, base: Base) -> Any:
    """That model with a fresh adapter, drawn by the recipe's seed, in training mode.

    Raises WordsError where lora.targets or lora.layers names no layer of it.
    """
    check_layers(recipe.lora, model, base)
    transformers.set_seed(recipe.seed)  # the adapter's first weights are drawn next
    try:
        model = get_peft_model(model, lora_config(recipe.lora, model, recipe.base.load_in_4bit))
    except ValueError as fault:
        if "arget modules" not in str(fault):
            raise
        raise WordsError(
            f"lora.targets {list(recipe.lora.targets)} names no layer of {base.folder.name}. "
            f"Its layers are {', '.join(_layers(model))}."
        ) from fault
    if base.repo:
        model.peft_config["default"].revision = base.revision
    return model.train()


def lora_config(lora: Lora, model: Any, quantized: bool) -> LoraConfig:
    """The adapter that the recipe describes, nothing left to PEFT's defaults."""
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.effective_alpha,
        lora_dropout=lora.dropout,
        target_modules=_targets(lora, model),
        layers_to_transform=list(lora.layers) or None,
        use_rslora=lora.rslora,
        use_dora=lora.dora,
        bias="none",
        init_lora_weights=True,
        fan_in_fan_out=any(isinstance(module, TRANSPOSED) for module in model.modules()),
        modules_to_save=None,
        task_type="CAUSAL_LM",
    )


def _base(recipe: Recipe, base: Base, plan: Plan) -> Any:
    options: dict[str, Any] = {"dtype": plan.numbers.hold, "local_files_only": True}
    if recipe.base.load_in_4bit:
        options["quantization_config"] = _four_bits(plan)
    try:
        return transformers.AutoModelForCausalLM.from_pretrained(
            base.folder, attn_implementation="sdpa", trust_remote_code=False, **options
        )
    except (OSError, ValueError, KeyError) as fault:
        raise ModelError(
            f"The base in {base.folder} cannot be loaded ({str(fault).splitlines()[0]}). "
            "A whole Hugging Face folder of a causal language model was wanted."
        ) from fault


def _four_bits(plan: Plan) -> Any:
    if find_spec("bitsandbytes") is None:
        raise WordsError(
            "base.load_in_4bit needs the Python package bitsandbytes, which is not installed here. "
            "Leave load_in_4bit out, or install it."
        )
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=plan.numbers.compute,
    )


def check_layers(lora: Lora, model: Any, base: Base) -> None:
    """Raises WordsError where the base has fewer layers; PEFT would teach what is there and say nothing."""
    there = int(model.config.num_hidden_layers)
    if any(layer >= there for layer in lora.layers):
        raise WordsError(
            f"lora.layers is {list(lora.layers)}, and {base.folder.name} has {there} layers: numbers from 0 "
            f"to {there - 1} were wanted."
        )


def _targets(lora: Lora, model: Any) -> str | list[str]:
    targets = lora.targets
    if not isinstance(targets, str):
        return list(targets)
    if targets == "all-linear":
        return _layers(model) if lora.layers else targets  # PEFT takes numbers of layers beside names alone
    wanted = QUERY_AND_VALUE if targets == "qv" else ATTENTION
    names = [name for name, _ in model.named_modules()]
    return [layer for layer in wanted if any(name.endswith(f".{layer}") for name in names)]


def _layers(model: Any) -> list[str]:
    kinds = (torch.nn.Linear, TRANSPOSED)
    found = {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, kinds)}
    return sorted(found - {"lm_head"})
