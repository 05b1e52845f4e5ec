"""A base and an adapter become one model: what the run taught is added to the weights that it was taught on.

    python -m export merge runs/7f3a/adapter merged/7f3a

The adapter's card says which base; nothing else does. The model is written tensor by tensor in the base's own
files and types: sums are exact in float32 and rounded once. Bytes repeat. The card is written last.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from backtalk.card import NAME as CARD
from backtalk.card import Card, file_entry, read_card, write_card
from backtalk.errors import BacktalkError, ModelError, WordsError
from backtalk.files import read_json, sha256_of, write_json
from backtalk.progress import Progress
from backtalk.verb import Parser, report_json
from export.architectures import ARCHITECTURES
from export.foundation import CONFIG, Foundation, find_base
from export.lora import CONFIG as LORA_CONFIG
from export.lora import WEIGHTS, Lora, read_lora
from export.shards import Planned, write_shard
from export.taught import Blocks, as_stored, check_frozen, taught_bias, taught_blocks
from export.unfinished import unfinished
from export.weights import INDEX, Stored, stored_in, weight_files

TYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
EMBEDDINGS = ("embed_tokens", "wte", "embed_in", "word_embeddings")
HEAD = "lm_head"
OUTPUT = f"{HEAD}.weight"
HEAD_ROOM = 2**26  # bytes left free beside the model, for its card and whoever else writes


@dataclass
class Plan:
    """What will be written: file name -> its tensors, and whether embeddings and output are one matrix."""

    shards: dict[str, list[Planned]]
    tied: bool
    taught: set[str] = field(default_factory=set)

    @property
    def bytes(self) -> int:
        return sum(tensor.bytes for tensors in self.shards.values() for tensor in tensors)


def merge(
    adapter: Path, out: Path, *, base: Path | None = None, type: str = "", progress: Progress | None = None
) -> Card:
    """Writes base and adapter as one Hugging Face model folder `out` and returns its card.

    `base` is where the base lies now, if not where the adapter's card says. `type` is BF16, F16 or F32,
    else the base's own. A finished folder of the same adapter is left as it is. Raises ModelError.
    """
    if type not in ("", *TYPES):
        raise WordsError(f"'{type}' is not a type that is written here. Known are {', '.join(TYPES)}.")
    progress = progress or Progress()
    run = read_run(adapter)
    lora = read_lora(adapter)
    if done := _finished(out, adapter, type):
        return done
    foundation = find_base(run, adapter, base)
    plan = _plan(lora, foundation, type)
    _check_room(out, plan.bytes)
    names = {*plan.shards, *foundation.companions, CONFIG, *([INDEX] if len(plan.shards) > 1 else [])}
    _check_clean(out, names)
    for name, tensors in plan.shards.items():
        write_shard(out / name, tensors, _reporting(progress, plan.bytes))
    _write_beside(out, foundation, plan, type)
    card = _card(run, adapter, foundation, plan, type)
    write_card(out, card, libraries=("numpy",))
    progress.done(f"{out}: {len(plan.taught)} tensors taught, {plan.bytes / 1e6:.1f} MB")
    return card


# ---- what is there


def read_run(adapter: Path) -> Card:
    """The card of the run, whose adapter files are still the ones it wrote. Raises ModelError."""
    run = read_card(adapter)
    if run.kind != "run":
        raise ModelError(f"{adapter} is a {run.kind or 'folder'} and the folder of a run was wanted.")
    for entry in run.outputs:
        path = adapter / entry["path"]
        if entry["path"] in (WEIGHTS, LORA_CONFIG) and path.is_file() and sha256_of(path) != entry["sha256"]:
            raise ModelError(
                f"{path} has sha256 {sha256_of(path)[:12]} and its card says {entry['sha256'][:12]}: it was "
                "changed or damaged after the run. Train again, or copy the run anew."
            )
    return run


def _finished(out: Path, adapter: Path, type: str) -> Card | None:
    """The card of `out` where it is this very merge already."""
    if not (out / CARD).is_file():
        return None
    card = read_card(out)
    taught = [entry["sha256"] for entry in card.inputs if entry.get("role") == "adapter"]
    if (
        taught == [entry["sha256"] for entry in _adapter_entries(adapter)]
        and card.metrics.get("type") == type
    ):
        return card
    raise BacktalkError(
        f"{out} holds {card.id or 'something else'} already. Name another folder, or delete it."
    )


def _check_clean(out: Path, names: set[str]) -> None:
    """An unfinished merge may lie there; anything else is not ours to mix with."""
    found = {path.name for path in out.iterdir()} if out.is_dir() else set()
    foreign = sorted(name for name in found - names if not name.endswith(".part"))
    if foreign:
        raise BacktalkError(
            f"{out} holds files of something else ({foreign[0]}). Name an empty or a new folder."
        )


def _check_room(out: Path, needed: int) -> None:
    place = next(folder for folder in (out, *out.resolve().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if free < needed + HEAD_ROOM:
        raise ModelError(
            f"{place} has {free / 1e9:.1f} GB free, and the merged model needs "
            f"{(needed + HEAD_ROOM) / 1e9:.1f} GB. Make room, or name a folder on another disk."
        )


# ---- what will be written


def _plan(lora: Lora, foundation: Foundation, type: str) -> Plan:
    config = read_json(foundation.folder / CONFIG)
    files = {path.name: stored_in(path) for path in weight_files(foundation.folder)}
    everything = {stored.name: stored for tensors in files.values() for stored in tensors}
    full = _full_names(everything, lora)
    tied = _is_tied(config, everything)
    embedding = next((name for name in full.values() if _module(name).rpartition(".")[2] in EMBEDDINGS), "")
    stays_tied = tied and not _trained_apart(lora, _module(embedding))
    plan = Plan({}, tied=stays_tied)
    for file, tensors in files.items():
        plan.shards[file] = []
        for stored in tensors:
            name = full[stored.name]
            if tied and _module(name) == HEAD:
                continue  # written beside the embeddings where it is a matrix of its own from now on
            plan.shards[file].append(_planned(plan, lora, config, name, stored, type))
            if tied and name == embedding and not stays_tied:
                plan.shards[file].append(_planned(plan, lora, config, OUTPUT, stored, type, OUTPUT))
    _check_all_used(lora, plan)
    return plan


def _planned(
    plan: Plan, lora: Lora, config: dict[str, Any], name: str, stored: Stored, type: str, rename: str = ""
) -> Planned:
    """How the tensor is written that the adapter calls `name`: taught, changed in type, or as it lies."""
    check_frozen(lora, stored, name)
    kind = type or stored.type
    blocks = _taught(lora, config, name, stored)
    if blocks is not None:
        plan.taught.add(name)
    elif kind == stored.type:
        blocks = partial(_as_it_lies, stored)
    return Planned(rename or stored.name, kind, stored.shape, blocks or partial(as_stored, stored))


def _taught(lora: Lora, config: dict[str, Any], name: str, stored: Stored) -> Blocks | None:
    if name.endswith(".bias"):
        return taught_bias(lora, _module(name), stored)
    return taught_blocks(lora, _module(name), stored, _inputs_are_rows(name, config))


def _as_it_lies(stored: Stored) -> Iterator[np.ndarray]:
    raw = stored.raw()
    for start in range(0, len(raw), HEAD_ROOM):
        yield raw[start : start + HEAD_ROOM]


def _full_names(everything: dict[str, Stored], lora: Lora) -> dict[str, str]:
    """Stored name -> the name that the adapter uses: older files leave out the model's first part."""
    firsts = {module.partition(".")[0] for module in lora.modules} - {HEAD}
    names = {}
    for name in everything:
        longer = [
            f"{first}.{name}" for first in firsts if f"{first}.{name}".rpartition(".")[0] in lora.modules
        ]
        names[name] = longer[0] if longer and _module(name) not in lora.modules else name
    return names


