"""The page around the tabs: shell, style, scripts and the data that they start with.

    blocks = build(Chat(desk, flagging), settings)
    app = serve_page(blocks, settings)

Promise: the app serves the page, its own files and Gradio's queue behind one door, and nothing else.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import gradio as gr
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response
from starlette.types import ASGIApp

from app.conversation import BOUNDS, LONGEST_MESSAGE, LONGEST_SYSTEM_PROMPT, Controls
from app.settings import Settings
from app.ui.chat import ANSWERS_AT_ONCE, Chat
from app.ui.door import Door
from app.ui.words import read_words
from feedback.taxonomy import FITTING, Taxonomy, taxonomy

FOLDER = Path(__file__).parent
WEB = FOLDER / "web"
MOST_WAITING = 32  # questions before the engine's own line; more are asked to come back in a moment
THREADS = ANSWERS_AT_ONCE + 40  # each answer takes one, and what is answered at once must find one free
MOST_REASONS = 4
PAPER, PAPER_DARK = "#faf8f4", "#171614"  # --paper of page.css
FONT = ["system-ui", "sans-serif"]  # names only: a font of the visitor's machine, nothing is fetched


def build(chat: Chat, settings: Settings) -> gr.Blocks:
    """The app with its chat tab; the model at the chat's desk may still be loading."""
    words = read_words()
    with gr.Blocks(title=words["title"], analytics_enabled=False) as blocks:
        gr.HTML(
            html_template=Template((FOLDER / "shell.html").read_text(encoding="utf-8")).substitute(words),
            js_on_load=f'import(new URL("{files_at(settings)}/main.js", document.baseURI))'
            ".then(({ start }) => start(element));",
            apply_default_css=False,
        )
        chat.endpoints()
    blocks.max_threads = THREADS  # read by the queue, and at the start
    return blocks.queue(max_size=MOST_WAITING)


def serve_page(
    blocks: gr.Blocks, settings: Settings, beside: Mapping[tuple[str, str], ASGIApp] | None = None
) -> FastAPI:
    """The web app: our own files beside Gradio, and the door before both; `beside`: see Door."""
    app = FastAPI(openapi_url=None)
    folder = files_at(settings)
    app.mount(f"/{folder}", Files(WEB, "no-store" if settings.dev else "max-age=31536000, immutable"))
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        theme=theme(),
        head=head(read_words(), settings),
        footer_links=[],
        favicon_path=str(WEB / "icon.svg"),
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        show_error=False,
    )
    endpoints = {str(fn.api_name): "call" if fn.queue else "run" for fn in blocks.fns.values()}
    early = sorted(f"{folder}/{path.name}" for path in WEB.iterdir() if path.suffix in (".css", ".js"))
    app.add_middleware(Door, endpoints=endpoints, early=early, beside=beside)
    return app


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
    content = b"".join(path.read_bytes() for path in sorted(WEB.iterdir()))
    return f"page/{hashlib.sha256(content).hexdigest()[:12]}"


def theme() -> gr.themes.Base:
    """Gradio's own colours where they show: before our style is there."""
    base = gr.themes.Base(font=FONT, font_mono=["ui-monospace", "monospace"])
    return base.set(body_background_fill=PAPER, body_background_fill_dark=PAPER_DARK)


def head(words: dict[str, Any], settings: Settings) -> str:
    """What the page's head holds: the colours chosen before, our style, and the scripts' data."""
    data = json.dumps(start_data(words, settings)).replace("<", "\\u003c")  # no text can end the element
    return "\n".join(
        [
            '<meta name="color-scheme" content="light dark">',
            "<script>try { document.documentElement.dataset.theme = "
            'localStorage.getItem("backtalk.theme") ?? "" } catch {}</script>',
            f'<link rel="stylesheet" href="{files_at(settings)}/page.css">',
            f'<script type="application/json" id="backtalk-data">{data}</script>',
        ]
    )


def start_data(words: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """What the scripts know from the start: words, bounds, defaults and the reasons of the panel."""
    return {
        "words": words,
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
