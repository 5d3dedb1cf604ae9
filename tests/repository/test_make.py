"""What `make` says on a machine that lacks something: one line, before anything is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _copy(folder: Path) -> Path:
    """A copy of the build files, so that nothing here can be touched."""
    (folder / ".ci").mkdir(parents=True)
    for name in ("requirements-dev.txt", "pyproject.toml", "Makefile", ".ci/machine"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def _make(folder: Path, target: str, **environment: str) -> subprocess.CompletedProcess[str]:
    left_out = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "JAVA_HOME", "PYTHON")
    clean = {k: v for k, v in os.environ.items() if k not in left_out}
    return subprocess.run(
        ["make", target],
        cwd=folder,
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _java(folder: Path, version: str) -> str:
    java = folder / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho 'Picked up JAVA_TOOL_OPTIONS' >&2\necho 'openjdk version \"{version}\"' >&2\n")
    java.chmod(0o755)
    return str(java.parents[1])


@pytest.mark.parametrize("version", ["1.8.0_392", "11.0.2", "22", "170.1"])
def test_a_wrong_java_is_one_line_with_the_fix(tmp_path: Path, version: str) -> None:
    done = _make(_copy(tmp_path), "setup", PYTHON=sys.executable, JAVA_HOME=_java(tmp_path, version))
    assert done.returncode != 0
    (line,) = (done.stdout + done.stderr).splitlines()
    assert "Sayagain needs Java 17 or 21" in line
    assert f"found {version}" in line
    assert "apt-get install openjdk-17-jre-headless" in line
    assert not (tmp_path / ".venv").exists()


def test_no_java_at_all_is_one_line(tmp_path: Path) -> None:
    done = _make(_copy(tmp_path), "demo", PYTHON=sys.executable, JAVA_HOME=str(tmp_path))
    (line,) = (done.stdout + done.stderr).splitlines()
    assert "found none" in line
    assert done.returncode != 0


def test_a_wrong_python_is_one_line(tmp_path: Path) -> None:
    done = _make(_copy(tmp_path), "setup", PYTHON="/bin/false", JAVA_HOME=_java(tmp_path, "17.0.1"))
    (line,) = (done.stdout + done.stderr).splitlines()
    assert "Sayagain needs Python 3.11 (found none)" in line
    assert done.returncode != 0


@pytest.mark.parametrize("version", ["17", "17.0.15", "21-ea", "21.0.4"])
def test_a_set_up_checkout_does_nothing(tmp_path: Path, version: str) -> None:
    java = _java(tmp_path, version)
    stamp = _copy(tmp_path) / ".venv" / ".installed"
    stamp.parent.mkdir()
    stamp.touch()
    done = _make(tmp_path, "setup", PYTHON=sys.executable, JAVA_HOME=java)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["Sayagain is installed in .venv"]
