"""Tables of figures keep their figures, wherever they are printed."""

from __future__ import annotations

import pytest
from rich.console import Console

from sayagain import show

COLUMNS = ("", *(f"figure {i}" for i in range(12)))
ROWS = [("every formulation of enough users labelled", *(f"{i}2.{i}" for i in range(12)))]


def test_a_file_gets_the_whole_width(capsys: pytest.CaptureFixture[str]) -> None:
    show.metric_rows("percent", COLUMNS, ROWS)
    printed = capsys.readouterr().out
    assert all(cell in printed for cell in (*COLUMNS, *ROWS[0]))


def test_in_a_narrow_terminal_names_fold_and_figures_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = Console(width=60, force_terminal=True, record=True, highlight=False)
    monkeypatch.setattr(show, "console", narrow)
    show.metric_rows("percent", COLUMNS[:5], [row[:5] for row in ROWS])
    printed = narrow.export_text()
    assert max(map(len, printed.splitlines())) <= 60
    assert all(cell in printed for cell in ROWS[0][1:5])
    assert "…" not in printed
