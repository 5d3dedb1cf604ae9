"""A rehearsal mines what it made up, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.rehearsal import rehearse
from schemas.settings import Settings


def test_a_rehearsal_stops_when_told_and_leaves_nothing(
    spark: Any, settings: Callable[..., Settings], tmp_path: Path
) -> None:
    asked: list[bool] = []

    def enough() -> bool:
        asked.append(len(asked) == 1)
        return asked[-1]

    rehearse(settings({"locale": "sw-KE"}), tmp_path / "rehearsal", enough)
    assert asked == [False, True]
    assert not (tmp_path / "rehearsal").exists()
    assert not (tmp_path / "lake").exists()
