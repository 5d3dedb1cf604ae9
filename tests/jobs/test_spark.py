"""Java is checked before Spark starts, in words that help."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.spark import check_java
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
