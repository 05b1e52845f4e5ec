"""A base with a fresh LoRA adapter, by Unsloth: on CUDA, and by its own path on a CPU.

Unsloth takes what the recipe says and PEFT's own description of the adapter, so that it trains what the other
backend trains. Its adapter is a PEFT model: it is saved, merged and exported by the same code.
"""

import os
import sys
from contextlib import redirect_stdout
from importlib.util import find_spec
from typing import Any

from backtalk.errors import BacktalkError, ModelError, WordsError
from backtalk.home import home
from training.backends import Plan
from training.base import Base
from training.frozen import widen_when_used
from training.recipe import Recipe


def open_first() -> None:
    """Loads Unsloth, which exchanges parts of transformers, TRL and PEFT and so has to come before them.

    Raises BacktalkError where it is installed and cannot be loaded.
    """
    if "unsloth" in sys.modules:
        return
    os.environ["UNSLOTH_DISABLE_STATISTICS"] = "1"
    os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(home() / "unsloth_compiled_cache"))
    try:
        with redirect_stdout(sys.stderr):
            import unsloth  # noqa: F401
    except (ImportError, NotImplementedError, RuntimeError) as fault:
        reason = (str(fault).strip() or type(fault).__name__).splitlines()[0]
        raise BacktalkError(
            f"Unsloth is installed here and cannot be loaded ({reason}). "
            "Set it up anew with `make setup-unsloth`, or use backend: peft, which trains the same."
        ) from fault


def load(recipe: Recipe, base: Base, plan: Plan) -> Any:
    """The model in training mode; only the adapter's weights, in float32, have gradients.

    Raises ModelError where the base cannot be read, WordsError where lora.targets names no layer of it.
    """
    open_first()
    with redirect_stdout(sys.stderr):  # Unsloth says what it does with print
        model = _base(recipe, base, plan)
        if plan.numbers.widened and not recipe.base.load_in_4bit:
            widen_when_used(model, model.get_output_embeddings())
        model = _with_adapter(model, recipe, base, plan)
    model.config.use_cache = False
    if base.repo:
        model.peft_config["default"].revision = base.revision
    return model.train()


def _base(recipe: Recipe, base: Base, plan: Plan) -> Any:
    """The frozen model; a folder of its own, so that Unsloth takes no other repository in its place."""
    from unsloth import FastLanguageModel

    four_bits = recipe.base.load_in_4bit
    if four_bits and find_spec("bitsandbytes") is None:
        # Unsloth would load 16 bits in their place.
        raise WordsError(
            "base.load_in_4bit needs the Python package bitsandbytes, which is not installed here. "
            "Leave load_in_4bit out, or install it."
        )
    try:
        model, _ = FastLanguageModel.from_pretrained(
            model_name=str(base.folder),
            use_exact_model_name=True,
            local_files_only=True,
            trust_remote_code=False,
            dtype=plan.numbers.compute if four_bits else plan.numbers.hold,
            load_in_4bit=four_bits,
            load_in_8bit=False,
            load_in_16bit=not four_bits,
            full_finetuning=False,
            max_seq_length=_longest(recipe, base),
            use_gradient_checkpointing=_checkpointing(plan),
            random_state=recipe.seed,
            fast_inference=False,
        )
    except (OSError, ValueError, KeyError) as fault:
        raise ModelError(
            f"The base in {base.folder} cannot be loaded by Unsloth ({str(fault).splitlines()[0]}). "
            "A whole Hugging Face folder of a causal language model was wanted; or use backend: peft."
        ) from fault
    return model


def _with_adapter(model: Any, recipe: Recipe, base: Base, plan: Plan) -> Any:
    """The model with the adapter that the other backend would put on it, drawn from the same seed."""
    from unsloth import FastLanguageModel

    from training.backends.with_peft import check_layers, lora_config

    check_layers(recipe.lora, model, base)
    wanted = lora_config(recipe.lora, model, recipe.base.load_in_4bit)
    targets = wanted.target_modules
    try:
        return FastLanguageModel.get_peft_model(
            model,
            r=wanted.r,
            lora_alpha=wanted.lora_alpha,
            lora_dropout=wanted.lora_dropout,
            target_modules=targets if isinstance(targets, str) else sorted(targets),
            layers_to_transform=wanted.layers_to_transform,
            use_rslora=wanted.use_rslora,
            use_dora=wanted.use_dora,
            bias=wanted.bias,
            init_lora_weights=wanted.init_lora_weights,
            modules_to_save=wanted.modules_to_save,
            use_gradient_checkpointing=_checkpointing(plan),
            max_seq_length=_longest(recipe, base),
            random_state=recipe.seed,
        )
    except ValueError as fault:
        if "arget modules" not in str(fault):
            raise
        raise WordsError(
            f"lora.targets {list(recipe.lora.targets)} names no layer of {base.folder.name}. "
            "Name qv, attention, all-linear, or layers of it such as q_proj."
        ) from fault


def _longest(recipe: Recipe, base: Base) -> int:
    """Tokens of the longest row: from more than the base has learned, Unsloth would stretch its positions."""
    return min(recipe.batch.max_length, int(base.config.get("max_position_embeddings") or 2**31))


def _checkpointing(plan: Plan) -> str | bool:
    """Unsloth's own way of computing layers twice, which keeps what it needs in the host's memory."""
    return "unsloth" if plan.checkpoints_layers else False
