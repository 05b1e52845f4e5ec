"""Models that are known by their words: each speaks nothing but the few that it was given, without an end.

    words = write_model(Path("red.gguf"), number=2, round=3)

Their weights are random but for the last layer, which leaves only these words possible; so whatever an answer
holds, it says which model wrote each word of it.
"""

import json
import re
import shutil
import tempfile
from pathlib import Path

from export.convert import convert
from export.metadata import Metadata

MINI = Path(__file__).resolve().parents[1] / "models" / "mini"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
WORD = re.compile("Ġ([a-z]{4,})")
WORDS = 8  # of each model: four pairs, of which one half is always likelier than every other token
SURE = 8.0  # so that in no place all four pairs are all but undecided, where any other token could come
SHAPE = {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 8, "tie_word_embeddings": False}


def write_model(path: Path, number: int, round: int) -> frozenset[str]:
    """Writes model `number` as the Q8_0 file of a round; returns its words, which no other number has."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    chance = torch.Generator().manual_seed(number)
    torch.manual_seed(number)
    model = LlamaForCausalLM(LlamaConfig.from_pretrained(MINI, **SHAPE))
    words = _words(number)
    head = torch.zeros_like(model.lm_head.weight)
    for this, other in zip(list(words)[::2], list(words)[1::2], strict=True):
        direction = SURE * torch.randn(head.shape[1], generator=chance)
        head[this], head[other] = direction, -direction
    model.lm_head.weight.data.copy_(head)
    with tempfile.TemporaryDirectory() as folder:
        model.to(torch.bfloat16).save_pretrained(folder)
        for name in TOKENIZER:
            shutil.copy(MINI / name, folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        convert(Path(folder), path, "Q8_0", Metadata(name=path.stem, round=round))
    return frozenset(words.values())


def _words(number: int) -> dict[int, str]:
    """Tokens that are a whole word each, by id."""
    vocabulary = json.loads((MINI / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    known = sorted((id, found[1]) for token, id in vocabulary.items() if (found := WORD.fullmatch(token)))
    return dict(known[number * WORDS : (number + 1) * WORDS])
