"""What the page starts with."""

import re
from pathlib import Path
from typing import Any

from app.settings import Settings
from app.ui import page
from app.ui.words import read_words
from feedback.taxonomy import taxonomy

BUILT = re.compile(r"`([a-z_]*)\$\{[^`}]*\}([a-z_]*)`")  # a name put together, such as `theme_${name}`
USED = re.compile(r"\bwords\.(?!yaml)(\w+)|\bsay\(\"(\w+)\"")


def test_every_word_that_a_script_says_is_written_down() -> None:
    said = {
        name for path in page.WEB.glob("*.js") for pair in USED.findall(path.read_text()) for name in pair
    }
    assert said - {""} <= read_words().keys()


def test_every_word_that_is_written_down_is_said_somewhere() -> None:
    sources = [*page.WEB.glob("*.js"), *page.FOLDER.glob("*.py"), page.FOLDER / "shell.html"]
    text = "\n".join(path.read_text() for path in sources)
    built = "|".join(f"{before}.+{after}" for before, after in BUILT.findall(text) if before or after)
    unsaid = [name for name in read_words() if not re.search(rf"\b{re.escape(name)}\b", text)]
    assert [name for name in unsaid if not re.fullmatch(built, name)] == []


def test_the_panel_offers_every_reason_that_is_in_use() -> None:
    choices = page.panel_choices(taxonomy())
    offered = {
        one["id"] for verdict in ("good", "bad") for group in choices[verdict] for one in group["reasons"]
    }
    assert offered == {reason.id for reason in taxonomy().reasons if not reason.archived}


def test_no_word_can_end_the_element_that_holds_the_data() -> None:
    head = page.head({**read_words(), "title": "</script><script>alert(1)"}, Settings())
    assert "</script><script>alert(1)" not in head


def test_the_first_history_is_the_one_of_the_settings() -> None:
    assert page.start_data(read_words(), Settings(history="off"))["defaults"]["history"] == "off"


def test_nothing_in_our_files_names_another_host() -> None:
    for path in [*page.WEB.iterdir(), page.FOLDER / "shell.html"]:
        hosts = set(re.findall(r"https?://[\w.]+", path.read_text()))
        assert hosts <= {"http://www.w3.org"}, path


def test_files_are_read_anew_while_developing(open_page: Any, scripted_desk: Any) -> None:
    client = open_page(scripted_desk, dev=True)
    assert client.get("/page/dev/main.js").headers["cache-control"] == "no-store"
    assert Path(page.WEB, "main.js").read_text() == client.get("/page/dev/main.js").text
