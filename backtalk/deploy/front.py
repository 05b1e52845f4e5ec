"""README.md of the Space: what the Hub reads at its head, and a few words for people under it.

front("gradio", "somebody/desk", "somebody/desk-model")
"""

import yaml

from backtalk.deploy.requirements import pinned
from backtalk.hub.spaces import Sdk

PORT = 7860
PYTHON = "3.11"  # the Hub's own default is 3.10, which is too old for Backtalk
# Maintainers act with their own token: they publish and decide in the repositories, and start Jobs. Nobody
# else has a reason to sign in.
SCOPES = ("write-repos", "jobs")
TEXT = """\
---
{head}---

# Backtalk

A chat with a small language model that learns from what its visitors flag. Flag an answer, say why, write a
better one. What you agree to goes to a private dataset, maintainers review it, the next model learns from it.

The code is Apache-2.0. This folder was put together by `backtalk deploy space {space}`.
"""


def front(sdk: Sdk, space: str, model: str) -> str:
    """The whole file. `model` is the model repository that the Space follows."""
    head = {
        "title": "Backtalk",
        "emoji": "💬",
        "colorFrom": "gray",
        "colorTo": "yellow",
        "sdk": sdk,
        **_how(sdk),
        "short_description": "A small model that learns from what you flag",
        "license": "apache-2.0",
        "models": [model],
        "hf_oauth": True,
        "hf_oauth_scopes": list(SCOPES),
        "pinned": False,
    }
    return TEXT.format(head=yaml.safe_dump(head, sort_keys=False, allow_unicode=True), space=space)


def _how(sdk: Sdk) -> dict[str, str | int]:
    if sdk == "docker":
        return {"app_port": PORT}
    return {"sdk_version": pinned("gradio"), "python_version": PYTHON, "app_file": "space.py"}
