"""The demo's page: what its panels draw, and that what users said cannot break it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.loop_reports import METRICS
from benchmarks.report import curves, write_report


def stage(value: float) -> dict[str, Any]:
    return dict.fromkeys(METRICS, value) | {"interval": {name: [value - 0.05, value + 0.05] for name in METRICS}}


@pytest.fixture
def report() -> dict[str, Any]:
    shares = dict.fromkeys(("success_rate", "rephrase_rate", "pair_recall"), 0.25)
    precise = {"pair_precision": 0.75, "label_precision": 0.875, "label_coverage": 0.125}
    decided = {"promoted": True, "gate": "better", "pairs": 7, "labels": 5}
    rows = [{"round": number, **stage(0.5 + number / 10), **shares, **precise, **decided} for number in (1, 2)]
    tried = {"challenger": "m/2", "champion": "m/1", "result": "passed", "reason": "turns served <+0.1>"}
    rows[1] |= {"promoted": False, "trial": tried}
    example = {"said": "<b>hi", "said_again": "ho", "understood": None, "posterior": 0.9, "right": False}
    told = {"data": "phrasebook", "locale": "xx-XX", "population": "launch", "users": 9, "seed": 3, "source": "en-US"}
    told |= {"seed_labels": 40, "test_utterances": 99, "seconds": 1.0}
    return told | {"launch": stage(0.5), "ceiling": stage(0.9), "rounds": rows, "examples": [example]}


def test_panels_draw_the_champion_from_launch_on_and_the_rounds_own_figures(report: dict[str, Any]) -> None:
    drawn = {axes.get_title(loc="left"): axes for axes in curves(report).axes}
    assert list(drawn)[:3] == ["intent accuracy", "slot F1", "exact match"]
    for title in list(drawn)[:3]:
        champion, ceiling = drawn[title].lines
        assert champion.get_ydata() == pytest.approx([0.5, 0.6, 0.7])
        assert set(ceiling.get_ydata()) == {0.9}
        assert [label.get_text() for label in drawn[title].get_xticklabels()] == ["launch", "r1", "r2"]
    own = {"users served": 0.25, "precision of mined pairs": 0.75, "precision of labels (intent)": 0.875}
    for title, value in (own | {"turns covered by labels": 0.125}).items():
        (line,) = drawn[title].lines
        assert line.get_ydata() == pytest.approx([value, value])


def test_the_page_holds_the_picture_the_figures_and_text_as_text(report: dict[str, Any], tmp_path: Path) -> None:
    write_report(report, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 1
    assert page.count("<tr><td>round ") == 2
    assert 'title="better">yes</td>' in page
    told = "on trial in the round: m/2 became champion: turns served &lt;+0.1&gt;; then: better"
    assert f'title="{told}">trial</td>' in page
    assert "<b>hi" not in page
    assert "&lt;b&gt;hi" in page
