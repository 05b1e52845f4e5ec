"""What is read: listings page by page, single paths, files with ranges."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qs, quote, unquote

from tests.hub.call import Answer, Call, answer_json
from tests.hub.store import File, Refused, git_id

PAGE = 1000  # entries of a listing that come at once, as on the Hub


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
