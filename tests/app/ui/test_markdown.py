import pytest

from app.ui.markdown import render


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "a <b onclick=alert(1)>b</b>",
        "<!-- x --><svg/onload=alert(1)>",
    ],
)
def test_html_is_shown_as_text(text: str) -> None:
    html = render(text)
    assert "&lt;" in html
    assert not any(f"<{tag}" in html for tag in ("script", "img", "b ", "svg", "!--"))


@pytest.mark.parametrize(
    "target", ["javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x"]
)
def test_a_link_that_runs_something_is_no_link(target: str) -> None:
    assert "<a" not in render(f"[click]({target})")


def test_an_image_loads_nothing() -> None:
    assert "<img" not in render("![pixel](https://example.org/p.png)")


def test_a_link_opens_beside_the_page_and_tells_nothing() -> None:
    assert 'target="_blank" rel="noopener noreferrer nofollow"' in render("[x](https://example.org)")


def test_what_a_model_writes_is_laid_out() -> None:
    html = render(
        "**bold** `code`\nnext\n\n1. one\n2. two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\n<p>\n```"
    )
    for part in ("<strong>", "<code>", "<br", "<ol>", "<table>", "<pre><code>&lt;p&gt;"):
        assert part in html


def test_half_of_an_answer_is_laid_out_too() -> None:
    assert "<pre><code>" in render("```\nx = 1")
    assert render("") == ""
