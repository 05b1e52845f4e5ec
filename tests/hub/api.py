"""The Hub's HTTP API as its own clients use it: a table of routes, each a function from a call to an answer.

Regular and large files (git LFS, basic transfer), commits with `parentCommit`, listings page by page,
downloads with ranges, branches, tags, squashing, private repositories and tokens. Not here: xet, buckets,
jobs, webhooks.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import parse_qs, quote, unquote

import yaml

from tests.hub.store import MAIN, Change, Commit, File, Refused, Repo, Store, git_id, is_large

PAGE = 1000  # entries of a listing that come at once, as on the Hub
EVERYTHING = "*"


@dataclass(frozen=True)
class Request:
    method: str
    path: str  # raw: a revision may hold an escaped slash
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict:
        try:
            return json.loads(self.body or b"{}")
        except ValueError:
            raise Refused(400, message="The body is not JSON.") from None


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def answer_json(value: object, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **named})


@dataclass(frozen=True)
class Token:
    """Who holds the token, and which repositories it may write: "*" is all."""

    user: str
    writes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Call:
    """A request that found its route."""

    api: "Api"
    request: Request
    kind: str
    name: str
    words: dict[str, str]

    @property
    def token(self) -> Token | None:
        given = self.request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        if not given:
            return None
        if given not in self.api.tokens:
            raise Refused(401, message="Invalid credentials in Authorization header")
        return self.api.tokens[given]

    @property
    def author(self) -> str:
        return self.token.user if self.token else "anonymous"

    def readable(self) -> Repo:
        """The repository, if this token may read it; a private one is not there for others."""
        repo = self.api.store.repo(self.kind, self.name)
        if repo.private and not self.token:
            raise Refused(401, "RepoNotFound", "Invalid username or password.")
        return repo

    def writable(self) -> Repo:
        self.may_write(self.name)
        return self.api.store.repo(self.kind, self.name)

    def may_write(self, name: str) -> None:
        if not self.token:
            raise Refused(401, message="Invalid username or password.")
        if not {EVERYTHING, name} & {*self.token.writes}:
            raise Refused(403, message=f"This token cannot write {name}.")

    def commit(self, repo: Repo) -> Commit:
        return repo.commit(unquote(self.words.get("revision") or "main"))


class Api:
    """All answers of the Hub, but for what goes wrong on the way."""

    def __init__(self, store: Store, tokens: Mapping[str, Token], endpoint: str = ""):
        self.store, self.tokens, self.endpoint = store, tokens, endpoint

    def route(self, request: Request) -> tuple[str, Callable[[], Answer]]:
        """The name of the request's route and what answers it."""
        for name, method, pattern, function in ROUTES:
            found = pattern.fullmatch(request.path)
            if found and request.method in method.split("|"):
                words = {key: value for key, value in found.groupdict().items() if value is not None}
                kind = words.pop("kind", "models/").rstrip("/").removesuffix("s")
                call = Call(self, request, kind, unquote(words.pop("name", "")), words)
                return name, partial(function, call)
        return "unknown", partial(answer_json, {"error": "Sorry, we can't find the page you want."}, 404)

    def url(self, kind: str, name: str) -> str:
        return f"{self.endpoint}/{'' if kind == 'model' else f'{kind}s/'}{name}"


def whoami(call: Call) -> Answer:
    if not call.token:
        raise Refused(401, message="Invalid username or password.")
    rights = {"accessToken": {"displayName": "local", "role": "write" if call.token.writes else "read"}}
    user = {"type": "user", "id": call.author, "name": call.author, "fullname": call.author}
    return answer_json({**user, "avatarUrl": "", "orgs": [], "auth": {"type": "access_token", **rights}})


def create_repo(call: Call) -> Answer:
    asked = call.request.json()
    kind = asked.get("type") or "model"
    name = f"{asked.get('organization') or call.author}/{asked['name']}"
    url = {"url": call.api.url(kind, name), "name": name, "id": name}
    call.may_write(name)
    private = bool(asked.get("private")) or asked.get("visibility") == "private"
    try:
        call.api.store.create(kind, name, private, call.author)
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


def info(call: Call) -> Answer:
    repo = call.readable()
    at = call.commit(repo)
    named = {"id": call.name, "_id": git_id(call.name.encode())[:24], "author": call.name.split("/")[0]}
    when = {"lastModified": at.date, "createdAt": repo.about["created_at"]}
    rights = {"private": repo.private, "gated": False, "disabled": False}
    counts = {"downloads": 0, "likes": 0, "tags": []}
    siblings = [_sibling(path, file) for path, file in at.tree.items()]
    return answer_json({**named, **when, **rights, **counts, "sha": at.oid, "siblings": siblings})


def _sibling(path: str, file: File) -> dict:
    lfs = {"lfs": {"size": file.size, "sha256": file.lfs, "pointerSize": 134}} if file.lfs else {}
    return {"rfilename": path, "size": file.size, "blobId": file.oid, **lfs}


def tree(call: Call) -> Answer:
    repo, query = call.readable(), call.request.query
    at, folder = call.commit(repo), unquote(call.words.get("path", "")).strip("/")
    recursive = query.get("recursive", [""])[0].lower() in ("1", "true")
    entries = list(_entries(at.tree, folder, recursive))
    if folder and not entries:
        raise Refused(404, "EntryNotFound", f"{folder} is not in {call.name}.", commit=at.oid)
    start = int(query.get("cursor", ["0"])[0])
    more = {}
    if len(entries) > start + PAGE:
        asked = f"recursive={recursive}&cursor={start + PAGE}"
        more = {"Link": f'<{call.api.endpoint}{call.request.path}?{asked}>; rel="next"'}
    return answer_json(entries[start : start + PAGE], **more)


