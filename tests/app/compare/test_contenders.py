"""Which models can be compared, as the state folder tells it.

Command: .venv/bin/python -m pytest tests/app/compare/test_contenders.py
Promise: each file once, with the round that made it; what is broken is left out, what is forged is refused.
"""

from pathlib import Path
from typing import Any

import pytest

from app.compare.contenders import CURRENT, VARIABLE, Contender, chosen, contenders
from backtalk.errors import WordsError
from backtalk.files import sha256_of, write_json
from backtalk.home import home
from backtalk.models import MINI, Model, resolve


def export(name: str, content: bytes) -> dict[str, Any]:
    """A finished export of one file; what its card says of the file."""
    folder = home() / "exports" / name
    folder.mkdir(parents=True)
    path = folder / f"{name}-Q8_0.gguf"
    path.write_bytes(content)
    output = {"path": path.name, "sha256": sha256_of(path), "bytes": path.stat().st_size}
    write_json(folder / "card.json", {"kind": "export", "outputs": [output]})
    return output


def finish_round(number: int, sha256: str) -> None:
    write_json(home() / "rounds" / str(number) / "card.json", {"metrics": {"sha256": sha256}})


def served(number: int) -> Model:
    return Model(f"round{number}", Path("served-Q8_0.gguf"), "a" * 64, round=number)


def told(models: list[Contender]) -> list[tuple[str, str, int]]:
    return [(one.kind, one.name, one.round) for one in models]


def test_on_a_fresh_machine_there_is_nothing_to_compare_with() -> None:
    assert told(contenders(resolve("mini"))) == [(CURRENT, "mini", 0)]


def test_rounds_exports_and_the_base_are_offered_beside_what_answers() -> None:
    mini = MINI.read_bytes()
    finish_round(2, export("two", mini + b"2")["sha256"])
    export("try", mini + b"3")
    export("same-as-base", mini)
    assert sorted(told(contenders(served(3)))) == [
        ("base", "mini", 0),
        ("current", "round3", 3),
        ("export", "try-Q8_0", 0),
        ("round", "two-Q8_0", 2),
    ]


def test_a_base_that_the_pointer_remembers_comes_before_the_bundled_one() -> None:
    before = {"name": "llama", "file": "llama-Q4_K_M.gguf", "repo": "o/n", "sha256": "b" * 64, "round": 0}
    write_json(home() / "promoted.json", {"earlier": [{"round": 1, "file": "x"}, before]})
    assert told(contenders(served(2)))[1:] == [("base", "llama", 0)]


def test_an_unfinished_or_broken_export_is_left_out() -> None:
    (home() / "exports" / "half").mkdir(parents=True)
    write_json(home() / "exports" / "odd" / "card.json", ["no card"])
    (home() / "rounds" / "1").mkdir(parents=True)
    (home() / "rounds" / "1" / "card.json").write_text("{")
    assert told(contenders(resolve("mini"))) == [(CURRENT, "mini", 0)]


def test_what_is_configured_is_offered_without_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"openai:http://10.0.0.7:8000/v1#big {MINI}")
    offered = [one.to_json() for one in contenders(served(1))]
    assert [one["name"] for one in offered if one["kind"] == "other"] == ["big", "mini-Q8_0"]
    assert "10.0.0.7" not in str(offered)


def test_an_endpoint_without_a_name_is_offered_by_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "openai:http://gpu.example:8000/v1")
    assert [one.name for one in contenders(served(1)) if one.kind == "other"] == ["gpu.example"]


@pytest.mark.parametrize(
    "keys", [None, "ab", ["current"], ["current", "current"], ["current", "/etc"], [1, 2]]
)
def test_only_two_different_ones_of_the_list_are_chosen(keys: Any) -> None:
    with pytest.raises(WordsError):
        chosen(keys, contenders(served(1)))


def test_the_file_that_is_opened_is_the_one_on_the_card() -> None:
    said = export("two", MINI.read_bytes() + b"2")
    [two] = [one for one in contenders(served(3)) if one.name == "two-Q8_0"]
    assert two.model().sha256 == said["sha256"]
    assert chosen([CURRENT, two.key], contenders(served(3)))[1].name == "two-Q8_0"
