"""What is served beside the page, for programs: numbers for Prometheus, and answers where there is a key."""

from collections.abc import Mapping

from starlette.types import ASGIApp

from app.access.key import Key
from app.desk.answering import Desk
from app.flags.flagging import Flagging
from app.programs.api import COMPLETIONS, MODELS, Api
from app.programs.metrics import Metrics
from app.settings import Settings

Beside = Mapping[tuple[str, str], ASGIApp]
"""By method and path."""


def beside_page(desk: Desk, flagging: Flagging, settings: Settings, key: Key | None) -> Beside:
    """Nothing, unless the settings say so."""
    served: dict[tuple[str, str], ASGIApp] = {}
    if settings.metrics:
        served["GET", "/metrics"] = Metrics(desk, flagging, key)
    if key:
        api = Api(desk, key)
        served |= {("POST", COMPLETIONS): api, ("GET", MODELS): api}
    return served
