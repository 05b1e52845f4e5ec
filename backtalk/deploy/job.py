"""`backtalk deploy job RECIPE`: a recipe or a round on hardware that Hugging Face lends by the minute.

    backtalk deploy job recipes/llama32_feedback.yaml --flavor l4x1 --timeout 2h
    backtalk deploy job recipes/llama32_round.yaml --flavor l4x1 --schedule "0 3 * * *" --fewest-new 20

What runs is this checkout at one commit: its files go to a private dataset repository first and are mounted
from there. What is to outlive the machine lies in a private bucket: see `on_job.py` for what happens there.
"""

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backtalk import hub
from backtalk.deploy.folder import Folder, assemble_job
from backtalk.deploy.on_job import is_round
from backtalk.errors import WordsError, nearest
from backtalk.hub import jobs, tokens
from backtalk.hub.jobs import Job, Mount
from backtalk.progress import Progress
from backtalk.verb import Parser, report_json

IMAGE = "python:3.11-bookworm"  # with a compiler; torch brings its own CUDA
CODE, STATE, WORK = "/code", "/state", "/backtalk"
CREDITS = "Jobs need prepaid credits, and a token with the right to start and manage Jobs."
DOLLARS_AN_HOUR = {
    "cpu-basic": 0.01,
    "t4-small": 0.40,
    "l4x1": 0.80,
    "a10g-small": 1.00,
    "a100-large": 2.50,
    "rtx-pro-6000": 2.75,
    "h200": 5.00,
}
"""Of 2026-08-22; the Hub's pricing page has today's, and those of the other flavors."""
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
WHEN = re.compile(r"@(hourly|daily|weekly|monthly|yearly|annually)|\S+( \S+){4}")
VARIABLES = ("BACKTALK_FLAGS_DATASET", "BACKTALK_SAFETY_DATASET")
TOKEN = "BACKTALK_JOB_TOKEN"
NIGHTLY_FEWEST = 20  # flags below which a round only collects


@dataclass(frozen=True)
class Plan:
    """What is to run, where from, and when."""

    recipe: str  # in the folder that goes along
    repo: str  # dataset of the code, and bucket of the state
    model: str
    flavor: str
    timeout: int
    schedule: str
    fewest_new: int

    @property
    def name(self) -> str:
        return Path(self.recipe).stem

    @property
    def command(self) -> tuple[str, ...]:
        """Sets up what `make test` would, without the tests, and starts the work."""
        words = ["backtalk.deploy.on_job", self.recipe, "--state", STATE]
        words += ["--model", self.model] if self.model else []
        words += ["--fewest-new", str(self.fewest_new)] if self.fewest_new else []
        script = (
            f"set -eu; cp -r {CODE}/. {WORK}; cd {WORK}; python -m scripts.install train; "
            f"exec .venv/bin/python -m {shlex.join(words)}"
        )
        return ("bash", "-c", script)

    @property
    def most_it_costs(self) -> str:
        price = DOLLARS_AN_HOUR.get(self.flavor)
        hours = self.timeout / 3600
        if price is None:
            return f"At most {hours:g} hours of {self.flavor}; its price is on the Hub's pricing page."
        each = " each time" if self.schedule else ""
        return f"At most {hours:g} hours of {self.flavor} at ${price:.2f}: ${hours * price:.2f}{each}."


def main(argv: list[str]) -> int:
    """`backtalk deploy job`."""
    args = _parser().parse_args(argv)
    folder, recipe = assemble_job(args.recipe)
    plan = _plan(args, recipe)
    print(f"{len(folder.files)} files, {folder.bytes / 1e6:.1f} MB, to the private dataset {plan.repo}.")
    print(f"{plan.most_it_costs} {CREDITS}")
    told: dict[str, Any] = {"recipe": plan.recipe, "command": plan.command, "files": folder.sizes}
    if not args.dry_run:
        told |= deploy(plan, folder, Progress())
        print(f"{'From now on' if plan.schedule else 'Started'}: {told['address']}")
    else:
        print(f"It would run: {plan.command[-1]}")
    if args.json:
        report_json(told)
    return 0


