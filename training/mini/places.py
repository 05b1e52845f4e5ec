"""Where the corpus keeps its data and the evaluation its questions."""

from pathlib import Path

DATA = Path(__file__).parent / "data"
EVALUATION = Path(__file__).parent / "evaluation"
