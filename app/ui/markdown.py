"""Answers as HTML: Markdown without raw HTML, without images, with links that leak nothing.

Promise: whatever a model or a visitor wrote, the result holds no script, loads nothing and opens no window
that could reach back.
"""

from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token


def render(text: str) -> str:
    """The HTML of an answer; line breaks are kept as they were written."""
    return _markdown.render(text)


def _open_link(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """A link opens beside the chat, tells the other side nothing and gives it no handle on this page."""
    tokens[index].attrSet("target", "_blank")
    tokens[index].attrSet("rel", "noopener noreferrer nofollow")
    return str(self.renderToken(tokens, index, options, env))


def _build() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    markdown.disable(["image", "html_block", "html_inline"])  # an image would call another host
    markdown.add_render_rule("link_open", _open_link)
    return markdown


_markdown = _build()
