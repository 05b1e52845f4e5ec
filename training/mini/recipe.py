"""Every knob of the miniature's training, each with its one home; the card stores them as they were used."""

from dataclasses import dataclass

from backtalk.config import knob

LONGEST = 2048
"""Tokens of the longest row in training, and so the context that the model is given."""


@dataclass(frozen=True)
class Recipe:
    """How `backtalk mini build` trains; two builds of one recipe see the same rows in the same order."""

    base: str = knob("", "folder of a miniature to go on from, its tokenizer kept (else: random weights)")
    seed: int = knob(1, "feeds the weights, the corpus and the order of the rows")
    tokens: int = knob(20_000_000, "budget: training ends with the step that reaches it")
    rows_per_step: int = knob(10, "rows in a step")
    row_length: int = knob(256, "tokens in a row, filled with whole dialogues")
    chapter: int = knob(4096, "dialogues that are packed and shuffled together")
    long_rows: int = knob(8, f"conversations of up to {LONGEST} tokens in a chapter")
    matrix_rate: float = knob(0.02, "Muon's highest learning rate, for the layers' matrices")
    other_rate: float = knob(3e-3, "AdamW's highest learning rate, for embeddings and norms")
    weight_decay: float = knob(0.05, "pull of the matrices towards zero")
    restart: float = knob(0.65, "share of the budget after which the rate rises once more (1: never)")
    restart_rate: float = knob(0.5, "how far it rises then, as a share of the highest rate")
    warmup: float = knob(0.02, "share of the steps up to a restart or the end in which the rate rises")
    decay: float = knob(0.6, "last share of them, in which the rate falls to zero")
    clip: float = knob(1.0, "highest norm of a gradient")
    average: float = knob(0.998, "decay of the moving average of the weights, which is what is released")
    blend: float = knob(1.0, "share of what was learned from a base on that is released (1: all of it)")
    checkpoint_every: int = knob(500, "steps between checkpoints")
    tokenizer_dialogues: int = knob(40_000, "dialogues from which the tokenizer learns its merges")