def _is_tied(config: dict[str, Any], everything: dict[str, Stored]) -> bool:
    told = config.get("tie_word_embeddings")
    return OUTPUT not in everything if told is None else bool(told)


def _trained_apart(lora: Lora, embedding: str) -> bool:
    """True where training has made two matrices of tied embeddings.

    PEFT itself keeps single trained rows tied, and everything where `ensure_weight_tying` was set. What else
    was trained on one side was computed with the other side as it was.
    """
    if lora.tied and embedding in lora.modules:
        return False
    return HEAD in lora.modules or (embedding in lora.modules and embedding not in lora.tokens)


def _check_all_used(lora: Lora, plan: Plan) -> None:
    """Whatever the adapter teaches has found its place in the base."""
    wanted = {f"{module}.weight" for module in (*lora.pairs, *lora.tokens)} | set(lora.whole)
    wanted |= {f"{module}.bias" for module, pair in lora.pairs.items() if pair.bias is not None}
    if plan.tied and lora.tied:
        wanted.discard(OUTPUT)  # the same rows as those of the embeddings
    if lost := sorted(wanted - plan.taught):
        raise ModelError(
            f"The adapter teaches {lost[0]} ({len(lost)} such), which its base does not have. "
            "Merge it with PEFT, or train with modules that the base has."
        )


