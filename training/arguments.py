"""What each of TRL's trainers is told: all of it said, so that no library's defaults decide over anything."""

import math
from pathlib import Path
from typing import Any

from training.backends import Plan
from training.recipe import Recipe

OPTIMISERS = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_bnb_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
}
SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


def arguments(recipe: Recipe, plan: Plan, steps: int, folder: Path) -> dict[str, Any]:
    """The arguments that SFTConfig, KTOConfig and DPOConfig share; `folder` takes the checkpoints."""
    batch, optimiser, compute = recipe.batch, recipe.optimiser, str(plan.numbers.compute)
    on_gpu = plan.device == "cuda"
    return {
        "output_dir": str(folder),
        "run_name": recipe.name,
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "use_cpu": plan.device == "cpu",
        # data: rows come as tokens, in their order, of a length that was checked
        "train_sampling_strategy": "sequential",
        "max_length": None,
        "remove_unused_columns": False,
        "dataloader_drop_last": False,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": on_gpu,
        "ignore_data_skip": False,
        # how
        "max_steps": steps,
        "per_device_train_batch_size": batch.size,
        "gradient_accumulation_steps": batch.accumulation,
        "label_smoothing_factor": 0.0,
        "neftune_noise_alpha": None,
        "average_tokens_across_devices": True,
        "optim": OPTIMISERS[optimiser.name],
        "optim_args": None,
        "learning_rate": optimiser.rate,
        "adam_beta1": optimiser.beta1,
        "adam_beta2": optimiser.beta2,
        "adam_epsilon": optimiser.epsilon,
        "weight_decay": optimiser.weight_decay,
        "max_grad_norm": optimiser.clip,
        "lr_scheduler_type": SCHEDULES[recipe.schedule.shape],
        "lr_scheduler_kwargs": None,
        "warmup_steps": math.ceil(recipe.schedule.warmup * steps),
        # on what; on a CPU weights of 16 bits are computed with as they are, without autocast's copies
        "bf16": on_gpu and compute == "torch.bfloat16",
        "fp16": on_gpu and compute == "torch.float16",
        "tf32": None,
        "gradient_checkpointing": plan.checkpoints_layers,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "activation_offloading": False,
        "torch_compile": False,
        "auto_find_batch_size": False,
        "use_liger_kernel": False,
        # what is written
        "eval_strategy": "no",
        "save_strategy": "steps",
        "save_steps": recipe.checkpoints.every,
        "save_total_limit": None,
        "save_only_model": False,
        "load_best_model_at_end": False,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": _trackers(recipe),
        "disable_tqdm": True,
        "push_to_hub": False,
    }


def _trackers(recipe: Recipe) -> list[str]:
    wanted = {"tensorboard": recipe.logging.tensorboard, "trackio": recipe.logging.trackio}
    return [name for name, chosen in wanted.items() if chosen] or ["none"]
