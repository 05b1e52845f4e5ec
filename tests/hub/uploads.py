"""What is written: commits, and the large files that they name (git LFS, basic transfer)."""

import base64
import json
from collections.abc import Mapping
from urllib.parse import unquote

from tests.hub.call import Answer, Call, answer_json
from tests.hub.store import Change, File, Refused, Repo, is_large


def preupload(call: Call) -> Answer:
    repo = call.writable()
    tree = call.commit(repo).tree
    return answer_json({"files": [_upload_mode(file, tree) for file in call.request.json()["files"]]})


def _upload_mode(asked: dict, tree: Mapping[str, File]) -> dict:
    mode = "lfs" if is_large(asked["path"], asked["size"]) else "regular"
    known = tree.get(asked["path"])
    there = {"oid": known.etag} if known else {}
    return {"path": asked["path"], "uploadMode": mode, "shouldIgnore": False, **there}


def commit(call: Call) -> Answer:
    repo, revision = call.writable(), unquote(call.words["revision"])
    made = repo.add(_change(call.request.body), f"refs/heads/{revision}", call.author)
    url = f"{call.api.url(call.kind, call.name)}/commit/{made.oid}"
    return answer_json({"success": True, "commitOid": made.oid, "commitUrl": url})


def _change(body: bytes) -> Change:
    change = Change("")
    for line in body.splitlines():
        item = json.loads(line)
        value = item["value"]
        match item["key"]:
            case "header":
                change.title, change.description = value["summary"], value.get("description", "")
                change.parent = value.get("parentCommit", "")
            case "file":
                change.files[value["path"]] = base64.b64decode(value["content"])
            case "lfsFile":
                change.large[value["path"]] = (value["oid"], value["size"])
            case "deletedFile":
                change.deleted.append(value["path"])
            case "deletedFolder":
                change.deleted_folders.append(value["path"].rstrip("/") + "/")
            case unknown:
                raise Refused(400, message=f"A commit has no operation {unknown}.")
    return change


def lfs_batch(call: Call) -> Answer:
    repo = call.writable()
    objects = [_transfer(call, repo, one["oid"], one["size"]) for one in call.request.json()["objects"]]
    return answer_json({"transfer": "basic", "objects": objects})


def _transfer(call: Call, repo: Repo, oid: str, size: int) -> dict:
    if repo.has_large(oid):
        return {"oid": oid, "size": size}
    href = f"{call.api.endpoint}/lfs/{call.kind}s/{call.name}/{oid}"
    return {"oid": oid, "size": size, "actions": {"upload": {"href": href, "header": {}}}}


def lfs_upload(call: Call) -> Answer:
    # The address alone grants the right, as a presigned one does.
    call.api.store.repo(call.kind, call.name).keep_large(call.words["oid"], call.request.body)
    return Answer(headers={"ETag": f'"{call.words["oid"]}"'})


def lfs_files(call: Call) -> Answer:
    repo = call.writable()
    paths = {file.lfs: path for path, file in repo.commit("main").tree.items()}
    return answer_json(
        [
            {
                "fileOid": file.name,
                "filename": paths.get(file.name, ""),
                "oid": file.name,
                "pushedAt": repo.about["created_at"],
                "ref": "main" if file.name in paths else "",
                "size": file.stat().st_size,
            }
            for file in repo.large_files()
        ]
    )


def delete_lfs_files(call: Call) -> Answer:
    call.writable().delete_large(call.request.json()["deletions"]["sha"])
    return answer_json({})
