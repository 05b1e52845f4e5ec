"""The Docker image without an engine: its Dockerfile carried out in a file system of its own, then served.

    python bench/image.py [--quick]

As root on Linux. Over this machine's own files lies an empty layer (overlayfs in a mount namespace): every
COPY and RUN of the Dockerfile goes into that, the install script included, and nothing of it stays. What
needs a base image is left out and named: `apt-get` lines. Then that root is made read-only, and the CMD runs
in it as process 1 of its own process namespace, as user 1000 without capabilities. The health check has to
pass, a visitor asks and flags, and SIGTERM at once has to bring the flag to its dataset. --quick leaves out
the install and takes this checkout's environment.

Not shown by this: that the base image has what this machine has, and what an engine itself does.
"""

import argparse
import fnmatch
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backtalk.errors import BacktalkError
from backtalk.visitor import Server, Visitor
from bench.dockerfile import Stage, Step, read_dockerfile
from bench.report import bound, report
from bench.serve import free_port
from bench.space import CHOICE, FLAGS, MOST_END, PATIENCE, QUESTION, SAFETY, rows_on
from tests.hub.server import Hub

ROOT = Path(__file__).resolve().parents[1]
INSIDE = "BACKTALK_BENCH_INSIDE"  # set once this runs in namespaces of its own
USER = 1000
SKIPPED = "apt-get"  # needs the base image's own packages
LEFT_OUT = ("__pycache__", "*.pyc", "*.part", "*.egg-info")


@dataclass
class Seen:
    """What was done, what was left out, and how the app fared."""

    done: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    install_seconds: float = 0.0
    bytes: int = 0
    healthy: int = -1
    answer: str = ""
    write_refused: bool = False
    ended: float = 0.0
    code: int = -1
    rows: int = 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="without the install")
    args = parser.parse_args()
    if why := cannot():
        report("image", [bound("RUN and COPY lines carried out", None, at_least=1, why=why)])
        return 0
    if not os.environ.get(INSIDE):
        command = ["unshare", "--mount", "--", sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]]
        return subprocess.run(command, env={**os.environ, INSIDE: "1"}).returncode
    with tempfile.TemporaryDirectory(prefix="backtalk-image-") as scratch, layered(Path(scratch)) as root:
        seen = rehearse(root, Path(scratch), args.quick)
    tell(seen, args.quick)
    return 0


def cannot() -> str:
    """Why this cannot be carried out here; empty where it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux"
    if not all(map(shutil.which, ("unshare", "setpriv", "chroot"))):
        return "needs unshare, setpriv and chroot"
    tried = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True)
    return "" if tried.returncode == 0 else "needs namespaces, which this machine does not give"


@contextmanager
def layered(scratch: Path) -> Iterator[Path]:
    """A root over this machine's own, whose changes go to memory and end with it."""
    # On a file system of its own: a layer that lies in what it covers is not defined.
    _run("mount", "-t", "tmpfs", "tmpfs", str(scratch))
    upper, work, root = (scratch / name for name in ("upper", "work", "root"))
    for folder in (upper, work, root):
        folder.mkdir()
    places = f"lowerdir=/,upperdir={upper},workdir={work}"
    _run("mount", "-t", "overlay", "overlay", "-o", places, str(root))
    try:
        _run("mount", "--rbind", "/dev", str(root / "dev"))
        _run("mount", "-t", "tmpfs", "tmpfs", str(root / "tmp"))
        yield root
    finally:
        _run("umount", "--recursive", "--lazy", str(scratch))


def rehearse(root: Path, scratch: Path, quick: bool) -> Seen:
    """The Dockerfile line by line, then the container that would run it."""
    seen = Seen()
    build, image = read_dockerfile(ROOT / "Dockerfile")
    (root / "backtalk").mkdir()
    for step in build.steps:
        carry_out(step, root, seen, quick)
    _free_user(root)
    _open_way_to_python(root)
    for step in image.steps_of("RUN"):
        carry_out(step, root, seen, quick)
    seen.bytes = sum(path.lstat().st_size for path in (root / "backtalk").rglob("*") if path.is_file())
    with Hub(scratch / "hub") as hub:
        serve(image, root, hub, seen, quick)
        seen.rows = rows_on(hub)
    return seen


def carry_out(step: Step, root: Path, seen: Seen, quick: bool) -> None:
    """One COPY or RUN; what cannot be done here is noted."""
    if step.word == "COPY":
        for source in step.sources:
            copy(ROOT / source, root / "backtalk" / target(step, source))
        seen.done.append(f"COPY {step.text}")
    elif step.word == "RUN" and (SKIPPED in step.text or (quick and "scripts.install" in step.text)):
        seen.left_out.append(f"RUN {step.text}")
    elif step.word == "RUN":
        command = step.text.replace(".venv/bin/python", sys.executable) if quick else step.text
        started = time.monotonic()
        _run("chroot", str(root), "/bin/sh", "-ec", f"cd /backtalk; {command}", env=_building())
        if "scripts.install" in step.text:
            seen.install_seconds = time.monotonic() - started
        seen.done.append(f"RUN {step.text}")


def target(step: Step, source: str) -> str:
    """Where a COPY puts one source: into a folder that ends in a slash, else under that very name."""
    return f"{step.target}{Path(source).name}" if step.target.endswith("/") else step.target


