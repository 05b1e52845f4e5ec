"""llama-cpp-python for this machine: a prebuilt wheel where one runs, else compiled from source.

Portable either way: no instruction beyond x86-64-v3 (AVX2, FMA, F16C, BMI2), and fewer where this CPU has
fewer, so that what is built here for an image does not die elsewhere with "Illegal instruction".
BACKTALK_NATIVE=1 compiles for exactly this CPU instead. Standard library only; `scripts/install.py` calls it.
"""

import os
import shlex
import shutil
import tempfile
from pathlib import Path

from scripts.environment import PYTHON, ROOT, InstallError, pinned, pip, say, succeeds

NAME = "llama-cpp-python"
# Its documentation names this page for its wheels; package indexes have only the source.
WHEELS = "https://abetlen.github.io/llama-cpp-python/whl/cpu"
SECONDS_FOR_WHEELS = 5
CORE_MINUTES = 8  # measured: download, and the libraries that are loaded from Python
CONSTRAINTS = ROOT / "constraints" / "app.txt"
CPU_INFO = Path("/proc/cpuinfo")
CPU_FLAGS = {
    "avx": "GGML_AVX",
    "avx2": "GGML_AVX2",
    "bmi2": "GGML_BMI2",
    "f16c": "GGML_F16C",
    "fma": "GGML_FMA",
    "sse4_2": "GGML_SSE42",
}


def install_llama() -> None:
    """Leaves the pinned version in `.venv`, proven to load."""
    wanted = pinned(NAME, CONSTRAINTS)
    if _is_installed(wanted) and _runs():
        return
    if not _install_prebuilt(wanted):
        _compile(wanted)
    if not _runs():
        raise InstallError(
            f"{wanted} was compiled but cannot be loaded. Choose another compiler (CC=... CXX=...), delete "
            ".venv and run the same command again."
        )


def _install_prebuilt(wanted: str) -> bool:
    """True when a wheel from the package index, or from the project's own page, runs here."""
    if _is_native() or _lacking_flags():
        return False
    say(f"Looking for a prebuilt wheel of {wanted}.")
    with tempfile.TemporaryDirectory() as folder:
        download = [
            PYTHON,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary",
            ":all:",
            "-d",
            folder,
            wanted,
        ]
        soon = ["--timeout", SECONDS_FOR_WHEELS, "--retries", 0]
        if not succeeds(*download) and not succeeds(*download, "--index-url", WHEELS, *soon):
            say("There is none to be had.")
            return False
        say("Installing the prebuilt wheel.")
        pip("install", "--force-reinstall", "-c", CONSTRAINTS, *Path(folder).glob("*.whl"))
    if not _runs():
        say("The prebuilt wheel does not run on this machine.")
        return False
    return True


def _compile(wanted: str) -> None:
    require_compiler()
    cores = os.cpu_count() or 1
    say(f"Compiling {wanted} from source, about {-(-CORE_MINUTES // cores)} minutes on {cores} cores.")
    options = " ".join([*cmake_options(), os.environ.get("CMAKE_ARGS", "")]).strip()
    # Without pip's cache: that may hold a build made with other options, perhaps on another CPU.
    source = ["--force-reinstall", "--no-cache-dir", "--no-binary", NAME, "-c", CONSTRAINTS, wanted]
    pip("install", *source, environment={**os.environ, "CMAKE_ARGS": options}, working="still compiling")


def cmake_options() -> list[str]:
    """The CPU to compile for, and only the libraries that are loaded from Python."""
    without = [f"-D{CPU_FLAGS[flag]}=OFF" for flag in _lacking_flags()]
    cpu = ["-DGGML_NATIVE=ON"] if _is_native() else ["-DGGML_NATIVE=OFF", *without]
    return [*cpu, "-DLLAVA_BUILD=OFF", f"-DCMAKE_PROJECT_INCLUDE={ROOT / 'scripts' / 'llama.cmake'}"]


def _is_native() -> bool:
    return os.environ.get("BACKTALK_NATIVE") == "1"


def _lacking_flags() -> list[str]:
    """The x86-64-v3 instructions that this CPU lacks; none where /proc/cpuinfo does not speak of them."""
    try:
        lines = CPU_INFO.read_text().splitlines()
    except OSError:
        return []
    flags = next((line.split() for line in lines if line.startswith("flags")), None)
    return [flag for flag in CPU_FLAGS if flag not in flags] if flags else []


def require_compiler() -> None:
    """A C and a C++ compiler, under the names by which CMake looks for them."""
    for language, variable, names in (("C", "CC", "cc gcc clang"), ("C++", "CXX", "c++ g++ clang++")):
        tried = shlex.split(os.environ.get(variable, ""))[:1] or names.split()
        if not any(map(shutil.which, tried)):
            raise InstallError(
                f"No {language} compiler was found (tried {', '.join(tried)}); llama-cpp-python has to be "
                "compiled on this machine. Install one (Debian and Ubuntu: apt-get install build-essential; "
                "a Mac: xcode-select --install) and run the same command again."
            )


def _is_installed(wanted: str) -> bool:
    name, version = wanted.split("==")
    return succeeds(
        PYTHON, "-c", f"from importlib.metadata import version as v; assert v({name!r}) == {version!r}"
    )


def _runs() -> bool:
    """True when the library loads and starts here; a wheel for another CPU or libc does not."""
    return succeeds(PYTHON, "-c", "import llama_cpp; llama_cpp.llama_backend_init()")