def _inputs_are_rows(name: str, config: dict[str, Any]) -> bool:
    """True for the matrices of GPT-2, which multiply from the other side."""
    known = ARCHITECTURES.get(str((config.get("architectures") or [""])[0]))
    return known is not None and name.endswith(known.transposed)


def _module(name: str) -> str:
    return name.rpartition(".")[0]


# ---- what lies beside the weights


def _write_beside(out: Path, foundation: Foundation, plan: Plan, type: str) -> None:
    for name in foundation.companions:
        if name != CONFIG:
            with unfinished(out / name) as part:
                part.write_bytes((foundation.folder / name).read_bytes())
    config = read_json(foundation.folder / CONFIG)
    if not plan.tied and config.get("tie_word_embeddings", True):
        config["tie_word_embeddings"] = False
    if type:
        config["torch_dtype" if "torch_dtype" in config else "dtype"] = TYPES[type]
    write_json(out / CONFIG, config)
    if len(plan.shards) > 1:
        weight_map = {tensor.name: file for file, tensors in plan.shards.items() for tensor in tensors}
        total = {"total_size": plan.bytes}
        write_json(out / INDEX, {"metadata": total, "weight_map": dict(sorted(weight_map.items()))})


def _card(run: Card, adapter: Path, foundation: Foundation, plan: Plan, type: str) -> Card:
    """Base and adapter are its inputs; the recipe is the run's, since the merge decides nothing."""
    metrics: dict[str, Any] = {"type": type, "taught": len(plan.taught), "tied": plan.tied}
    if foundation.note:
        metrics["note"] = foundation.note
    return Card(
        kind="merged",
        id=run.id,
        inputs=[*map(dict, foundation.entries), *_adapter_entries(adapter)],
        recipe=run.recipe,
        seed=run.seed,
        metrics=metrics,
    )


def _adapter_entries(adapter: Path) -> list[dict[str, Any]]:
    names = (LORA_CONFIG, WEIGHTS, CARD)
    return [
        {"role": "adapter", "folder": str(adapter), **file_entry(adapter / name, adapter)} for name in names
    ]


def _reporting(progress: Progress, total: int) -> Callable[[int], None]:
    written = 0

    def report(more: int) -> None:
        nonlocal written
        written += more
        progress.report(f"merging: {written / 1e6:.0f} of {total / 1e6:.0f} MB")

    return report


def main(argv: list[str]) -> int:
    """`python -m export merge ADAPTER OUT`."""
    parser = Parser(
        prog="python -m export merge",
        description="A base and an adapter as one Hugging Face model folder.",
        example="python -m export merge .backtalk/runs/7f3a/adapter merged/7f3a",
    )
    parser.add_argument("adapter", type=Path, help="folder with an adapter and the card of its run")
    parser.add_argument("out", type=Path, help="the folder to write")
    parser.add_argument(
        "--base", type=Path, metavar="DIR", help="where the base lies, if not where the card says"
    )
    parser.add_argument(
        "--type", default="", metavar="TYPE", help=f"{', '.join(TYPES)}; else the base's own types"
    )
    parser.add_json()
    args = parser.parse_args(argv)
    card = merge(args.adapter, args.out, base=args.base, type=args.type)
    if note := card.metrics.get("note"):
        print(note)
    if args.json:
        report_json({"path": str(args.out), "id": card.id, **card.metrics, "outputs": card.outputs})
    else:
        print(f"{args.out}: merged, {card.metrics['taught']} tensors taught")
    return 0
