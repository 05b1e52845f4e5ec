"""A GGUF in Llama-3.2-1B's true shape with random weights that speaks in whole words: what load tests ask.

    python -c "import sys; from bench.talker import main; main(sys.argv[1:])" FOLDER [--layers N]

It is FOLDER/talker-Q4_K_M.gguf, and is made unless it is there.

A model with random weights writes any of 128,000 tokens, and their text, sent back as history, is cut into
other tokens than were written: no cache of any server would ever fit. A trained model writes words. So the
rows of the shared embedding that belong to words are longer here, and only they are ever drawn: each begins
with a sign, so that it stands alone wherever the text is cut. It never ends an answer by itself.
"""

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.stand_in import make, shape_of

NAME = "talker-Q4_K_M.gguf"
WORD = re.compile(r"[_.(\[\-/][a-zA-Z]{2,}")  # a sign, then letters: one piece of Llama 3's splitter
LOUDER = 8.0  # times the length of the other rows: the best of 128,000 others stay below the best of these


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=0, help="fewer layers, for a try")
    args = parser.parse_args(argv)
    print(talker(args.folder, args.layers))


def talker(folder: Path, layers: int = 0) -> Path:
    """The file in `folder`, made if it is not there: some minutes, 6 GB of disk meanwhile, 0.8 GB kept."""
    from export.convert import convert
    from export.quantize import quantize

    path = folder / NAME
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        base = Path(scratch) / "talker"
        make(base, shape_of("Llama-3.2-1B", layers))
        _raise_words(base)
        wide = convert(base, Path(scratch) / "talker-F16.gguf", type="F16")
        quantize(wide, Path(scratch), ["Q4_K_M"])
        (Path(scratch) / NAME).rename(path)
    return path


def _raise_words(base: Path) -> None:
    """Lengthens the embedding's rows of words, in place."""
    from safetensors.torch import load_file, save_file

    words = json.loads((base / "tokenizer.json").read_text())["model"]["vocab"]
    rows = [token for text, token in words.items() if WORD.fullmatch(text)]
    file = base / "model.safetensors"
    tensors = load_file(file)
    tensors["model.embed_tokens.weight"][rows] *= LOUDER
    save_file(tensors, file, metadata={"format": "pt"})
