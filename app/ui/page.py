"""The page around the tabs: shell, style, scripts and the data that they start with.

    app = serve_page(open_views(desk, flagging, settings), settings)

The page comes without words: the browser says which language it wants, and takes that file alone.

Promise: the app serves the page, its own files and Gradio's queue behind one door, and nothing else.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from gradio.utils import LRUCache
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from app.desk.conversation import BOUNDS, LONGEST_MESSAGE, LONGEST_SYSTEM_PROMPT, Controls
from app.settings import Settings
from app.ui import words
from app.ui.chat import ANSWERS_AT_ONCE
from app.ui.door import Door, Endpoint, WhoMaintains, nobody
from app.ui.endpoint import ROLES
from app.ui.programs import Programs
from app.ui.views import ORDER, View
from app.ui.words import languages, read_words
from feedback.taxonomy import FITTING, Taxonomy, taxonomy

FOLDER = Path(__file__).parent
WEB, WORDS = FOLDER / "web", words.FOLDER
MOST_WAITING = 32  # questions before the engine's own line; more are asked to come back in a moment
QUEUE_SECONDS = 0.01  # how often Gradio's queue looks for a question; its own 0.001 takes 7 % of a core
SESSIONS = 256  # that Gradio remembers: each answer is one, of 78 kB, and nothing of ours is in it
STREAMS = 20_000  # whose end Gradio remembers, for ever otherwise; far more than begin while one lasts
THREADS = ANSWERS_AT_ONCE + 40  # each answer takes one, and what is answered at once must find one free
MOST_REASONS = 4
IMPORTED = re.compile(r"""^import .*from "\./([\w.-]+)";$""", re.MULTILINE)
PAPER, PAPER_DARK = "#faf8f4", "#171614"  # --paper of page.css
EARLY = WEB / "early.js"  # stands in the head itself, so that nothing is drawn before it
FONT = ["system-ui", "sans-serif"]  # names only: a font of the visitor's machine, nothing is fetched


def build(views: Sequence[View], settings: Settings) -> gr.Blocks:
    """The app with its views; the model at their desk may still be loading."""
    with gr.Blocks(title=read_words()["title"], analytics_enabled=False) as blocks:
        gr.HTML(
            html_template=(FOLDER / "shell.html").read_text(encoding="utf-8"),
            js_on_load=f'import(new URL("{files_at(settings)}/main.js", document.baseURI))'
            ".then(({ start }) => start(element));",
            apply_default_css=False,
        )
        for view in views:
            view.endpoints()
    blocks.max_threads = THREADS  # read by the queue, and at the start
    blocks.queue(max_size=MOST_WAITING)
    blocks._queue.sleep_when_free = QUEUE_SECONDS
    blocks.state_session_capacity = SESSIONS  # read when it is mounted
    blocks._queue.pending_event_ids_session = LRUCache(STREAMS)
    return blocks


def serve_page(
    views: Sequence[View],
    settings: Settings,
    beside: Mapping[tuple[str, str], ASGIApp] | None = None,
    maintainer: WhoMaintains = nobody,
) -> FastAPI:
    """The web app: our files beside Gradio, and the door before both; `beside`, `maintainer`: see Door."""
    app = FastAPI(openapi_url=None)
    blocks = build(views, settings)
    folder = files_at(settings)
    cache = "no-store" if settings.dev else "max-age=31536000, immutable"
    for language in languages():
        app.add_route(f"/{folder}/{language}.json", _words_in(language, cache))
    app.mount(f"/{folder}", Files(WEB, cache))
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        theme=theme(),
        head=head([view.name for view in views], settings),
        footer_links=[],
        favicon_path=str(WEB / "icon.svg"),
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        show_error=False,
    )
    early = [f"{folder}/{name}" for name in soon_needed()]
    app.add_middleware(
        Door,
        endpoints=endpoints_of(blocks),
        early=early,
        beside={**Programs(app.router, public_functions(blocks)).routes(), **(beside or {})},
        maintainer=maintainer,
    )
    return app


def soon_needed() -> list[str]:
    """Our files that every visitor needs; the other tabs' come when their tab is opened."""
    found = ["main.js"]
    for name in found:
        text = (WEB / name).read_text(encoding="utf-8")
        found += [other for other in dict.fromkeys(IMPORTED.findall(text)) if other not in found]
    return ["page.css", *found]


