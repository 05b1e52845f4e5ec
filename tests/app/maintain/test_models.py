"""The models that the page shows, and the two moves that it makes.

Command: python -m pytest tests/app/maintain/test_models.py
Promise: the table says what cards, verdicts and the pointer say; the gate is not overruled from the page;
both moves stand in the pointer with who made them and why.
"""

import pytest

from app.maintain import models
from app.maintain.maintainer import Maintainer
from backtalk.errors import BacktalkError, WordsError
from backtalk.files import sha256_of, write_json
from backtalk.home import home
from tests.export.folders import judge, pointer, promotable

ADA = Maintainer("ada")


def test_promote_and_roll_back_as_the_signed_in_maintainer() -> None:
    file = promotable("shop-1", 1)
    assert models.table()["served"]["name"] == "mini"
    assert models.promote(ADA, "shop-1/shop-1-Q8_0.gguf", "round 1")["name"] == "shop-1-Q8_0"
    assert (pointer()["sha256"], pointer()["who"], pointer()["why"]) == (sha256_of(file), "ada", "round 1")
    shown = models.table()
    assert [row["served"] for row in shown["files"]] == [True]
    assert (shown["served"]["verdict"], shown["earlier"][0]["name"]) == ("PROMOTE", "mini")
    assert models.rollback(ADA, "mini", "it invents prices")["name"] == "mini"
    assert pointer()["rolled_back"]["who"] == "ada" and models.table()["served"]["name"] == "mini"


def test_the_gate_is_not_overruled_from_the_page() -> None:
    judge(promotable("shop-2", 2), "HOLD", "about 40 more items needed")
    (row,) = models.table()["files"]
    assert (row["verdict"], row["passed"], row["why"]) == ("HOLD", True, "about 40 more items needed")
    with pytest.raises(BacktalkError, match="The verdict on shop-2-Q8_0.gguf is HOLD"):
        models.promote(ADA, row["file"], "--force")
    assert not (home() / "promoted.json").exists()


def test_a_verdict_on_another_file_is_none() -> None:
    file = promotable("shop-3", 3)
    write_json(file.parent / "verdict.json", {"verdict": "PROMOTE", "gguf_sha256": "0" * 64})
    assert models.table()["files"][0]["verdict"] == ""


@pytest.mark.parametrize("file", ["../promoted.json", "/etc/passwd", "shop-9/shop-9-Q8_0.gguf", ""])
def test_only_files_of_the_table_can_be_promoted(file: str) -> None:
    promotable("shop-1", 1)
    with pytest.raises(WordsError, match="There is no exported file"):
        models.promote(ADA, file, "why not")


def test_a_move_without_a_reason_is_refused() -> None:
    promotable("shop-1", 1)
    with pytest.raises(WordsError, match="Say why"):
        models.promote(ADA, "shop-1/shop-1-Q8_0.gguf", "  ")
    with pytest.raises(WordsError, match="not among the earlier ones"):
        models.rollback(ADA, "mini", "why not")
