"""`backtalk deploy space OWNER/NAME`: this checkout as a Space that visitors can open.

    backtalk deploy space somebody/desk --dry-run      what would go, file by file; the Hub is not asked
    BACKTALK_SPACE_TOKEN=hf_... backtalk deploy space somebody/desk

It makes what is missing (two private datasets for flags, a private model repository, the Space), sets
variables and secrets, pushes one commit and waits until the Space runs. Every step may be repeated: what is
right already is left alone, and a BACKTALK_SECRET that the Space has is never replaced, since every pseudonym
hangs on it.
"""

import os
import re
import secrets
from dataclasses import dataclass
from typing import Any, get_args

from backtalk import hub
from backtalk.deploy import building
from backtalk.deploy.folder import Folder, assemble
from backtalk.deploy.requirements import How, how_to_get_llama
from backtalk.deploy.space_token import VARIABLE, Needs, check_space_token
from backtalk.errors import WordsError
from backtalk.files import canonical_json
from backtalk.home import SHORTEST_SECRET
from backtalk.hub import spaces, tokens
from backtalk.hub.spaces import PLANS, Sdk
from backtalk.models import POINTER
from backtalk.progress import Progress
from backtalk.verb import Parser, report_json

NAME = re.compile(r"[\w-]+/[\w.-]+")
VOLUME = "/data"
KEPT_BY_THE_HUB = ".gitattributes"
BUNDLED_FIRST = {"format": "promoted/1", "name": "mini", "file": "", "sha256": "", "earlier": []}
"""The pointer of a model repository in which nothing was promoted yet: the bundled model answers."""


@dataclass(frozen=True)
class Plan:
    """What is to be on the Hub afterwards."""

    space: str
    sdk: Sdk
    private: bool
    flags: str
    safety: str
    model: str
    bucket: str

    @property
    def variables(self) -> dict[str, str]:
        """What the app reads; everybody may see it."""
        volume = {"BACKTALK_VOLUME": VOLUME} if self.bucket else {}
        return {
            "BACKTALK_FLAGS_DATASET": self.flags,
            "BACKTALK_SAFETY_DATASET": self.safety,
            "BACKTALK_MODEL": f"hf://{self.model}/{POINTER}",
            **volume,
        }

    @property
    def needs(self) -> Needs:
        return Needs((self.flags, self.safety), self.model)


def main(argv: list[str]) -> int:
    """`backtalk deploy space`."""
    args = _parser().parse_args(argv)
    plan = _plan(args)
    how: How = how_to_get_llama() if args.llama == "auto" else args.llama
    folder = assemble(plan.sdk, plan.space, plan.model, how)
    _show(folder, plan, how)
    if args.dry_run:
        if args.json:
            report_json(_told(plan, folder))
        return 0
    deployed = deploy(plan, folder, Progress(), wait=args.wait)
    print(f"\n{plan.space} runs: {deployed['address']}" if args.wait else f"\nPushed: {deployed['address']}")
    if args.json:
        report_json({**_told(plan, folder), **deployed})
    return 0


def deploy(plan: Plan, folder: Folder, progress: Progress, wait: bool = True) -> dict[str, Any]:
    """The whole story on the Hub; returns the commit, the address, and what was made and set.

    Raises WordsError for a token that is too broad or too narrow, NetworkError where the Hub says no, and
    BacktalkError where the Space does not come up.
    """
    progress.done(f"Deploying as {tokens.rights_of().sentence}.")
    made = _make_repositories(plan, progress)
    handed = _secrets(plan)
    if spaces_missing := hub.head(plan.space, kind="space") is None:
        spaces.create(plan.space, plan.sdk, plan.private)
        progress.done(f"Made {plan.space}.")
    written = spaces.set_up(plan.space, plan.variables, handed)
    if plan.bucket:
        spaces.mount(plan.space, plan.bucket, VOLUME)
    if written:
        progress.done(f"Set {', '.join(written)}.")
    commit = _push(plan, folder)
    progress.done(f"Pushed {len(folder.files)} files as commit {commit[:7]}.")
    if wait:
        building.wait_until_it_runs(plan.space, commit, progress)
    return {
        "commit": commit,
        "address": spaces.address(plan.space),
        "made": [*made, *([plan.space] if spaces_missing else [])],
        "set": written,
    }


def _make_repositories(plan: Plan, progress: Progress) -> list[str]:
    """The datasets and the model repository that are missing, all private; the latter with its pointer."""
    made = []
    for dataset in plan.needs.datasets:
        if hub.head(dataset) is None:
            hub.create_private(dataset)
            made.append(dataset)
    if hub.head(plan.model, kind="model") is None:
        hub.create(plan.model, kind="model")
        made.append(plan.model)
    _point_at_the_bundled_model(plan.model)
    if made:
        progress.done(f"Made {', '.join(made)}, for your eyes only.")
    return made