def endpoints_of(blocks: gr.Blocks) -> dict[str, Endpoint]:
    """Every endpoint of the page, by name. Raises KeyError for one without a role."""
    return {
        str(fn.api_name): Endpoint("call" if fn.queue else "run", ROLES[str(fn.api_name)])
        for fn in blocks.fns.values()
        if fn.api_visibility == "private"
    }


def public_functions(blocks: gr.Blocks) -> dict[str, tuple[int, int]]:
    """What programs may call: the name of each function, its number, and how many arguments it takes."""
    return {
        str(fn.api_name): (number, len(fn.inputs))
        for number, fn in blocks.fns.items()
        if fn.api_visibility == "public"
    }


class Files(StaticFiles):
    """The files of a folder, each with one rule for how long a browser may keep it."""

    def __init__(self, folder: Path, cache: str):
        super().__init__(directory=folder)
        self._cache = cache

    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers["cache-control"] = self._cache
        return response


def files_at(settings: Settings) -> str:
    """The address of our files; it changes with them, so that a browser never mixes two releases."""
    if settings.dev:
        return "page/dev"
    content = b"".join(path.read_bytes() for folder in (WEB, WORDS) for path in sorted(folder.iterdir()))
    return f"page/{hashlib.sha256(content).hexdigest()[:12]}"


def _words_in(language: str, cache: str) -> Callable[[Request], Response]:
    def answer(_request: Request) -> Response:
        return JSONResponse(read_words(language), headers={"cache-control": cache})

    return answer


def theme() -> gr.themes.Base:
    """Gradio's own colours where they show: before our style is there."""
    base = gr.themes.Base(font=FONT, font_mono=["ui-monospace", "monospace"])
    return base.set(body_background_fill=PAPER, body_background_fill_dark=PAPER_DARK)


def head(views: Sequence[str], settings: Settings) -> str:
    """What the page's head holds: colours and language chosen before, our style, and the scripts' data."""
    data = json.dumps(start_data(views, settings)).replace("<", "\\u003c")  # no text can end the element
    early, files = EARLY.read_text(encoding="utf-8"), files_at(settings)
    return "\n".join(
        [
            '<meta name="color-scheme" content="light dark">',
            f'<script data-languages="{" ".join(languages())}" data-files="{files}">{early}</script>',
            f'<link rel="stylesheet" href="{files}/page.css">',
            f'<script type="application/json" id="backtalk-data">{data}</script>',
        ]
    )


def start_data(views: Sequence[str], settings: Settings) -> dict[str, Any]:
    """What the scripts know from the start: views, languages, bounds, defaults and the panel's reasons."""
    return {
        "views": [name for name in ORDER if name in views],
        "languages": languages(),
        "bounds": BOUNDS,
        "longest": {"message": LONGEST_MESSAGE, "system_prompt": LONGEST_SYSTEM_PROMPT},
        "defaults": {**Controls().__dict__, "history": settings.history},
        "taxonomy": panel_choices(taxonomy()),
        "most_reasons": MOST_REASONS,
        "bundled": settings.model in ("", "mini"),  # as far as is known before the model is loaded
    }


def panel_choices(known: Taxonomy) -> dict[str, Any]:
    """The reasons that each verdict offers, in groups by direction, and the hazards by id."""
    return {
        "hazards": known.hazards,
        "good": _groups(known, "good"),
        "bad": _groups(known, "bad"),
    }


def _groups(known: Taxonomy, verdict: str) -> list[dict[str, Any]]:
    offered = known.offered(verdict)
    return [
        {
            "direction": direction,
            "reasons": [
                {
                    "id": reason.id,
                    "label": reason.label,
                    "hint": reason.hint,
                    "hazards": list(reason.hazards),
                    "needs_comment": reason.needs_comment,
                }
                for reason in offered
                if reason.direction == direction
            ],
        }
        for direction in FITTING[verdict]
    ]
