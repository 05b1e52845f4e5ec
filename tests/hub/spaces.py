"""What is set on a Space, and how it builds: after each commit BUILDING, APP_STARTING, then RUNNING.

A test that wants another course writes it: `repo.about["stages"] = ["BUILDING", "BUILD_ERROR"]`. Each look
at the runtime takes one step; the last stage stays.
"""

import json

from tests.hub.call import Answer, Call, answer_json
from tests.hub.store import Repo

COURSE = ("BUILDING", "APP_STARTING", "RUNNING")


def begin(repo: Repo, asked: dict) -> None:
    """What a Space has beside its files."""
    repo.about |= {"sdk": asked["sdk"], "secrets": {}, "variables": {}, "volumes": [], "stages": []}
    repo.save()


def told(repo: Repo) -> dict:
    """What `info` says of a Space and of no other repository."""
    subdomain = repo.name.replace("/", "-").replace("_", "-").lower()
    return {"sdk": repo.about["sdk"], "subdomain": subdomain, "host": f"https://{subdomain}.hf.space"}


def secrets(call: Call) -> Answer:
    return answer_json({name: {"key": name} for name in call.writable().about["secrets"]})


def set_secret(call: Call) -> Answer:
    return _set(call, "secrets")


def variables(call: Call) -> Answer:
    there = call.readable().about["variables"]
    return answer_json({name: {"key": name, "value": value} for name, value in there.items()})


def set_variable(call: Call) -> Answer:
    _set(call, "variables")
    return variables(call)


def _set(call: Call, what: str) -> Answer:
    asked, repo = call.request.json(), call.writable()
    repo.about[what][asked["key"]] = asked["value"]
    repo.save()
    return answer_json({})


def set_volumes(call: Call) -> Answer:
    repo = call.writable()
    repo.about["volumes"] = call.request.json()["volumes"]
    repo.save()
    return answer_json({})


def runtime(call: Call) -> Answer:
    repo = call.readable()
    head = repo.commit("main")
    if not head.parent:
        return answer_json({"stage": "NO_APP_FILE", "hardware": {}})
    stages = repo.about["stages"] or [*COURSE]
    repo.about["stages"] = stages[1:] or stages
    repo.save()
    hardware = {"current": "cpu-basic", "requested": "cpu-basic"}
    return answer_json({"stage": stages[0], "hardware": hardware, "sha": head.oid})


def logs(call: Call) -> Answer:
    """Server-sent events, as the Hub sends them."""
    lines = call.readable().about.get("log", [])
    events = [f"data: {json.dumps({'data': line, 'timestamp': ''})}\n\n" for line in lines]
    return Answer(200, "".join(events).encode(), {"Content-Type": "text/event-stream"})
