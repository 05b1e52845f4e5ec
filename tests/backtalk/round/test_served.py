"""What a round has to beat: the model that its model repository serves, whichever machine promoted it.

Command: python -m pytest tests/backtalk/round/test_served.py
Promise: a machine that knows nothing of earlier rounds neither judges its candidate against an older model,
nor takes a round's number twice, nor publishes over what another machine promoted meanwhile.
"""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from backtalk.errors import BacktalkError
from backtalk.files import write_json
from backtalk.models import POINTER
from backtalk.round import acts
from backtalk.round import recipe as recipes
from backtalk.round.recipe import RoundRecipe
from backtalk.round.served import current_of
from backtalk.round.state import Rounds
from tests.hub.server import Hub
from tests.hub.store import MAIN, Change, Repo

pytest_plugins = ["tests.hub.local"]

CONTENT = b"what round 3 made, on another machine"
FILE = "desk3-Q8_0.gguf"
NAMED = {
    "name": "desk3", "file": FILE, "repo": "shop/desk", "revision": "",
    "sha256": sha256(CONTENT).hexdigest(), "round": 3,
}  # fmt: skip
PUBLISHING = RoundRecipe(hub=recipes.Hub(model="shop/desk"))


def repository(hub: Hub) -> Repo:
    return hub.store.create("model", "shop/desk", private=True, author="somebody")


def promoted(hub: Hub, named: dict[str, object]) -> None:
    """A model repository with round 3's file, and the pointer."""
    repo = repository(hub)
    repo.keep_large(NAMED["sha256"], CONTENT)
    large = {FILE: (NAMED["sha256"], len(CONTENT))}
    repo.add(Change("more", files={POINTER: json.dumps(named).encode()}, large=large), MAIN, "somebody")


@pytest.fixture
def home(state_folder: Path) -> Path:
    """A state folder in which another model was promoted, and no further than there."""
    state_folder.mkdir(parents=True, exist_ok=True)
    (state_folder / "here.gguf").write_bytes(b"what was promoted here")
    sha = sha256(b"what was promoted here").hexdigest()
    write_json(state_folder / POINTER, {"name": "here", "file": "here.gguf", "sha256": sha, "round": 1})
    return state_folder


def test_what_the_repository_serves_has_to_be_beaten_and_its_round_is_the_last(hub: Hub, home: Path) -> None:
    promoted(hub, NAMED)
    found = current_of(PUBLISHING)
    assert {key: found[key] for key in ("name", "sha256", "round")} == {
        key: NAMED[key] for key in ("name", "sha256", "round")
    }
    assert Path(found["ref"]).read_bytes() == CONTENT
    assert Rounds().begin({}, found, "ann").number == 4


def test_a_repository_that_was_rolled_back_to_the_first_serves_the_bundled_model(
    hub: Hub, home: Path
) -> None:
    promoted(hub, {**NAMED, "name": "mini", "file": "", "sha256": "", "round": 0})
    assert current_of(PUBLISHING)["name"] == "mini"


def test_without_a_pointer_there_it_is_what_is_served_here(hub: Hub, home: Path) -> None:
    assert current_of(PUBLISHING)["name"] == "here"
    repository(hub)
    assert current_of(PUBLISHING)["name"] == "here"


def test_a_round_that_is_not_to_use_the_network_asks_nobody(hub: Hub, home: Path) -> None:
    promoted(hub, NAMED)
    assert current_of(PUBLISHING, offline=True)["name"] == "here"
    assert current_of(RoundRecipe())["name"] == "here"
    assert not hub.requests


def test_nothing_is_published_over_what_another_machine_promoted_meanwhile(hub: Hub, home: Path) -> None:
    state = Rounds().begin({}, current_of(PUBLISHING), "ann")
    state.note("export", {"path": "exports/one"})
    state.note("evaluate", {})
    write_json(state.folder / "verdict.json", {"verdict": "PROMOTE", "gguf_sha256": "candidate"})
    promoted(hub, NAMED)
    before = len(hub.requests)
    with pytest.raises(BacktalkError, match="desk3 is served by now, and .* was judged against here"):
        acts.publish(acts.Round(state, PUBLISHING, Rounds(), print, print))
    assert "commit" not in hub.requests[before:]