def _entries(files: Mapping[str, File], folder: str, recursive: bool) -> Iterator[dict]:
    prefix, seen = f"{folder}/" if folder else "", set()
    for path, file in files.items():
        if not path.startswith(prefix):
            continue
        parts = path[len(prefix) :].split("/")
        for depth in range(1, len(parts) if recursive else min(2, len(parts))):
            name = prefix + "/".join(parts[:depth])
            if name not in seen:
                seen.add(name)
                yield {"type": "directory", "oid": git_id(name.encode()), "size": 0, "path": name}
        if recursive or len(parts) == 1:
            yield _entry(path, file)


def _entry(path: str, file: File) -> dict:
    lfs = {"lfs": {"oid": file.lfs, "size": file.size, "pointerSize": 134}} if file.lfs else {}
    return {"type": "file", "oid": file.oid, "size": file.size, "path": path, **lfs}


def paths_info(call: Call) -> Answer:
    repo = call.readable()
    at = call.commit(repo)
    asked = parse_qs(call.request.body.decode())
    entries = []
    for path in asked.get("paths", []):
        if path in at.tree:
            entries.append(_entry(path, at.tree[path]))
        elif any(name.startswith(f"{path}/") for name in at.tree):
            entries.append({"type": "directory", "oid": git_id(path.encode()), "size": 0, "path": path})
    if asked.get("expand", [""])[0].lower() == "true":
        for entry in entries:
            if entry["type"] == "file":
                last = repo.last_change(at, entry["path"])
                entry["lastCommit"] = {"id": last.oid, "title": last.title, "date": last.date}
    return answer_json(entries)


def resolve(call: Call) -> Answer:
    repo = call.readable()
    at, path = call.commit(repo), unquote(call.words["path"])
    content, file = repo.read(at, path), at.tree[path]
    headers = {
        "X-Repo-Commit": at.oid,
        "ETag": f'"{file.etag}"',
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(path.rsplit('/')[-1])}",
    }
    if file.lfs:
        headers |= {"X-Linked-Etag": f'"{file.lfs}"', "X-Linked-Size": str(file.size)}
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", call.request.headers.get("Range", ""))
    if not wanted:
        return Answer(200, content, headers)
    return _part(content, wanted[1], wanted[2], headers)


def _part(content: bytes, first: str, last: str, headers: dict[str, str]) -> Answer:
    size = len(content)
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= size:
        return Answer(416, b"", {"Content-Range": f"bytes */{size}"})
    return Answer(206, content[start:end], {**headers, "Content-Range": f"bytes {start}-{end - 1}/{size}"})


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


def _routes() -> list[tuple[str, str, re.Pattern, Callable[[Call], Answer]]]:
    repo = r"/api/(?P<kind>models|datasets|spaces)/(?P<name>[^/]+/[^/]+)"
    page = r"/(?P<kind>datasets/|spaces/)?(?P<name>[^/]+/[^/]+)"
    at = r"(?P<revision>[^/]+)"
    table = [
        ("whoami", "GET", "/api/whoami-v2", whoami),
        ("create", "POST", "/api/repos/create", create_repo),
        ("delete", "DELETE", "/api/repos/delete", delete_repo),
        ("validate-yaml", "POST", "/api/validate-yaml", validate_yaml),
        ("settings", "PUT", f"{repo}/settings", change_settings),
        ("auth-check", "GET", f"{repo}/auth-check(?P<write>/write)?", check_access),
        ("preupload", "POST", f"{repo}/preupload/{at}", preupload),
        ("commit", "POST", f"{repo}/commit/{at}", commit),
        ("info", "GET", f"{repo}(/revision/{at})?", info),
        ("tree", "GET", f"{repo}/tree/{at}(/(?P<path>.*))?", tree),
        ("paths-info", "POST", f"{repo}/paths-info/{at}", paths_info),
        ("refs", "GET", f"{repo}/refs", refs),
        ("commits", "GET", f"{repo}/commits/{at}", commits),
        ("tag", "POST", f"{repo}/tag/{at}", make_tag),
        ("tag", "DELETE", f"{repo}/tag/{at}", drop_tag),
        ("branch", "POST", f"{repo}/branch/{at}", make_branch),
        ("branch", "DELETE", f"{repo}/branch/{at}", drop_branch),
        ("squash", "POST", f"{repo}/super-squash/{at}", squash),
        ("lfs-files", "GET", f"{repo}/lfs-files", lfs_files),
        ("lfs-files", "POST", f"{repo}/lfs-files/batch", delete_lfs_files),
        ("lfs-batch", "POST", rf"{page}\.git/info/lfs/objects/batch", lfs_batch),
        (
            "lfs-upload",
            "PUT",
            r"/lfs/(?P<kind>models|datasets|spaces)/(?P<name>[^/]+/[^/]+)/(?P<oid>[0-9a-f]{64})",
            lfs_upload,
        ),
        ("resolve", "GET|HEAD", f"{page}/resolve/{at}/(?P<path>.+)", resolve),
    ]
    return [(name, method, re.compile(pattern), function) for name, method, pattern, function in table]


ROUTES = _routes()
