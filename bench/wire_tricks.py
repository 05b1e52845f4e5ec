"""HTTP as no page speaks it: methods, addresses, content types, headers and bodies that fit nothing.

trick(chance, samples)      one request; `samples` are right ones by endpoint
"""

import json
import random
from collections.abc import Callable, Mapping
from typing import Any

from bench.wire import JSON, Request

METHODS = ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD", "PROPFIND", "GET")
TYPES = (
    "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/xml",
    "application/jsonx", "application/json; charset=utf-16", "\u00e9", "a" * 5_000,
)  # fmt: skip
SPELLED_PATHS = """
/ /config /health /account /metrics /v1/models /theme.css /favicon.ico /docs /openapi.json /monitoring
/mcp /manifest.json /login/huggingface /login/callback?code=x&state=y /gradio_api/info
/gradio_api/info?all_endpoints=true /gradio_api/queue/data
/gradio_api/queue/data?session_hash=..%2F.. /gradio_api/queue/status /gradio_api/file=/etc/passwd
/file=/etc/passwd /gradio_api/file=outbox.sqlite /gradio_api/upload
/gradio_api/upload_progress?upload_id=1 /gradio_api/proxy=http://127.0.0.1:1/
/gradio_api/stream/a/b/c/playlist.m3u8 /gradio_api/reset /gradio_api/cancel /gradio_api/runs
/gradio_api/component_server /gradio_api/deep_link /gradio_api/dev/reload
/gradio_api/call/ask/0123456789abcdef /gradio_api/call/nothing/x /gradio_api/heartbeat/x
/gradio_api/startup-events /page/x/../../space.py /page/%2e%2e/%2e%2e/space.py
/assets/../../../../etc/passwd /assets/..%2f..%2fx /static/%00 /static/%ff%fe /static/ /assets/ // /%
/%zz /?a=%00 /page/000000000000/en.json /svelte/x.js /robots.txt /custom_component/x /pwa_icon
"""
PATHS = (
    *SPELLED_PATHS.split(),
    "/gradio_api/call/ask/" + "a" * 4_000,
    "/gradio_api/queue/data?session_hash=" + "0" * 40,
    "/" + "a" * 9_000,
    "/\u00e9",
)
SPELLED_WAYS = """
/gradio_api/run/{name} /gradio_api/call/{name} /gradio_api/api/{name} /run/{name} /api/{name}
/gradio_api/run/{name}/ /gradio_api//run/{name} /gradio_api/run/%2e/{name} /gradio_api/run/x/../{name}
/gradio_api/run/{name}?maintainer=eve /gradio_api/call/{name}/0123456789abcdef /gradio_api/predict
/gradio_api/queue/push /GRADIO_API/run/{name} /gradio_api/run/{name}%00 /gradio_api/run/{name}%E2%80%8B
"""
WAYS = (
    *SPELLED_WAYS.split(),
    *["/gradio_api/run/{name}"] * 5,
)
CLAIMS: tuple[dict[str, str], ...] = (
    {}, {"x-forwarded-user": "anna"}, {"x-forwarded-for": "127.0.0.1"},
    {"authorization": "Bearer maintainer"}, {"x-original-url": "/account"}, {"x-http-method-override": "GET"},
    {"sec-fetch-site": "same-origin"}, {"host": "localhost"}, {"x-forwarded-prefix": "/maintain"},
)  # fmt: skip
BODIES = (
    b"", b"null", b"[]", b"1", b'"', b"{", b"\xff\xfe\x00", b"\xef\xbb\xbf{}", b'{"data":', b'{"data":[]}',
    b'{"data":[{},{}]}', b'{"data":{}}', b'{"data":[[]]}', b'{"data":[null]}', b'{"data":[{"a":1,"a":2}]}',
    b'{"data":[{}],"fn_index":0,"session_hash":"x"}', b'{"data":[{}]} {}', b'{"data":[{"x":1e999}]}',
    b'{"data":[{"x":-}]}', b'{"data":[{"x":' + b"9" * 5_000 + b"}]}", b'{"data":[' + b"[" * 50_000,
    b"{" * 100_000, b'{"data":[{"x":"\xed\xa0\x80"}]}',
    b"data=1", b"--x\r\nContent-Disposition: form-data\r\n\r\n--x--",
)  # fmt: skip
RAW = (
    b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + b"a" * 90_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
    b"POST /gradio_api/run/mine HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\n{}",
    b"POST /gradio_api/run/mine HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{}",
    b"POST /gradio_api/run/mine HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"zz\r\n{}\r\n0\r\n\r\n",
    b"POST /gradio_api/run/mine HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"POST /gradio_api/run/mine HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
)
MIB = 2**20


def trick(chance: random.Random, samples: Mapping[str, Any]) -> Request:
    """A right request but for one thing, or nothing right at all."""
    name = chance.choice(list(samples))
    path, body = _path(name), json.dumps({"data": [samples[name]]}).encode()
    headers, odd_key = dict(JSON), chance.choice(("", "x", None, ["x"], {}, "\ud800"))
    unknown = _path(chance.choice(("nothing", "ask\0", "__init__", "a" * 3_000)))
    method = chance.choice(("GET", "GET", "HEAD", "POST", "PUT"))
    tricks: tuple[Callable[[], Request], ...] = (
        lambda: Request(chance.choice(METHODS), path, headers, body),
        lambda: Request("POST", path, {"content-type": chance.choice(TYPES)}, body),
        lambda: Request("POST", path, headers, chance.choice(BODIES)),
        lambda: Request("POST", path, headers, chance.choice(BODIES)),
        lambda: Request("POST", path, headers, body[: chance.randrange(len(body))]),
        lambda: Request(method, chance.choice(PATHS), headers, body),
        lambda: Request("GET", chance.choice(PATHS)),
        lambda: Request("POST", path, {**JSON, **_headers(chance)}, body),
        lambda: Request("POST", unknown, headers, body),
        lambda: Request("POST", chance.choice(("/sign-in", "/sign-out")), headers, chance.choice(BODIES)),
        lambda: Request("POST", "/sign-in", headers, json.dumps({"key": odd_key}).encode()),
        lambda: Request(raw=chance.choice(RAW)),
        lambda: _large(path, chance),
    )  # fmt: skip
    return chance.choice(tricks)()


def _path(name: str) -> str:
    return f"/gradio_api/{'call' if name in ('ask', 'compare') else 'run'}/{name}"


def _headers(chance: random.Random) -> dict[str, str]:
    """Huge, many, or lying."""
    return chance.choice(
        (
            {"cookie": "backtalk_account=" + "a" * 50_000},
            {"cookie": "; ".join(f"c{number}=x" for number in range(3_000))},
            {f"x-{number}": "y" * 100 for number in range(400)},
            {"accept-language": "\u00e9" * 200, "accept": "*/*;q=x"},
            {"content-encoding": "gzip"},
            {"cookie": "backtalk_account=\udc80\u00ff"},
            {"range": "bytes=9-1", "if-none-match": "*"},
            {"origin": "http://elsewhere.example", "sec-fetch-site": "cross-site"},
        )
    )


def _large(path: str, chance: random.Random) -> Request:
    """From well within what is let in to well beyond it; the largest are rare, since they take a while."""
    size = chance.choice((1, 1, 3, 3, 5, 5, 12, 33)) * MIB
    return Request("POST", path, dict(JSON), b'{"data":[{"question":"' + b"a" * size + b'"}]}')
