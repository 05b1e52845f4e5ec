"""Jobs, schedules and buckets: written down as they were asked for; nothing runs, nothing is kept."""

from pathlib import Path

from tests.hub.call import Answer, Call, answer_json
from tests.hub.store import Refused, git_id, now

STARTED = {"stage": "SCHEDULING", "message": None}


def make_bucket(call: Call) -> Answer:
    call.may_write(call.name)
    place: Path = call.api.store.folder / "buckets" / call.name
    url = {"url": f"{call.api.endpoint}/buckets/{call.name}"}
    if place.exists():
        return answer_json({**url, "error": "You already created this bucket."}, 409)
    place.mkdir(parents=True)
    return answer_json(url)


def run(call: Call) -> Answer:
    spec = _allowed(call)
    made = {"id": git_id(repr((spec, len(call.api.store.jobs))).encode())[:24], "createdAt": now()}
    call.api.store.jobs.append({**made, "spec": spec})
    return answer_json({**made, **_shown(spec), "status": STARTED, "owner": _owner(call)})


def schedules(call: Call) -> Answer:
    return answer_json([one for one in call.api.store.schedules.values() if one["owner"] == _owner(call)])


def schedule(call: Call) -> Answer:
    asked = _allowed(call)
    made = git_id(repr((asked, len(call.api.store.schedules), now())).encode())[:24]
    one = {
        "id": made,
        "createdAt": now(),
        "schedule": asked["schedule"],
        "suspend": False,
        "concurrency": asked.get("concurrency", False),
        "jobSpec": asked["jobSpec"],
        "status": {},
        "owner": _owner(call),
    }
    call.api.store.schedules[made] = one
    return answer_json({**one, "jobSpec": _shown(asked["jobSpec"])})


def drop(call: Call) -> Answer:
    if call.api.store.schedules.pop(call.words["id"], None) is None:
        raise Refused(404, message="There is no such schedule.")
    return Answer()


def _allowed(call: Call) -> dict:
    """What is asked for, if this token may have it in the owner's name."""
    call.may_write(f"{call.words['owner']}/jobs")
    return call.request.json()


def _shown(spec: dict) -> dict:
    """A Job as the Hub tells it: of its secrets the names alone."""
    return {**spec, "secrets": {name: "" for name in spec.get("secrets", {})}}


def _owner(call: Call) -> dict:
    return {"id": git_id(call.words["owner"].encode())[:24], "name": call.words["owner"], "type": "user"}