def _point_at_the_bundled_model(model: str) -> None:
    """A repository without a pointer would leave the Space without a model."""
    head = hub.head(model, kind="model")
    if head and POINTER not in hub.files(model, head.commit, kind="model"):
        pointer = {POINTER: canonical_json(BUNDLED_FIRST) + b"\n"}
        # On that head alone: a promotion that comes in between is the pointer then.
        hub.commit(model, pointer, "Nothing promoted yet", parent=head.commit, kind="model")


def _secrets(plan: Plan) -> dict[str, str]:
    """What the Space lacks of secrets, and the token that is given now; checked before it is handed over."""
    there = frozenset[str]()
    if hub.head(plan.space, kind="space") is not None:
        there = spaces.secrets_of(plan.space)
    handed = {}
    token = os.environ.get("BACKTALK_SPACE_TOKEN", "").strip()
    if token or "HF_TOKEN" not in there:
        rights = check_space_token(token, plan.needs)
        print(f"The Space's token: {rights.sentence}.")
        handed["HF_TOKEN"] = token
    if "BACKTALK_SECRET" not in there:
        handed["BACKTALK_SECRET"] = _secret()
    return handed


def _secret() -> str:
    given = os.environ.get("BACKTALK_SECRET", "")
    if given and len(given) < SHORTEST_SECRET:
        raise WordsError(
            f"BACKTALK_SECRET has {len(given)} characters; at least {SHORTEST_SECRET} are needed. Unset it, "
            "and one is made for the Space."
        )
    return given or secrets.token_hex(32)


def _push(plan: Plan, folder: Folder) -> str:
    """One commit that makes the Space hold these files and no others."""
    head = hub.head(plan.space, kind="space")
    there = hub.files(plan.space, head.commit, kind="space") if head else frozenset[str]()
    gone = there - folder.files.keys() - {KEPT_BY_THE_HUB}
    return hub.commit(plan.space, folder.files, "Backtalk", delete=sorted(gone), kind="space")


def _show(folder: Folder, plan: Plan, how: How) -> None:
    """Every file that goes, with its size, and what it will cost."""
    for path, size in folder.sizes.items():
        print(f"  {size:>10,}  {path}")
    print(f"{len(folder.files)} files, {folder.bytes / 1e6:.1f} MB, to the {plan.sdk} Space {plan.space}.")
    if plan.sdk == "gradio":
        said = "comes as a prebuilt wheel" if how == "prebuilt" else "is compiled while the Space is built"
        print(f"llama.cpp {said}.")
    print(PLANS)


def _told(plan: Plan, folder: Folder) -> dict[str, Any]:
    return {
        "space": plan.space,
        "sdk": plan.sdk,
        "files": folder.sizes,
        "bytes": folder.bytes,
        "variables": plan.variables,
    }


def _plan(args: Any) -> Plan:
    named = {
        "SPACE": args.space,
        "--flags": args.flags or f"{args.space}-flags",
        "--safety": args.safety or f"{args.space}-safety",
        "--model": args.model or f"{args.space}-model",
    }
    for flag, name in {**named, **({"--bucket": args.bucket} if args.bucket else {})}.items():
        if not NAME.fullmatch(name):
            raise WordsError(f"{flag} is '{name}'; wanted is OWNER/NAME, as in somebody/desk.")
    if named["--flags"] == named["--safety"]:
        raise WordsError("--flags and --safety name one dataset; safety flags are kept apart. Name two.")
    return Plan(
        args.space,
        args.sdk,
        args.private,
        named["--flags"],
        named["--safety"],
        named["--model"],
        args.bucket,
    )


def _parser() -> Parser:
    parser = Parser(
        "deploy space",
        "This checkout as a Space on the Hub, with the datasets and the model repository that it needs. "
        f"The token that the Space gets is read from {VARIABLE}.",
        example="backtalk deploy space somebody/desk --dry-run\n"
        "BACKTALK_SPACE_TOKEN=hf_... backtalk deploy space somebody/desk",
    )
    parser.add_argument("space", metavar="OWNER/NAME", help="the Space")
    parser.add_argument("--sdk", choices=get_args(Sdk), default="gradio", help="how it is built (gradio)")
    parser.add_argument("--private", action="store_true", help="make a new Space for your eyes only")
    parser.add_argument("--flags", default="", metavar="OWNER/NAME", help="dataset of flags (SPACE-flags)")
    parser.add_argument(
        "--safety", default="", metavar="OWNER/NAME", help="dataset of safety flags (SPACE-safety)"
    )
    parser.add_argument(
        "--model", default="", metavar="OWNER/NAME", help="model repository to follow (SPACE-model)"
    )
    parser.add_argument(
        "--bucket",
        default="",
        metavar="OWNER/NAME",
        help=f"bucket mounted at {VOLUME}, on which flags outlive a restart (none)",
    )
    parser.add_argument(
        "--llama",
        choices=("auto", *get_args(How)),
        default="auto",
        help="llama.cpp: prebuilt where its index has the pinned version, else compiled (auto)",
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would go, and stop there")
    parser.add_argument(
        "--no-wait", dest="wait", action="store_false", help="do not wait until the Space runs"
    )
    parser.add_json()
    return parser
