"""Who is asking, and the repositories themselves: made, deleted, private or not, what is in them."""

import re

import yaml

from tests.hub import spaces
from tests.hub.call import Answer, Call, Token, answer_json
from tests.hub.store import File, Refused, git_id


def whoami(call: Call) -> Answer:
    if not call.token:
        raise Refused(401, message="Invalid username or password.")
    rights = {"accessToken": {"displayName": "local", **_role(call.token)}}
    user = {"type": "user", "id": call.author, "name": call.author, "fullname": call.author}
    return answer_json({**user, "avatarUrl": "", "orgs": [], "auth": {"type": "access_token", **rights}})


def _role(token: Token) -> dict:
    if not token.scopes:
        return {"role": "write" if token.writes else "read"}
    scoped = [
        {
            "entity": {"_id": git_id(name.encode())[:24], "type": kind, "name": name},
            "permissions": [*permissions],
        }
        for kind, name, permissions in token.scopes
    ]
    fine = {"canReadGatedRepos": False, "global": [*token.everywhere], "scoped": scoped}
    return {"role": "fineGrained", "fineGrained": fine}


def create_repo(call: Call) -> Answer:
    asked = call.request.json()
    kind = asked.get("type") or "model"
    name = f"{asked.get('organization') or call.author}/{asked['name']}"
    url = {"url": call.api.url(kind, name), "name": name, "id": name}
    call.may_write(name)
    private = bool(asked.get("private")) or asked.get("visibility") == "private"
    try:
        made = call.api.store.create(kind, name, private, call.author)
        if kind == "space":
            spaces.begin(made, asked)
    except Refused as refusal:
        return answer_json({**url, "error": refusal.message}, refusal.status)
    return answer_json(url)


def delete_repo(call: Call) -> Answer:
    asked = call.request.json()
    name = f"{asked.get('organization') or call.author}/{asked['name']}"
    call.may_write(name)
    call.api.store.delete(asked.get("type") or "model", name)
    return Answer()


def change_settings(call: Call) -> Answer:
    asked, repo = call.request.json(), call.writable()
    if "private" in asked or "visibility" in asked:
        repo.about["private"] = bool(asked.get("private")) or asked.get("visibility") == "private"
        repo.save()
    return answer_json({"private": repo.private})


def check_access(call: Call) -> Answer:
    _ = call.writable() if call.words.get("write") else call.readable()
    return answer_json({})


def validate_yaml(call: Call) -> Answer:
    """Only whether the metadata is YAML with keys; the Hub also looks at what they say."""
    front = re.match(r"---\n(.*?)\n---\n", call.request.json()["content"], re.DOTALL)
    try:
        valid = not front or isinstance(yaml.safe_load(front[1]), dict)
    except yaml.YAMLError:
        valid = False
    errors = [] if valid else [{"message": "YAML metadata must be keys with values."}]
    return answer_json({"errors": errors, "warnings": []}, 200 if valid else 400)


def info(call: Call) -> Answer:
    repo = call.readable()
    at = call.commit(repo)
    named = {"id": call.name, "_id": git_id(call.name.encode())[:24], "author": call.name.split("/")[0]}
    when = {"lastModified": at.date, "createdAt": repo.about["created_at"]}
    rights = {"private": repo.private, "gated": False, "disabled": False}
    counts = {"downloads": 0, "likes": 0, "tags": [], **(spaces.told(repo) if call.kind == "space" else {})}
    siblings = [_sibling(path, file) for path, file in at.tree.items()]
    return answer_json({**named, **when, **rights, **counts, "sha": at.oid, "siblings": siblings})


def _sibling(path: str, file: File) -> dict:
    lfs = {"lfs": {"size": file.size, "sha256": file.lfs, "pointerSize": 134}} if file.lfs else {}
    return {"rfilename": path, "size": file.size, "blobId": file.oid, **lfs}
