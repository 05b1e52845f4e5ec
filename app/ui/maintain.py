"""The maintainer's tab: what the page asks, each question one JSON object, each answer one too.

    review_queue, review_decide, review_undo      flags to decide on, one key each
    set_preview, set_curate                       the next curated set
    rounds, round_look, round_start, round_stop   rounds, followed while they run
    experiments, experiment_ask                   experiments, and what is asked of them
    models, model_promote, model_rollback         what is served, and what could be
    fetch_others                                  flags and decisions of others, by `backtalk flags sync`

Promise: the door lets in maintainers alone and says who they are; whatever acts is logged with its outcome.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from app.maintain import curation, experiments, models, rounds, running
from app.maintain.actions import record
from app.maintain.experiments import Asked
from app.maintain.maintainer import Maintainer
from app.maintain.place import place_of, recipes
from app.maintain.review import ReviewDesk, Wanted
from app.maintain.running import Wish
from app.ui.endpoint import MAINTAINER, at_once, frankly
from backtalk.errors import BacktalkError, WordsError

Json = dict[str, Any]

LONGEST_TEXT = 20_000  # characters of any field; what is stored has its own, tighter bounds
SYNC_SECONDS = 300


class Maintain:
    """Answers the maintainer's tab."""

    name = "maintain"

    def __init__(self) -> None:
        self._desk = ReviewDesk()

    def endpoints(self) -> None:
        """Registers the questions above with the Gradio app that is being built."""
        for answer in (
            self.review_queue, self.review_decide, self.review_undo, self.set_preview, self.set_curate,
            self.rounds, self.round_look, self.round_start, self.round_stop, self.experiments,
            self.experiment_ask, self.models, self.model_promote, self.model_rollback, self.fetch_others,
        ):  # fmt: skip
            at_once(answer, role=MAINTAINER)

    def close(self) -> None:
        self._desk.close()

    # --- review ---

    @frankly
    def review_queue(self, request: Json) -> Json:
        wanted = Wanted(_text(request, "state"), _text(request, "reason"), _number(request, "round", -1))
        return self._desk.look(wanted, Maintainer.of(request).name)

    @frankly
    def review_decide(self, request: Json) -> Json:
        state, flags = _text(request, "state"), request.get("flags")
        note, correction = _text(request, "note"), _text(request, "correction")

        def act(maintainer: Maintainer) -> Json:
            return {"flags": self._desk.decide(maintainer.name, flags, state, note, correction)}

        return _logged(request, f"review {_named(flags)}: {state}", act)

    @frankly
    def review_undo(self, request: Json) -> Json:
        flags = request.get("flags")

        def act(maintainer: Maintainer) -> Json:
            return {"flags": self._desk.undo(maintainer.name, flags)}

        return _logged(request, f"review {_named(flags)}: undo", act)

    @frankly
    def fetch_others(self, request: Json) -> Json:
        return _logged(request, "flags sync", lambda who: who.run(["flags", "sync"], SYNC_SECONDS))

    # --- the set ---

    @frankly
    def set_preview(self, request: Json) -> Json:
        Maintainer.of(request)
        return curation.preview(_text(request, "include", "accepted"))

    @frankly
    def set_curate(self, request: Json) -> Json:
        include = _text(request, "include", "accepted")
        return _logged(request, f"curate {include}", lambda who: curation.curate(who, include))

    # --- rounds ---

    @frankly
    def rounds(self, request: Json) -> Json:
        place = place_of(Maintainer.of(request))
        return {
            "rounds": rounds.listed(),
            "started": rounds.started(),
            "running": running.is_running(),
            "recipes": list(recipes()),
            "place": {"where": place.where, "why": place.why, "prices": place.prices},
        }

    @frankly
    def round_look(self, request: Json) -> Json:
        Maintainer.of(request)
        return {**rounds.look(_number(request, "number", 0)), "started": rounds.started()}

    @frankly
    def round_start(self, request: Json) -> Json:
        wish = Wish(
            _text(request, "recipe"),
            _text(request, "include"),
            request.get("fresh") is True,
            _text(request, "flavor"),
            _text(request, "timeout"),
        )
        words = " ".join(f"{name}={value}" for name, value in asdict(wish).items() if value)
        return _logged(request, f"round {words}", lambda who: running.start(who, wish).as_json())

    @frankly
    def round_stop(self, request: Json) -> Json:
        def act(_: Maintainer) -> Json:
            running.stop()
            return {"stopped": True}

        return _logged(request, "round stop", act)

    # --- experiments ---

    @frankly
    def experiments(self, request: Json) -> Json:
        Maintainer.of(request)
        return experiments.look(_text(request, "name"))

    @frankly
    def experiment_ask(self, request: Json) -> Json:
        asked = Asked(
            _text(request, "action"),
            _text(request, "experiment"),
            _text(request, "configuration"),
            _text(request, "changes"),
            request.get("warm") is True,
        )
        words = f"experiment {asked.action} {asked.experiment} {asked.configuration} {asked.changes}".strip()
        return _logged(request, words, lambda who: {"asked": experiments.ask(who, asked)})

    # --- models ---

    @frankly
    def models(self, request: Json) -> Json:
        Maintainer.of(request)
        return models.table()

    @frankly
    def model_promote(self, request: Json) -> Json:
        file, why = _text(request, "file"), _text(request, "why")
        return _logged(request, f"promote {file}", lambda who: models.promote(who, file, why))

    @frankly
    def model_rollback(self, request: Json) -> Json:
        to, why = _text(request, "to"), _text(request, "why")
        return _logged(request, f"rollback to {to}", lambda who: models.rollback(who, to, why))


def _logged(request: Json, what: str, act: Callable[[Maintainer], Json]) -> Json:
    """Acts for whoever the door let in, and writes down what came of it, be it a refusal."""
    maintainer = Maintainer.of(request)
    try:
        done = act(maintainer)
    except BacktalkError as fault:
        record(request["maintainer"], what, str(fault))
        raise
    record(request["maintainer"], what, "done")
    return done


def _named(flags: Any) -> str:
    """The flags of a request as the log names them."""
    names = [one.get("flag") for one in flags if isinstance(one, dict)] if isinstance(flags, list) else []
    known = [name for name in names if isinstance(name, str)]
    return f"{known[0][:36]}" + (f" and {len(known) - 1} more" if len(known) > 1 else "") if known else "?"


def _text(request: Json, name: str, default: str = "") -> str:
    value = request.get(name, default)
    if not isinstance(value, str) or len(value) > LONGEST_TEXT or "\0" in value:
        raise WordsError(f"The request's '{name}' is no text of at most {LONGEST_TEXT:,} characters.")
    return value


def _number(request: Json, name: str, default: int) -> int:
    value = request.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > 10**9:
        raise WordsError(f"The request's '{name}' is no number that is wanted here.")
    return value
