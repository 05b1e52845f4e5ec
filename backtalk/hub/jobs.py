"""Jobs on the Hub: a command on rented hardware, once or at set times.

    run(Job(...))                    (id, address)
    schedule(Job(...), "0 3 * * *")  (id, address)

Without a timeout of ours the Hub ends a Job after half an hour, so there is always one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from backtalk.hub import PATIENCE_SECONDS, _api, _patiently, _token

if TYPE_CHECKING:
    from huggingface_hub import HfApi


@dataclass(frozen=True)
class Mount:
    """A repository (at a commit, read alone) or a bucket (for writing) as a folder of the Job."""

    kind: Literal["dataset", "model", "space", "bucket"]
    name: str
    folder: str
    commit: str = ""


@dataclass(frozen=True)
class Job:
    """What runs, on what, for how long at most (seconds), and what it is given."""

    owner: str
    name: str
    image: str
    command: tuple[str, ...]
    flavor: str
    timeout: int
    mounts: tuple[Mount, ...]
    variables: Mapping[str, str]
    secrets: Mapping[str, str]


def run(job: Job, patience: float = PATIENCE_SECONDS) -> tuple[str, str]:
    """Starts the Job; returns its id and where to look at it.

    Raises NetworkError where the answer was lost: it is not asked for again, since both would cost.
    """
    from huggingface_hub.errors import HTTPError

    from backtalk.errors import NetworkError

    def ask() -> tuple[str, str]:
        api = _api()
        try:
            made = api.run_job(namespace=job.owner, **_told(job))
        except HTTPError as fault:
            if _says_no(fault):
                raise
            raise NetworkError(
                f"The Hub's answer was lost, so the Job may have started or not. Look at "
                f"{_page(api, job.owner)} before you run this again."
            ) from fault
        return made.id, f"{_page(api, job.owner)}/{made.id}"

    return _patiently(ask, f"the Job {job.name}", patience)


def schedule(job: Job, when: str, patience: float = PATIENCE_SECONDS) -> tuple[str, str]:
    """Has the Job started at these times from now on, in place of an earlier schedule of its name.

    Never two at once. Returns the schedule's id and where to look at it.
    """

    def ask() -> tuple[str, str]:
        api = _api()
        for old in api.list_scheduled_jobs(namespace=job.owner):
            if (old.job_spec.labels or {}).get("name") == job.name:
                api.delete_scheduled_job(scheduled_job_id=old.id, namespace=job.owner)
        made = api.create_scheduled_job(namespace=job.owner, schedule=when, concurrency=False, **_told(job))
        return made.id, _page(api, job.owner)

    return _patiently(ask, f"the schedule of {job.name}", patience)


def flavors() -> list[str]:
    """The hardware that this version of the client knows by name."""
    from huggingface_hub import JobHardware

    return [str(one.value) for one in JobHardware]


def own_token() -> str:
    """The token that we are known by; empty where there is none."""
    return _token() or ""


def create_bucket(bucket: str, patience: float = PATIENCE_SECONDS) -> None:
    """Makes the bucket, private; one that is there stays as it is."""
    _patiently(lambda: _api().create_bucket(bucket, private=True, exist_ok=True), bucket, patience)


def _says_no(fault: Exception) -> bool:
    """Whether the fault is an answer by which nothing was started."""
    status = getattr(getattr(fault, "response", None), "status_code", 0)
    return 400 <= status < 500


def _told(job: Job) -> dict[str, Any]:
    """The Job in the client's words."""
    from huggingface_hub import Volume

    volumes = [
        Volume(
            type=mount.kind,
            source=mount.name,
            mount_path=mount.folder,
            revision=mount.commit or None,
            read_only=None if mount.kind == "bucket" else True,
        )
        for mount in job.mounts
    ]
    return {
        "image": job.image,
        "command": list(job.command),
        "name": job.name,
        "flavor": job.flavor,
        "timeout": job.timeout,
        "volumes": volumes,
        "env": dict(job.variables),
        "secrets": dict(job.secrets),
    }


def _page(api: "HfApi", owner: str) -> str:
    return f"{api.endpoint}/jobs/{owner}"
