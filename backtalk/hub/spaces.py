"""Spaces on the Hub: made, given their settings, watched while they build.

    create(space, "gradio", private=False)     one that is there stays as it is
    set_up(space, variables, secrets)          writes what differs; a secret that is there is never replaced
    where(space)                               how its build stands
    log(space, "build")                        the last lines of its build, or of its run

A Space is stopped and started again by every change of a setting, so what is already right is left alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from backtalk.errors import NetworkError
from backtalk.hub import PATIENCE_SECONDS, _api, _patiently

Sdk = Literal["gradio", "docker"]
Log = Literal["build", "run"]
PLANS = (
    "A new Gradio or Docker Space on cpu-basic needs PRO, or Team or Enterprise for an organisation; the "
    "hardware itself (2 cores, 16 GB, sleeps after 48 hours) costs nothing."
)
ENDED_WELL = "RUNNING"
UNDER_WAY = frozenset({"BUILDING", "RUNNING_BUILDING", "APP_STARTING", "RUNNING_APP_STARTING"})
LOG_LINES = 20
PAYMENT_REQUIRED = 402


@dataclass(frozen=True)
class Where:
    """How a Space stands. `commit`: what it runs or builds, "" where the Hub does not say."""

    stage: str
    commit: str

    @property
    def waits(self) -> bool:
        """Whether the stage will change by itself."""
        return self.stage in UNDER_WAY


def create(space: str, sdk: Sdk, private: bool = False, patience: float = PATIENCE_SECONDS) -> None:
    """Makes the Space; one that is there stays as it is.

    Raises NetworkError, with what plans there are, where the account has none for it.
    """
    from huggingface_hub.errors import HfHubHTTPError

    def ask() -> None:
        try:
            _api().create_repo(space, repo_type="space", space_sdk=sdk, private=private, exist_ok=True)
        except HfHubHTTPError as fault:
            if fault.response.status_code == PAYMENT_REQUIRED:
                raise NetworkError(
                    f"The Hub does not make {space} under this account's plan (402). {PLANS} Change the plan "
                    "at https://huggingface.co/pricing, then run the same command again."
                ) from fault
            raise

    _patiently(ask, space, patience)


def secrets_of(space: str, patience: float = PATIENCE_SECONDS) -> frozenset[str]:
    """The names of its secrets; nobody can read their values back."""
    return _patiently(lambda: frozenset(_api().get_space_secrets(space)), space, patience)


def set_up(
    space: str,
    variables: Mapping[str, str],
    secrets: Mapping[str, str],
    patience: float = PATIENCE_SECONDS,
) -> list[str]:
    """Writes the variables that differ, and these secrets; returns the names of what was written."""

    def ask() -> list[str]:
        api = _api()
        there = {name: one.value for name, one in api.get_space_variables(space).items()}
        changed = {name: value for name, value in variables.items() if there.get(name) != value}
        for name, value in changed.items():
            api.add_space_variable(space, name, value)
        for name, value in secrets.items():
            api.add_space_secret(space, name, value)
        return [*changed, *secrets]

    return _patiently(ask, space, patience)


def mount(space: str, bucket: str, folder: str, patience: float = PATIENCE_SECONDS) -> None:
    """Makes the private bucket where it is missing, and mounts it in the Space, for writing."""
    from huggingface_hub import Volume

    def ask() -> None:
        api = _api()
        api.create_bucket(bucket, private=True, exist_ok=True)
        api.set_space_volumes(space, [Volume(type="bucket", source=bucket, mount_path=folder)])

    _patiently(ask, f"{space} and {bucket}", patience)


def where(space: str, patience: float = PATIENCE_SECONDS) -> Where:
    """How the Space stands now."""

    def ask() -> Where:
        runtime = _api().get_space_runtime(space)
        return Where(str(runtime.stage), str(runtime.raw.get("sha") or ""))

    return _patiently(ask, space, patience)


def log(space: str, which: Log, patience: float = PATIENCE_SECONDS) -> list[str]:
    """The last lines that its build, or its run, has printed."""

    def ask() -> list[str]:
        lines = _api().fetch_space_logs(space, build=which == "build")
        return [line.rstrip("\n") for line in lines][-LOG_LINES:]

    return _patiently(ask, space, patience)


def address(space: str, patience: float = PATIENCE_SECONDS) -> str:
    """Where a browser finds the Space's own page; the page on the Hub where it has none yet."""

    def ask() -> str:
        api = _api()
        return str(api.space_info(space).host or f"{api.endpoint}/spaces/{space}")

    return _patiently(ask, space, patience)
