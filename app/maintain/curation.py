"""The next curated set before it is made: what it would take now, and why it leaves out the rest.

    preview("accepted")                     rows by file, and flags that are not used by reason
    curate(maintainer, "accepted")          `backtalk curate` as a process

Counted is what is on this machine; `backtalk curate` first fetches what others sent. Nothing is replayed.
"""

from collections import Counter
from threading import Lock
from typing import Any, get_args, get_type_hints

from app.maintain.maintainer import Maintainer
from backtalk.errors import WordsError
from backtalk.home import home
from feedback.curate import controls
from feedback.curate.curate import Curation, choose
from feedback.curate.curated import Curated
from feedback.curate.gather import Gathered, gather
from feedback.curate.rows import FILES
from feedback.hub.fetched import NAME as FETCHED
from feedback.store.decisions import NAME as REVIEWS
from feedback.store.outbox import NAME as OUTBOX

Json = dict[str, Any]

INCLUDES = get_args(get_type_hints(Curation)["include"])
SOURCES = (OUTBOX, "segments", FETCHED)  # as sources_at_home has them
CURATE_SECONDS = 1800

_alone = Lock()
_known: dict[str, tuple[Any, Json]] = {}  # by what is included: the state of the files, and what it came to


def preview(include: str) -> Json:
    """What a set would hold; counted anew only where a file has changed."""
    if include not in INCLUDES:
        raise WordsError(f"There is no choice '{include}'. There are {', '.join(INCLUDES)}.")
    with _alone:
        stamp = _stamp()
        if include not in _known or _known[include][0] != stamp:
            _known[include] = (stamp, _counted(include))
        return _known[include][1]


def curate(maintainer: Maintainer, include: str) -> Json:
    """Makes the set; returns its id and what it holds."""
    preview(include)  # refuses an unknown choice
    said = maintainer.run(["curate", f"--include={include}"], CURATE_SECONDS)
    return {"id": said["id"], "rows": said["metrics"]["rows"], "used": said["metrics"]["used"]}


def _counted(include: str) -> Json:
    sources = [home() / name for name in SOURCES if (home() / name).exists()]
    known = controls.added_tokens(controls.MINI) if controls.MINI.exists() else ()
    gathered = gather(sources, controls.pattern(known))
    curated = choose(gathered, Curation(include=include))  # type: ignore[arg-type]
    used = sum(bool(curated.fates.rows.get(name)) for name in gathered.standing)
    return {
        "flags": len(gathered.standing),
        "used": used,
        "rows": {name: curated.rows.count(name) for name in FILES},
        "unused": dict(_reasons(gathered, curated).most_common()),
        "states": dict(Counter(curated.fates.state.values()).most_common()),
    }


def _reasons(gathered: Gathered, curated: Curated) -> Counter[str]:
    """By reason, as the manifest would say: flags that stand and teach nothing, and lines that are no flags.

    Events that a later one of their flag replaced are no loss and are not counted here.
    """
    fates, found = curated.fates, Counter[str]()
    for name in gathered.standing:
        if fates.rows.get(name):
            continue
        withheld = sorted(set(fates.withheld.get(name, ())))
        found[
            fates.left_out.get(name) or (withheld[0].partition(":")[2] if withheld else "nothing_to_learn")
        ] += 1
    if gathered.refused:
        found["malformed"] = len(gathered.refused)
    return found


def _stamp() -> tuple[Any, ...]:
    """Changes with whatever a set is made of."""
    own = [home() / name for name in (OUTBOX, f"{OUTBOX}-wal", REVIEWS)]
    folders = [home() / name for name in ("segments", FETCHED, "reviews")]
    files = [*own, *(file for folder in folders for file in sorted(folder.rglob("*.jsonl*")))]
    return tuple((str(file), *_state(file)) for file in files if file.exists()) + (str(home()),)


def _state(file: Any) -> tuple[int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_size
