"""The Hub's HTTP API as its own clients use it: a table of routes, each a function from a call to an answer.

Regular and large files (git LFS, basic transfer), commits with `parentCommit`, listings page by page,
downloads with ranges, branches, tags, squashing, private repositories and tokens; what is set on a Space and
how it builds; Jobs and their schedules, which are written down and never run. Not here: xet, what is in a
bucket, webhooks.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import unquote

from tests.hub import downloads, history, jobs, repositories, spaces, uploads
from tests.hub.call import Answer, Call, Request, Token, answer_json
from tests.hub.store import Store


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


def _routes() -> list[tuple[str, str, re.Pattern, Callable[[Call], Answer]]]:
    repo = r"/api/(?P<kind>models|datasets|spaces)/(?P<name>[^/]+/[^/]+)"
    space = r"/api/(?P<kind>spaces)/(?P<name>[^/]+/[^/]+)"
    page = r"/(?P<kind>datasets/|spaces/)?(?P<name>[^/]+/[^/]+)"
    at = r"(?P<revision>[^/]+)"
    table = [
        ("whoami", "GET", "/api/whoami-v2", repositories.whoami),
        ("create", "POST", "/api/repos/create", repositories.create_repo),
        ("delete", "DELETE", "/api/repos/delete", repositories.delete_repo),
        ("validate-yaml", "POST", "/api/validate-yaml", repositories.validate_yaml),
        ("settings", "PUT", f"{repo}/settings", repositories.change_settings),
        ("auth-check", "GET", f"{repo}/auth-check(?P<write>/write)?", repositories.check_access),
        ("preupload", "POST", f"{repo}/preupload/{at}", uploads.preupload),
        ("commit", "POST", f"{repo}/commit/{at}", uploads.commit),
        ("info", "GET", f"{repo}(/revision/{at})?", repositories.info),
        ("tree", "GET", f"{repo}/tree/{at}(/(?P<path>.*))?", downloads.tree),
        ("paths-info", "POST", f"{repo}/paths-info/{at}", downloads.paths_info),
        ("refs", "GET", f"{repo}/refs", history.refs),
        ("commits", "GET", f"{repo}/commits/{at}", history.commits),
        ("tag", "POST", f"{repo}/tag/{at}", history.make_tag),
        ("tag", "DELETE", f"{repo}/tag/{at}", history.drop_tag),
        ("branch", "POST", f"{repo}/branch/{at}", history.make_branch),
        ("branch", "DELETE", f"{repo}/branch/{at}", history.drop_branch),
        ("squash", "POST", f"{repo}/super-squash/{at}", history.squash),
        ("lfs-files", "GET", f"{repo}/lfs-files", uploads.lfs_files),
        ("lfs-files", "POST", f"{repo}/lfs-files/batch", uploads.delete_lfs_files),
        ("secrets", "GET", f"{space}/secrets", spaces.secrets),
        ("secrets", "POST", f"{space}/secrets", spaces.set_secret),
        ("variables", "GET", f"{space}/variables", spaces.variables),
        ("variables", "POST", f"{space}/variables", spaces.set_variable),
        ("volumes", "PUT", f"{space}/volumes", spaces.set_volumes),
        ("runtime", "GET", f"{space}/runtime", spaces.runtime),
        ("logs", "GET", f"{space}/logs/(?P<which>build|run)", spaces.logs),
        ("bucket", "POST", r"/api/buckets/(?P<name>[^/]+/[^/]+)", jobs.make_bucket),
        ("job", "POST", r"/api/jobs/(?P<owner>[^/]+)", jobs.run),
        ("schedules", "GET", r"/api/scheduled-jobs/(?P<owner>[^/]+)", jobs.schedules),
        ("schedule", "POST", r"/api/scheduled-jobs/(?P<owner>[^/]+)", jobs.schedule),
        ("unschedule", "DELETE", r"/api/scheduled-jobs/(?P<owner>[^/]+)/(?P<id>[^/]+)", jobs.drop),
        ("lfs-batch", "POST", rf"{page}\.git/info/lfs/objects/batch", uploads.lfs_batch),
        (
            "lfs-upload",
            "PUT",
            r"/lfs/(?P<kind>models|datasets|spaces)/(?P<name>[^/]+/[^/]+)/(?P<oid>[0-9a-f]{64})",
            uploads.lfs_upload,
        ),
        ("resolve", "GET|HEAD", f"{page}/resolve/{at}/(?P<path>.+)", downloads.resolve),
    ]
    return [(name, method, re.compile(pattern), function) for name, method, pattern, function in table]


ROUTES = _routes()
