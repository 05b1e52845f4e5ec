"""The rows of a dataset on the Hub, at a commit that is written into the card.

    commit = pin("somebody/chats", "")         where its main branch stands now
    for row in fetch_rows("somebody/chats", commit, "", "train", streaming=False): ...

What was read whole once lies in the state folder as JSON lines, under its commit, and is read from there.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from backtalk import hub
from backtalk.errors import BacktalkError, NetworkError
from backtalk.files import writing
from backtalk.home import home
from training.data.example import Fault, Row
from training.data.read import read_rows


def pin(repo: str, revision: str) -> str:
    """The revision, else the commit of the main branch. Raises NetworkError where it cannot be asked for."""
    if revision:
        return revision
    head = hub.head(repo)
    if head is None:
        raise NetworkError(
            f"The Hub has no dataset {repo} that we may see. Check the name; a private or gated one needs a "
            "token in HF_TOKEN."
        )
    return head.commit


def fetch_rows(repo: str, commit: str, config: str, split: str, streaming: bool) -> Iterator[Row | Fault]:
    """Every row of a split. With `streaming` nothing is kept, and no more is read than is asked for."""
    kept = _kept(repo, commit, config, split)
    if not kept.exists():
        rows = _stream(repo, commit, config, split)
        if streaming:
            yield from rows
            return
        with writing(kept) as file:
            for row in rows:
                file.write(json.dumps(row.values, default=str).encode() + b"\n")
    yield from read_rows(kept)


def _kept(repo: str, commit: str, config: str, split: str) -> Path:
    name = re.sub(r"[^\w.-]", "_", f"{commit}-{config or 'default'}-{split}")
    return home() / "datasets" / repo.replace("/", "--") / f"{name}.jsonl"


def _stream(repo: str, commit: str, config: str, split: str) -> Iterator[Row]:
    from datasets import load_dataset

    try:
        rows = load_dataset(
            repo,
            name=config or None,
            split=split,
            revision=commit,
            streaming=True,
            cache_dir=str(home() / "datasets"),  # for the client's lock files
        )
        for number, values in enumerate(rows, start=1):
            yield Row(number, values)
    except ConnectionError as fault:
        raise NetworkError(
            f"The Hub was not reached for {repo}. Try again later, or take the project's own sample rows "
            "with --offline."
        ) from fault
    except Exception as fault:  # the library passes on whatever its readers and its client raised
        reason = (str(fault).splitlines() or [type(fault).__name__])[0]
        raise BacktalkError(
            f"The split '{split}' of {repo} at {commit[:12]} cannot be read: {reason}"
        ) from fault
