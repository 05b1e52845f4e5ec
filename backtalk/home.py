"""The one folder that holds all state, and the secret that signs for it.

`BACKTALK_HOME` (default `.backtalk/` in the working directory) holds outbox.sqlite, segments/, runs/ and
the rest; nothing is written elsewhere. `BACKTALK_SECRET` keys pseudonyms and signatures and is shared by
replicas; without it a file of mode 600 is made at first use.
"""

import os
import secrets
from pathlib import Path

from backtalk.errors import WordsError

SHORTEST_SECRET = 16  # characters; a shorter one could be guessed, and with it every pseudonym


def home() -> Path:
    """The state folder, made if it is missing."""
    folder = Path(os.environ.get("BACKTALK_HOME") or ".backtalk").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def on_space() -> bool:
    """True inside a Hugging Face Space, whose disk is not kept."""
    return bool(os.environ.get("SPACE_ID"))


def has_lasting_secret() -> bool:
    """False on a Space without `BACKTALK_SECRET`: a secret that dies with the disk would break retraction."""
    return bool(os.environ.get("BACKTALK_SECRET")) or not on_space()


def secret() -> bytes:
    """The key of pseudonyms and signatures: `BACKTALK_SECRET`, else the file `secret` in the state folder."""
    given = os.environ.get("BACKTALK_SECRET")
    if given:
        if len(given) < SHORTEST_SECRET:
            raise WordsError(
                f"BACKTALK_SECRET has {len(given)} characters; at least {SHORTEST_SECRET} are needed. "
                'Make one with: python -c "import secrets; print(secrets.token_hex(32))"'
            )
        return given.encode()
    path = home() / "secret"
    try:
        return _read_secret(path)
    except FileNotFoundError:
        return _make_secret(path)


def _make_secret(path: Path) -> bytes:
    made = secrets.token_hex(32).encode()
    whole = path.with_name(f".secret-{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(made)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(whole, path)  # fails if another process was first: then its secret is the one
    except FileExistsError:
        return _read_secret(path)
    finally:
        whole.unlink()
    return made


def _read_secret(path: Path) -> bytes:
    kept = path.read_bytes().strip()
    if len(kept) < SHORTEST_SECRET:
        raise WordsError(
            f"The file {path} holds {len(kept)} characters; at least {SHORTEST_SECRET} were expected. "
            "Put the old secret back; if it is lost, delete the file, and old conversations become read-only."
        )
    return kept
