"""`backtalk promote EXPORT|GGUF`: makes a model the one that is served, by moving one small pointer.

    backtalk promote shop-3                              here, under BACKTALK_HOME
    backtalk promote shop-3 --repo somebody/shop-desk    in the model repository, for all who serve from there

Wanted is a verdict PROMOTE on exactly this file, and that it kept every bound when it was verified. `--force`
overrules both; who did it, why, and what was overruled then stands in the pointer. `backtalk rollback` goes
back.
"""

import getpass
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backtalk import hub
from backtalk.errors import BacktalkError, GateError, ModelError, WordsError
from backtalk.home import home
from backtalk.verb import Parser, report_json
from export.exported import Export, Gguf, folder_of, read_export, read_gguf
from export.origin import licence_in, round_of
from export.pointer import Pointer, Promotion, move_here, move_on_hub
from export.verdict import NAME as VERDICT
from export.verdict import PROMOTE, Verdict, find_verdict


@dataclass(frozen=True)
class Candidate:
    """The file that is to be served, and what the gate said of it."""

    gguf: Gguf
    verdict: Verdict | None


def main(argv: list[str]) -> int:
    parser = Parser(
        "promote", "Make a model the one that is served.", example="backtalk promote shop-3 --why 'round 3'"
    )
    parser.add_argument("model", metavar="EXPORT|GGUF", help="an export's folder or id, or one of its files")
    parser.add_argument("--verdict", type=Path, metavar="PATH", help=f"default: {VERDICT} beside the file")
    parser.add_argument(
        "--repo", default="", metavar="OWNER/NAME", help="the pointer of this model repository"
    )
    parser.add_argument("--why", default="", metavar="TEXT", help="the reason, kept in the pointer")
    parser.add_argument("--by", default="", metavar="NAME", help="who decides (default: your name here)")
    parser.add_argument("--force", action="store_true", help="overrule the gate; needs --why")
    parser.add_json()
    args = parser.parse_args(argv)
    if args.force and not args.why.strip():
        raise WordsError("--force needs --why, so that everyone can read why the gate was overruled.")
    candidate = choose(folder_of(args.model), args.verdict)
    overruled = tuple(objections(candidate))
    if overruled and not args.force:
        raise refusal(candidate, overruled)
    fresh = promotion(candidate, overruled, args.by or getpass.getuser(), args.why)
    before, after = promote(fresh, candidate.gguf, args.repo)
    place = f"hf://{args.repo}/promoted.json" if args.repo else "here"
    if after == before:
        print(f"Served {place} already: {after.served.sentence}.")
    else:
        print(f"Served {place} from now on: {after.served.sentence}. Before: {before.served.sentence}.")
    if args.json:
        report_json({**after.as_json(), "changed": after != before})
    return 0


def choose(path: Path, given: Path | None) -> Candidate:
    """The file that is meant: the one named, else the one the verdict speaks of, else the only one."""
    if path.is_file():
        return Candidate(read_gguf(path), find_verdict(path.parent, given))
    export = read_export(path)
    verdict = find_verdict(path, given)
    return Candidate(_spoken_of(export, verdict), verdict)


def _spoken_of(export: Export, verdict: Verdict | None) -> Gguf:
    if verdict:
        for file in export.files:
            if file.sha256 == verdict.gguf_sha256:
                return file
    if len(export.files) == 1:
        return export.files[0]
    names = ", ".join(file.path.name for file in export.files)
    about = "a verdict on none of them" if verdict else "no verdict"
    raise WordsError(f"{export.folder} holds {names}, and {about}. Name the file that you mean.")


def objections(candidate: Candidate) -> Iterator[str]:
    """What speaks against serving it: the gate, and each bound that it broke when it was verified."""
    gguf, verdict = candidate.gguf, candidate.verdict
    if verdict is None:
        yield "no verdict"
    elif verdict.gguf_sha256 != gguf.sha256:
        yield f"a verdict on another file (sha256 {verdict.gguf_sha256[:8]})"
    elif verdict.word != PROMOTE:
        yield verdict.word
    yield from (f"bound: {bound}" for bound in gguf.failed)


def refusal(candidate: Candidate, overruled: tuple[str, ...]) -> BacktalkError:
    """The sentence for what speaks against it; HOLD and REJECT have an exit code of their own."""
    name, verdict = candidate.gguf.path.name, candidate.verdict
    if verdict and verdict.word in overruled:
        why = f": {verdict.why}" if verdict.why else ""
        return GateError(f"The verdict on {name} is {verdict.word}{why.rstrip('.')}. Nothing was promoted.")
    if overruled[0].startswith("bound: "):
        bounds = ", ".join(one.removeprefix("bound: ") for one in overruled)
        return ModelError(f"{name} did not pass: {bounds}. Export it anew; nothing was promoted.")
    return BacktalkError(
        f"{name} (sha256 {candidate.gguf.sha256[:8]}) has {overruled[0]}, and a verdict {PROMOTE} on this "
        "file was wanted. Get one with backtalk evaluate, or overrule the gate: --force --why TEXT"
    )


def promotion(candidate: Candidate, overruled: tuple[str, ...], who: str, why: str) -> Promotion:
    """What the pointer will say of the file, served from this machine."""
    gguf, verdict = candidate.gguf, candidate.verdict
    said: dict[str, Any] = {"verdict": verdict.word, "why": verdict.why} if verdict else {}
    return Promotion(
        name=gguf.path.stem,
        file=_place(gguf.path.resolve()),
        sha256=gguf.sha256,
        bytes=gguf.bytes,
        quant=gguf.quant,
        round=round_of(gguf.path),
        license=licence_in(gguf.path),
        verdict=said,
        overruled=overruled,
        who=who,
        why=why,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def promote(fresh: Promotion, gguf: Gguf, repo: str = "") -> tuple[Pointer, Pointer]:
    """Moves the pointer, here or in a repository that holds the file; returns it before and after."""
    if not repo:
        return move_here(lambda pointer, _: pointer.promoted(fresh))

    def change(pointer: Pointer, commit: str) -> Pointer:
        file = _file_on_hub(repo, commit, gguf)
        return pointer.promoted(replace(fresh, file=file, repo=repo, revision=commit))

    return move_on_hub(repo, change)


def _file_on_hub(repo: str, commit: str, gguf: Gguf) -> str:
    """The path of the file in the repository, found by its sha256."""
    for path, sha256 in hub.large_files(repo, commit).items():
        if sha256 == gguf.sha256:
            return path
    raise BacktalkError(
        f"{repo} holds no file with the sha256 {gguf.sha256[:8]} of {gguf.path.name}. "
        f"Publish it first: backtalk publish {gguf.path.parent.name} --repo {repo}"
    )


def _place(path: Path) -> str:
    """Relative to the state folder where it lies in it, so that the folder can be moved."""
    return path.relative_to(home()).as_posix() if path.is_relative_to(home()) else str(path)
