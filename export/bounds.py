"""How far a GGUF of each type may be from the model that it was made from: all bounds in one place.

Two questions are asked, and only together do they say that a file is good:

Is it the same model? The conversion is judged on the F16 file, which loses next to nothing: 1e-6 nats
per token. What it loses is llama.cpp's, which rounds to F16 whatever it multiplies such weights with,
anew in each layer: 3.5e-7 with the 6 layers of the bundled model, 1.04e-6 with 16 layers of
Llama-3.2-1B's shape and random weights (bench/rehearse.py). So the bound grows with the layers beyond
the sixth. A transposed matrix, a wrong rotary order or a lost scale costs a thousand times more, and
could hide below what 4 bits cost anyway. So every export judges its F16 first, whether that is kept or
not.

Is it quantized as well as its type can? Q8_0 and wider: 1e-3. Below 8 bits the loss depends on the model. The
table of llama.cpp for Llama-3-8B (tools/perplexity/README.md, without an importance matrix) has Q6_K .0055,
Q5_K_M .0108, Q4_K_M .0313, Q4_0 .0719, Q3_K_M .102, Q2_K .445. Small models lose more than large ones and are
all that is served here, so a type may lose about three times that before it counts as failed: beyond it,
the next wider type is the better choice. The IQ types stand with the K types of about the same size.
"""

import gguf

EXACT = 1e-6  # nats per token: the same weights, computed in another order
SHALLOW = 6  # layers that this is stated for
NEAR = 1e-3  # 8 bits and wider

DIVERGENCE: dict[str, float] = {
    **{"F32": EXACT, "F16": EXACT, "BF16": NEAR, "Q8_0": NEAR},
    **{"Q6_K": 0.02, "Q5_K_M": 0.04, "Q4_K_M": 0.1, "IQ4_NL": 0.1, "IQ4_XS": 0.1, "Q4_0": 0.2},
    **{"Q3_K_M": 0.3, "IQ3_M": 0.3, "IQ3_S": 0.3, "IQ3_XS": 0.5, "IQ3_XXS": 0.5},
    **{"Q2_K": 1.3, "IQ2_M": 1.3, "IQ2_S": 1.3, "IQ2_XS": 1.5, "IQ2_XXS": 2.0, "IQ1_M": 3.0, "IQ1_S": 3.0},
}


def divergence_bound(file_type: int, layers: int = SHALLOW) -> float:
    """The highest mean divergence in nats per token for `general.file_type`; NEAR for an unknown one."""
    try:
        name = gguf.LlamaFileType(file_type).name
    except ValueError:
        return NEAR
    bound = DIVERGENCE.get(name.removeprefix("MOSTLY_").removeprefix("ALL_"), NEAR)
    return bound * max(1.0, layers / SHALLOW) if bound == EXACT else bound
