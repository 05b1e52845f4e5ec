"""The rows of a dataset on the Hub, at a commit that is written into the card.

commit = pin("somebody/chats", "")         where its main branch stands now
for row in fetch_rows("somebody/chats", commit, "", "train", streaming=False): ...
"""

from collections.abc import Iterator

from backtalk import hub
from backtalk.errors import BacktalkError, NetworkError
from backtalk.home import home
from training.data.example import Row


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


def fetch_rows(repo: str, revision: str, config: str, split: str, streaming: bool) -> Iterator[Row]:
    """Every row of a split; without `streaming` the dataset is kept in the state folder."""
    from datasets import load_dataset

    try:
        rows = load_dataset(
            repo,
            name=config or None,
            split=split,
            revision=revision,
            streaming=streaming,
            cache_dir=str(home() / "datasets"),
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
            f"The split '{split}' of {repo} at {revision[:12]} cannot be read: {reason}"
        ) from fault