def copy(source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, place, ignore=_left_out, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, place)


def serve(image: Stage, root: Path, hub: Hub, seen: Seen, quick: bool) -> None:
    """The CMD on a read-only root, as user 1000 and process 1, until SIGTERM."""
    state = root / "state"
    port = free_port()
    variables = {
        **image.steps_of("ENV")[-1].variables,
        "PORT": str(port),
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": "hf_write",
        "HF_HUB_DISABLE_XET": "1",
        "BACKTALK_FLAGS_DATASET": FLAGS,
        "BACKTALK_SAFETY_DATASET": SAFETY,
    }
    if quick:
        variables["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    else:
        variables["PATH"] = variables["PATH"].replace("$PATH", os.environ["PATH"])
    volume = root.parent / "volume"
    volume.mkdir()
    os.chown(volume, USER, USER)
    _run("mount", "--bind", str(volume), str(state))
    os.chmod(root / "tmp", 0o1777)
    _run("mount", "-o", "remount,ro", str(root))
    command = image.steps_of("CMD")[-1].words
    with container(root, command, variables) as process:
        server = Server(f"http://127.0.0.1:{port}")
        server.wait(PATIENCE)
        check = image.steps_of("HEALTHCHECK")[-1].words
        check[-1] = check[-1].replace("7860", str(port))
        seen.healthy = subprocess.run([sys.executable, *check[1:]], capture_output=True).returncode
        seen.write_refused = _refuses_writes(root)
        visitor = Visitor(server)
        answer = visitor.ask(QUESTION)
        seen.answer = answer.text
        visitor.flag(answer, CHOICE)
        started = time.monotonic()
        os.kill(_child_of(process.pid), signal.SIGTERM)
        seen.code = process.wait(60)
        seen.ended = time.monotonic() - started


@contextmanager
def container(
    root: Path, command: list[str], variables: dict[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """A command as process 1 without any capability; ended for good with the block."""
    nobody = [
        "setpriv",
        f"--reuid={USER}",
        f"--regid={USER}",
        "--clear-groups",
        "--no-new-privs",
        "--bounding-set=-all",
    ]
    space = ["unshare", "--pid", "--fork", f"--mount-proc={root / 'proc'}"]
    into = ["chroot", str(root), "/usr/bin/env", "-i", "--chdir=/backtalk"]
    words = [f"{name}={value}" for name, value in variables.items()]
    with subprocess.Popen([*space, *into, *words, *nobody, *command]) as process:
        try:
            yield process
        finally:
            if process.poll() is None:  # --kill-child ends with the change of user
                os.kill(_child_of(process.pid), signal.SIGKILL)
                process.wait()


def tell(seen: Seen, quick: bool) -> None:
    for line in seen.left_out:
        print(f"not run: {line}")
    print(f"{QUESTION}\n  {seen.answer}")
    print(f"/backtalk of the image: {seen.bytes / 1e6:.0f} MB; set up in {seen.install_seconds:.0f} s")
    why = "--quick" if quick else ""
    report(
        "image",
        [
            bound("RUN and COPY lines carried out", float(len(seen.done)), at_least=1),
            bound("install script in the image", None if quick else 1.0, at_least=1, why=why),
            bound("health check's exit code", float(seen.healthy), at_most=0),
            bound("answers on a read-only root", float(bool(seen.answer.strip())), at_least=1),
            bound("that root refuses writes", float(seen.write_refused), at_least=1),
            bound("flags on the Hub after SIGTERM", float(seen.rows), at_least=1),
            bound("seconds from SIGTERM to the end", seen.ended, at_most=MOST_END),
            bound("exit code after SIGTERM", float(seen.code), at_most=0),
        ],
        left_out=seen.left_out,
        megabytes=None if quick else round(seen.bytes / 1e6),
        install_seconds=None if quick else round(seen.install_seconds),
    )


def _building() -> dict[str, str]:
    """What a build has of this machine: its package index, and the network."""
    kept = ("PATH", "HOME", "LANG", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE")
    return {name: value for name, value in os.environ.items() if name in kept or name.startswith("PIP_")}


def _free_user(root: Path) -> None:
    """Takes the number 1000 from whoever has it here; in the base image nobody does."""
    for name in ("passwd", "group"):
        file = root / "etc" / name
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(line for line in lines if line.split(":")[2] != str(USER)))


def _open_way_to_python(root: Path) -> None:
    """Lets user 1000 pass to this machine's interpreter, which may lie in root's home."""
    for folder in Path(sys.executable).resolve().parents:
        place = root / folder.relative_to("/")
        place.chmod(place.stat().st_mode | 0o011)


def _refuses_writes(root: Path) -> bool:
    try:
        (root / "backtalk" / "written").write_text("")
    except OSError:
        return True
    return False


def _child_of(pid: int) -> int:
    """The one child of `unshare`: process 1 inside."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    if len(children) != 1:
        raise BacktalkError(f"The container has {len(children)} first processes; one was expected.")
    return int(children[0])


def _left_out(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in LEFT_OUT)]


def _run(*command: str, env: dict[str, str] | None = None) -> None:
    subprocess.run(command, check=True, env=env)


if __name__ == "__main__":
    sys.exit(main())
