"""The past of a repository: its commits, branches and tags, and squashing it away."""

from urllib.parse import unquote

from tests.hub.call import Answer, Call, answer_json
from tests.hub.store import MAIN, Refused


def refs(call: Call) -> Answer:
    known = call.readable().about["refs"]

    def of(prefix: str) -> list[dict]:
        return [
            {"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": oid}
            for ref, oid in known.items()
            if ref.startswith(prefix)
        ]

    return answer_json(
        {
            "branches": of("refs/heads/"),
            "tags": of("refs/tags/"),
            "converts": [],
            "pullRequests": of("refs/pr/"),
        }
    )


def commits(call: Call) -> Answer:
    repo = call.readable()
    return answer_json(
        [
            {
                "id": one.oid,
                "title": one.title,
                "message": one.description,
                "date": one.date,
                "authors": [{"user": one.author}],
            }
            for one in repo.log(call.commit(repo))
        ]
    )


def make_tag(call: Call) -> Answer:
    repo, ref = call.writable(), f"refs/tags/{call.request.json()['tag']}"
    if ref in repo.about["refs"]:
        raise Refused(409, message="This tag exists.")
    repo.point(ref, call.commit(repo).oid)
    return answer_json({})


def make_branch(call: Call) -> Answer:
    repo, ref = call.writable(), f"refs/heads/{unquote(call.words['revision'])}"
    if ref in repo.about["refs"]:
        raise Refused(409, message="This branch exists.")
    repo.point(ref, repo.commit(call.request.json().get("startingPoint") or "main").oid)
    return answer_json({})


def drop_tag(call: Call) -> Answer:
    call.writable().drop(f"refs/tags/{unquote(call.words['revision'])}")
    return answer_json({})


def drop_branch(call: Call) -> Answer:
    ref = f"refs/heads/{unquote(call.words['revision'])}"
    if ref == MAIN:
        raise Refused(403, message="The main branch stays.")
    call.writable().drop(ref)
    return answer_json({})


def squash(call: Call) -> Answer:
    title = call.request.json().get("message") or "Super-squash"
    made = call.writable().squash(unquote(call.words["revision"]), title, call.author)
    return answer_json({"commitOid": made.oid})