def deploy(plan: Plan, folder: Folder, progress: Progress) -> dict[str, str]:
    """Pushes the code, makes the bucket, and starts or schedules the Job. Raises NetworkError."""
    progress.done(f"Deploying as {tokens.rights_of().sentence}.")
    hub.create_private(plan.repo)
    commit = _push(plan.repo, folder)
    jobs.create_bucket(plan.repo)
    job = Job(
        owner=plan.repo.partition("/")[0],
        name=plan.name,
        image=IMAGE,
        command=plan.command,
        flavor=plan.flavor,
        timeout=plan.timeout,
        mounts=(Mount("dataset", plan.repo, CODE, commit), Mount("bucket", plan.repo, STATE)),
        variables={name: os.environ[name] for name in VARIABLES if os.environ.get(name)},
        secrets={"HF_TOKEN": os.environ.get(TOKEN) or jobs.own_token()},
    )
    made, address = jobs.schedule(job, plan.schedule) if plan.schedule else jobs.run(job)
    return {"commit": commit, "id": made, "address": address}


def _push(repo: str, folder: Folder) -> str:
    head = hub.head(repo)
    there = hub.files(repo, head.commit) if head else frozenset[str]()
    gone = there - folder.files.keys() - {".gitattributes"}
    return hub.commit(repo, folder.files, "Backtalk", delete=sorted(gone))


def _plan(args: Any, recipe: str) -> Plan:
    known = jobs.flavors()
    if args.flavor not in known:
        raise WordsError(
            f"There is no flavor '{args.flavor}'.{nearest(args.flavor, known)} Known are {', '.join(known)}."
        )
    if args.schedule and not WHEN.fullmatch(args.schedule):
        raise WordsError(
            f"--schedule is '{args.schedule}'; wanted are five fields, as in '0 3 * * *', or @daily."
        )
    repo = args.repo or ("" if args.dry_run else f"{tokens.rights_of().user}/backtalk-job")
    return Plan(
        recipe,
        repo or "YOU/backtalk-job",
        args.model,
        args.flavor,
        _seconds(args.timeout),
        args.schedule,
        _fewest_new(args),
    )


def _fewest_new(args: Any) -> int:
    if not is_round(args.recipe):
        if args.fewest_new:
            raise WordsError(
                f"--fewest-new counts flags for a round, and {args.recipe} is a training recipe."
            )
        return 0
    if args.fewest_new is None:
        return NIGHTLY_FEWEST if args.schedule else 0
    return int(args.fewest_new)


def _seconds(text: str) -> int:
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if not found or not int(found[1]):
        raise WordsError(f"--timeout is '{text}'; wanted is a number with s, m, h or d, as in 90m.")
    return int(found[1]) * SECONDS[found[2]]


def _parser() -> Parser:
    parser = Parser(
        "deploy job",
        "A recipe or a round on hardware that Hugging Face lends by the minute. The Job gets your token, or "
        f"the one in {TOKEN}.",
        example="backtalk deploy job recipes/llama32_feedback.yaml --flavor l4x1 --timeout 2h\n"
        'backtalk deploy job recipes/llama32_round.yaml --flavor l4x1 --schedule "0 3 * * *" --fewest-new 20',
    )
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="a training recipe, or one of a round")
    parser.add_argument("--flavor", required=True, help="hardware, such as t4-small, l4x1 or a10g-small")
    parser.add_argument(
        "--timeout", default="2h", metavar="TIME", help="when it is ended at the latest: 90m, 2h (2h)"
    )
    parser.add_argument("--schedule", default="", metavar="CRON", help="from now on at these times, in UTC")
    parser.add_argument(
        "--fewest-new",
        type=int,
        metavar="N",
        help="run a round only where N flags came or went since the last one (20 with --schedule, else 0)",
    )
    parser.add_argument(
        "--repo",
        default="",
        metavar="OWNER/NAME",
        help="private dataset for the code and bucket for the state (YOU/backtalk-job)",
    )
    parser.add_argument(
        "--model", default="", metavar="OWNER/NAME", help="model repository to publish to (none)"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would run, and stop there")
    parser.add_json()
    return parser
