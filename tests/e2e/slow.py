"""A model that takes its time and never finds an end: random weights, in which every token is as likely as
any other but those that end an answer, which are out of the question.
"""

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from export.convert import convert

MINI = Path(__file__).parents[2] / "models" / "mini"
LAYERS, WIDTH, WITHIN = 24, 512, 2048
LARGER = {
    "num_hidden_layers": LAYERS,
    "hidden_size": WIDTH,
    "intermediate_size": WITHIN,
    "tie_word_embeddings": False,
    "dtype": "float32",
}
ALWAYS = 5.0  # the first number of every token's embedding, which no layer changes
SHUN = -20.0  # what the tokens that end make of it


def make_slow_model(folder: Path) -> Path:
    """A larger sister of the bundled model with its tokenizer; it has learned nothing."""
    config = json.loads((MINI / "config.json").read_text(encoding="utf-8")) | LARGER
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(_weights(config), folder / "model.safetensors")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(MINI / name, folder)
    return convert(folder, folder / "slow-Q8_0.gguf", "Q8_0")


def _weights(config: dict[str, int]) -> dict[str, np.ndarray]:
    """By name; every layer has the same."""
    random = np.random.default_rng(0)

    def some(*shape: int) -> np.ndarray:
        return random.normal(0, 0.02, shape).astype(np.float32)

    heads, keys = (
        config[name] * config["head_dim"] for name in ("num_attention_heads", "num_key_value_heads")
    )
    layer = {
        "self_attn.q_proj": some(heads, WIDTH),
        "self_attn.k_proj": some(keys, WIDTH),
        "self_attn.v_proj": some(keys, WIDTH),
        "self_attn.o_proj": some(WIDTH, heads),
        "mlp.gate_proj": some(WITHIN, WIDTH),
        "mlp.up_proj": some(WITHIN, WIDTH),
        "mlp.down_proj": some(WIDTH, WITHIN),
        "input_layernorm": np.ones(WIDTH, np.float32),
        "post_attention_layernorm": np.ones(WIDTH, np.float32),
    }
    for name in ("self_attn.o_proj", "mlp.down_proj"):
        layer[name][0] = 0
    tokens, first = config["vocab_size"], config["bos_token_id"]
    embeddings, words = some(tokens, WIDTH), some(tokens, WIDTH)
    embeddings[:, 0] = ALWAYS
    words[:, 0] = 0
    words[first:, 0] = SHUN  # the special tokens stand at the end
    return {
        "model.embed_tokens.weight": embeddings,
        "model.norm.weight": np.ones(WIDTH, np.float32),
        "lm_head.weight": words,
        **{f"model.layers.{n}.{name}.weight": one for n in range(LAYERS) for name, one in layer.items()},
    }
