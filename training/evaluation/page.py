"""A page to look at: the items that changed most, baseline and model side by side.

One file without script, picture or address of anything else; every text is escaped, since models and
visitors wrote it.
"""

from collections.abc import Iterable, Sequence
from html import escape

from training.evaluation.compare import Pair, change
from training.evaluation.scores import Scored

MOST = 50
TITLES = {
    "fixed": "fixed",
    "newly_broken": "newly broken",
    "still_wrong": "still wrong",
    "still_right": "right",
}
ALLOWED = "default-src 'none'; style-src 'unsafe-inline'"  # what a browser may load: nothing
STYLE = """
:root { color-scheme: light dark; --line: light-dark(#ccc, #555); --soft: light-dark(#555, #aaa); }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
section { border-top: 1px solid var(--line); padding: 1rem 0; }
.pair { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); }
.text { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
h2, h3 { font-size: 1rem; margin: 0 0 .3rem; }
h3, .facts { color: var(--soft); font-weight: 500; }
.fixed h2::before { content: "+ "; } .newly_broken h2::before { content: "− "; }
"""


def page(pairs: Sequence[Pair], of: int, baseline: str, model: str) -> str:
    """The page as HTML: `pairs` in the order given, chosen of `of` items."""
    heading = f"{model} beside {baseline}"
    count = f"The {len(pairs)} items of {of} that changed most." if pairs else "No answer differs."
    sections = "\n".join(_section(pair, baseline, model) for pair in pairs)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{ALLOWED}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(heading)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(heading)}</h1>\n<p>{count}</p>\n{sections}\n</body>\n</html>\n"
    )


def _section(pair: Pair, baseline: str, model: str) -> str:
    before, after = pair
    item, kind = before.item, change(pair)
    title = f"{item.id}: {TITLES[kind]}" if kind else item.id
    asked = "\n\n".join(f"{message['role']}: {message['content']}" for message in item.messages)
    columns = [
        _column("reference", item.reference or "none is known", _wanted(item.must, item.must_not)),
        _column(baseline, _said(before), _numbers(before)),
        _column(model, _said(after), _numbers(after)),
    ]
    return (
        f'<section class="{kind}">\n<h2>{escape(title)}</h2>\n<p class="text">{escape(asked)}</p>\n'
        f'<div class="pair">\n{"".join(columns)}</div>\n</section>'
    )


def _column(title: str, text: str, facts: str) -> str:
    return (
        f'<div><h3>{escape(title)}</h3>\n<p class="text">{escape(text)}</p>\n'
        f'<p class="facts">{escape(facts)}</p></div>\n'
    )


def _said(one: Scored) -> str:
    text = one.answer.text if one.answer else ""
    return text if text.strip() else "(empty)"


def _wanted(must: Iterable[str], must_not: Iterable[str]) -> str:
    parts = [f"must say: {text}" for text in must] + [f"must not say: {text}" for text in must_not]
    return "; ".join(parts)


def _numbers(one: Scored) -> str:
    parts = [] if one.right is None else ["right" if one.right else "wrong"]
    if one.rougeL is not None:
        parts.append(f"ROUGE-L {one.rougeL:.2f}")
    if one.bits is not None and one.bytes:
        parts.append(f"{one.bits / one.bytes:.3f} bits per byte")
    if one.answer and not one.answer.ended:
        parts.append("cut off")
    return ", ".join(parts)
