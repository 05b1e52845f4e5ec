"""`backtalk publish EXPORT --repo OWNER/NAME`: an export goes to the Hub, in one commit or not at all.

    backtalk publish shop-3 --repo somebody/shop-desk

What goes up stands on a list (`contents`): GGUF files that kept every bound, the card, a model card, the
picture, the verdict, and what the licence wants. Nothing else of the folder does. Large files are sent first;
the one commit makes all of them visible together, so one that fails leaves the repository as it was, and
publishing again changes nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from backtalk import hub
from backtalk.card import NAME as CARD
from backtalk.card import Card
from backtalk.errors import ModelError, NetworkError, WordsError
from backtalk.progress import Progress
from backtalk.verb import Parser, report_json
from export.exported import Export, Gguf, folder_of, read_export
from export.licence import Licence, licence_of
from export.model_card import PICTURE, Page, model_card
from export.origin import origin_of
from export.verdict import NAME as VERDICT
from export.verdict import Verdict, find_verdict

PATIENCE_SECONDS = (
    6 * 3600.0
)  # a slow line takes hours for a few GB; a commit that fails is tried again after them

Contents = dict[str, bytes | Path]


@dataclass(frozen=True)
class Published:
    """What stands on the Hub now."""

    repo: str
    commit: str
    private: bool
    changed: bool
    files: dict[str, str]  # sha256 of each GGUF


def main(argv: list[str]) -> int:
    parser = Parser(
        "publish",
        "An export to a model repository on the Hub, in one commit.",
        example="backtalk publish shop-3 --repo somebody/shop-desk",
    )
    parser.add_argument("export", metavar="EXPORT", help="the folder of an export, or its id")
    parser.add_argument("--repo", required=True, metavar="OWNER/NAME", help="the model repository")
    parser.add_argument("--quants", default="", metavar="Q,...", help="only these files (default: all)")
    parser.add_argument("--public", action="store_true", help="make the repository for everyone to see")
    parser.add_argument("--license", default="", metavar="ID", help="where none is stated, as apache-2.0")
    parser.add_argument("--datasets", default="", metavar="OWNER/NAME,...", help="data sets that taught it")
    parser.add_argument("--verdict", type=Path, metavar="PATH", help=f"default: {VERDICT} of the export")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go up")
    parser.add_json()
    args = parser.parse_args(argv)
    export = read_export(folder_of(args.export))
    files = passing(export, _words(args.quants))
    verdict = find_verdict(export.folder, args.verdict)
    page = _page(export, files, args.repo, args.license, _words(args.datasets), verdict)
    going = contents(page)
    for path in sorted(going):
        print(f"  {path:<40} {_size(going[path]) / 1e6:9.1f} MB")
    if args.dry_run:
        if args.json:
            report_json({"repo": args.repo, "would_publish": {path: _size(going[path]) for path in going}})
        return 0
    done = publish(page, going, args.public)
    print(_sentence(done))
    if args.json:
        report_json(asdict(done))
    return 0


def passing(export: Export, quants: tuple[str, ...] = ()) -> tuple[Gguf, ...]:
    """The files of these quantizations, or all. One that broke a bound is refused, and the bound is named."""
    unknown = set(quants) - {file.quant for file in export.files}
    if unknown:
        there = ", ".join(file.quant for file in export.files)
        raise WordsError(f"{export.folder} has no {', '.join(sorted(unknown))}; it has {there}.")
    files = tuple(file for file in export.files if not quants or file.quant in quants)
    for file in files:
        if file.failed:
            raise ModelError(
                f"{file.path.name} did not pass: {', '.join(file.failed)}. Export it anew, or publish the "
                "others by name, as in --quants Q8_0."
            )
    return files


def contents(page: Page) -> Contents:
    """Everything that goes up, by its path there; this list is all."""
    folder = page.export.folder
    going: Contents = {file.path.name: file.path for file in page.files}
    if (folder / PICTURE).is_file():
        going[PICTURE] = folder / PICTURE
    if page.verdict:
        going[VERDICT] = _json(page.verdict)
    going[CARD] = _json(asdict(_public_card(page.export.card, going)))
    going["README.md"] = model_card(page).encode()
    going.update(page.licence.files)
    return going


def publish(page: Page, going: Mapping[str, bytes | Path], public: bool) -> Published:
    """Makes the commit and compares what the Hub holds with what is here. Raises NetworkError, WordsError."""
    before = hub.head(page.repo, kind="model")
    if before is None:
        hub.create(page.repo, kind="model", private=not public)
        before = hub.head(page.repo, kind="model")
    elif not before.private and not public:
        raise WordsError(
            f"{page.repo} can be seen by everyone. Say so with --public, or name another repository."
        )
    progress = Progress()
    progress.report(f"sending {sum(map(_size, going.values())) / 1e6:,.0f} MB to {page.repo}")
    what = f"{page.export.card.id}: {', '.join(file.quant for file in page.files)}"
    commit = hub.commit(page.repo, going, what, kind="model", patience=PATIENCE_SECONDS)
    progress.done(f"{page.repo} is at {commit[:7]}")
    _compare(page, commit)
    changed = before is None or commit != before.commit
    private = before.private if before else not public
    return Published(
        page.repo, commit, private, changed, {file.path.name: file.sha256 for file in page.files}
    )


def _compare(page: Page, commit: str) -> None:
    there = hub.large_files(page.repo, commit)
    for file in page.files:
        if there.get(file.path.name) != file.sha256:
            raise NetworkError(
                f"{page.repo} does not hold {file.path.name} as it is here, though the commit {commit[:7]} "
                "was confirmed. Publish again."
            )


def _page(
    export: Export,
    files: tuple[Gguf, ...],
    repo: str,
    licence: str,
    datasets: tuple[str, ...],
    verdict: Verdict | None,
) -> Page:
    _check_name(repo)
    origin = origin_of(export)
    origin.datasets = list(dict.fromkeys([*origin.datasets, *datasets]))
    agreed: Licence = licence_of(origin, repo, [file.path.name for file in files], licence)
    speaks = verdict is not None and verdict.gguf_sha256 in {file.sha256 for file in files}
    return Page(repo, export, files, origin, agreed, verdict.raw if verdict and speaks else {})


def _check_name(repo: str) -> None:
    owner, _, name = repo.partition("/")
    if not owner or not name or "/" in name:
        raise WordsError(f"'{repo}' is not a repository. Wanted: OWNER/NAME, as in somebody/shop-desk.")


def _public_card(card: Card, going: Mapping[str, Any]) -> Card:
    """The card as it goes up: only outputs that go along, and of this machine's paths the last part alone."""
    return replace(
        card,
        inputs=_without_places(card.inputs),
        recipe=_without_places(card.recipe),
        metrics=_without_places(card.metrics),
        verdicts=_without_places(card.verdicts),
        outputs=[output for output in card.outputs if output["path"] in going],
    )


def _without_places(value: Any) -> Any:
    """An absolute path says whose machine it was, and nothing to anyone else."""
    if isinstance(value, dict):
        return {key: _without_places(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_places(one) for one in value]
    if isinstance(value, str) and value.startswith(("/", "~/")):
        return PurePath(value).name
    return value


def _sentence(done: Published) -> str:
    seen = "private" if done.private else "public"
    if not done.changed:
        return f"{done.repo} ({seen}) holds all of this already, at {done.commit[:7]}."
    return (
        f"Published to {done.repo} ({seen}), commit {done.commit[:7]}. "
        f"Next: backtalk promote EXPORT --repo {done.repo}"
    )


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode()


def _size(content: bytes | Path) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
