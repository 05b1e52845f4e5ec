"""The only door to the Hugging Face Hub: nothing else imports huggingface_hub.

Its many exceptions become one NetworkError with a calm sentence. Downloads resume, and land in the state
folder.
"""

from pathlib import Path

from backtalk.errors import NetworkError
from backtalk.home import home


def download(repo: str, file: str, revision: str = "") -> Path:
    """The local path of a file of a model repository, fetched with a progress bar when it is not there yet.

    Raises NetworkError when the Hub cannot be reached or says no.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    place = f"hf://{repo}{'@' + revision if revision else ''}/{file}"
    try:
        return Path(hf_hub_download(repo, file, revision=revision or None, cache_dir=home() / "hub"))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError, TimeoutError) as fault:
        raise NetworkError(
            f"{place} is not on this machine and the Hub was not reached. Connect to the network and try "
            "again (a broken download continues where it stopped), or use the bundled model: --model mini."
        ) from fault
    except HfHubHTTPError as fault:
        status = fault.response.status_code if fault.response is not None else "no"
        raise NetworkError(
            f"The Hub answered {status} for {place}. Check the address; a private or gated repository needs "
            "a token in HF_TOKEN."
        ) from fault
    except ValueError as fault:  # the client refuses malformed repository names before it asks
        raise NetworkError(
            f"{place} is not an address on the Hub ({fault}). Wanted: hf://owner/repo/file.gguf."
        ) from fault
