"""What a Space runs, and the Docker image: the chat on port 7860, for everybody who reaches the machine.

`BACKTALK_MODEL` says which model answers, such as hf://owner/repo/promoted.json; without it the promoted one
does, else the bundled one.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

if os.environ.get("SPACE_ID"):
    # A Docker Space leaves this to us, and without it gradio takes every visitor for the owner of HF_TOKEN.
    os.environ["SYSTEM"] = "spaces"


def main() -> int:
    """Serves until a signal; returns the exit code."""
    from backtalk.cli import main as backtalk

    model = os.environ.get("BACKTALK_MODEL", "")
    words = ["chat", "--host", "0.0.0.0", "--port", os.environ.get("PORT", "7860")]
    return backtalk([*words, "--model", model] if model else words)


if __name__ == "__main__":
    sys.exit(main())
