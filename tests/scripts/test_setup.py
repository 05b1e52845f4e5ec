"""Setting up: portable builds, one sentence where something is missing, and nothing done twice."""

import os
import subprocess
from pathlib import Path

import pytest

from scripts import environment, install, llama

ROOT = Path(__file__).resolve().parents[2]
ALL_FLAGS = "avx avx2 bmi2 f16c fma sse4_2"


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """What stands in for /proc/cpuinfo."""
    monkeypatch.delenv("BACKTALK_NATIVE", raising=False)
    monkeypatch.setattr(llama, "CPU_INFO", tmp_path / "cpuinfo")
    return tmp_path / "cpuinfo"


def test_a_build_names_no_cpu_and_leaves_out_what_is_never_loaded(cpu: Path) -> None:
    cpu.write_text(f"processor : 0\nflags : fpu sse {ALL_FLAGS} avx512f\n")
    options = llama.cmake_options()
    assert options[:2] == ["-DGGML_NATIVE=OFF", "-DLLAVA_BUILD=OFF"]
    assert not [option for option in options if "AVX" in option]


def test_a_build_uses_no_instruction_that_this_cpu_lacks(cpu: Path) -> None:
    cpu.write_text("processor : 0\nflags : fpu sse sse4_2 avx\n")
    assert {"-DGGML_AVX2=OFF", "-DGGML_FMA=OFF", "-DGGML_F16C=OFF", "-DGGML_BMI2=OFF"} <= set(
        llama.cmake_options()
    )
    assert "-DGGML_AVX=OFF" not in llama.cmake_options()


def test_a_cpu_without_such_flags_is_left_to_the_compiler(cpu: Path) -> None:
    cpu.write_text("processor : 0\nFeatures : fp asimd evtstrm\n")
    assert llama.cmake_options()[:2] == ["-DGGML_NATIVE=OFF", "-DLLAVA_BUILD=OFF"]


def test_a_native_build_is_asked_for(cpu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu.write_text(f"flags : {ALL_FLAGS}")
    monkeypatch.setenv("BACKTALK_NATIVE", "1")
    assert "-DGGML_NATIVE=ON" in llama.cmake_options()


def test_a_missing_compiler_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(environment.InstallError, match="No C compiler was found .* build-essential"):
        llama.require_compiler()
    monkeypatch.setenv("CC", "my-cc -m64")
    with pytest.raises(environment.InstallError, match=r"tried my-cc\)"):
        llama.require_compiler()


def test_a_missing_python_is_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        ["/bin/sh", ROOT / "scripts" / "find-python"],
        cwd=tmp_path,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("No Python 3.11 or newer was found")


def test_the_checkout_s_own_python_is_found_first() -> None:
    done = subprocess.run([ROOT / "scripts" / "find-python"], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == ".venv/bin/python"


@pytest.mark.parametrize("machine", install.EXTRAS)
def test_a_second_setup_does_nothing(machine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "VENV", tmp_path)
    monkeypatch.setattr(install, "make_venv", lambda: pytest.fail("it began anew"))
    (tmp_path / f"installed-{machine}").write_text(install.fingerprint())
    install.install(machine)
    assert os.listdir(tmp_path) == [f"installed-{machine}"]


def test_a_change_of_versions_sets_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "VENV", tmp_path)
    begun = []
    monkeypatch.setattr(install, "make_venv", lambda: begun.append(True))
    monkeypatch.setattr(install, "install_llama", lambda: None)
    monkeypatch.setattr(install, "install_packages", lambda machine: None)
    (tmp_path / "installed-app").write_text("what another version of the files had")
    install.install("app")
    install.install("app")
    assert begun == [True]


@pytest.mark.parametrize("machine", install.EXTRAS)
def test_every_version_is_pinned(machine: str) -> None:
    text = (ROOT / "constraints" / install.CONSTRAINTS[machine]).read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", "-c "))]
    assert lines and not [line for line in lines if "==" not in line]


def test_what_setup_installs_by_name_is_pinned() -> None:
    constraints = ROOT / "constraints"
    assert environment.pinned("torch", constraints / "test.txt") == "torch==2.13.0"
    assert environment.pinned(llama.NAME, constraints / "app.txt").startswith("llama-cpp-python==")
    with pytest.raises(environment.InstallError, match="does not pin torch"):
        environment.pinned("torch", constraints / "app.txt")
