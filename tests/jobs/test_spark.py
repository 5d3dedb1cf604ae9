"""Java is checked before Spark starts, in words that help; what Spark says then is shown where it matters."""

from __future__ import annotations

import fcntl
import os
import sys
import termios
import time
from pathlib import Path

import pytest

from jobs.spark import _errors_only, check_java
from schemas.errors import InputError


def fake_java(folder: Path, says: str) -> Path:
    folder.mkdir(parents=True)
    script = folder / "java"
    script.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    script.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("says", "found"),
    [
        ('openjdk version "11.0.2" 2019-01-15', "found 11"),
        ('java version "1.8.0_291"', "found 1"),
        ('openjdk version "26" 2026-03-17', "found 26"),
        ("something else", "found one that says no version"),
    ],
)
def test_another_java_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, found: str) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{fake_java(tmp_path / 'bin', says)}:/usr/bin:/bin")
    with pytest.raises(InputError, match="Java 17 or 21") as fault:
        check_java()
    assert found in str(fault.value)
    assert "apt-get install" in str(fault.value)


def test_no_java_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="found none"):
        check_java()


@pytest.mark.parametrize("version", ["17.0.15", "21", "21-ea"])
def test_java_home_wins_over_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    old, new = (fake_java(tmp_path / v / "bin", f'openjdk version "{v}" 2025') for v in ("11", version))
    monkeypatch.setenv("PATH", f"{old}:/usr/bin:/bin")
    monkeypatch.setenv("JAVA_HOME", str(new.parent))
    check_java()
    monkeypatch.setenv("JAVA_HOME", str(old.parent))
    with pytest.raises(InputError, match="found 11"):
        check_java()


def test_a_start_is_silent_and_what_comes_later_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with _errors_only(True) as stderr:
        assert stderr is not None
        of_child = os.dup(stderr)
        os.write(of_child, b"a page of resolution\n")
        while int.from_bytes(fcntl.ioctl(of_child, termios.FIONREAD, bytes(4)), sys.byteorder):  # not read yet
            time.sleep(0.05)
        time.sleep(0.2)  # read, and put aside
    os.write(of_child, b"a task failed\n")
    os.close(of_child)
    shown, end = "", time.monotonic() + 30
    while not shown and time.monotonic() < end:
        time.sleep(0.05)
        shown += capsys.readouterr().err
    assert shown == "a task failed\n"


def test_a_start_that_fails_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    def start() -> None:
        with _errors_only(True) as stderr:
            assert stderr is not None
            os.write(stderr, b"could not reserve memory\n")
            raise RuntimeError("no gateway")

    with pytest.raises(RuntimeError, match="no gateway"):
        start()
    assert capsys.readouterr().err == "could not reserve memory\n"
