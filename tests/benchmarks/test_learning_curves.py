"""What several loops closed, by turns of traffic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.lines import Line2D

from benchmarks.learning_curves import curves_of, draw
from benchmarks.loop_reports import METRICS, read_reports
from schemas.errors import InputError


def report(users: int, *rounds: tuple[int, float], arms: tuple[str, ...] = ("ours",), **changes: Any) -> dict[str, Any]:
    """A loop from 0.2 to 0.6, whose rounds have so many turns and end in such a figure."""
    rows = [{"turns": turns} | dict.fromkeys(METRICS, value) for turns, value in rounds]
    ends = {"launch": dict.fromkeys(METRICS, 0.2), "ceiling": dict.fromkeys(METRICS, 0.6)}
    told = {"locale": "sw-KE", "seed_labels": 300, "users": users, "seed": 17, **ends}
    return told | {"arms": [{"name": name, "rounds": rows} for name in arms]} | changes


def test_turns_add_up_and_shares_are_of_the_way_from_launch_to_ceiling() -> None:
    (curve,) = curves_of([report(500, (10_000, 0.3), (20_000, 0.5))])
    assert curve.name == "ours"
    assert [turns for turns, _ in curve.points] == [10_000, 30_000]
    assert [of["slot_f1"] for _, of in curve.points] == pytest.approx([0.25, 0.75])


def test_nothing_is_closed_where_there_is_no_gap() -> None:
    (curve,) = curves_of([report(500, (10, 0.3), ceiling=dict.fromkeys(METRICS, 0.2))])
    assert set(curve.points[0][1].values()) == {0.0}


def test_curves_are_named_by_what_they_differ_in() -> None:
    named = curves_of([report(500, (10, 0.3), arms=("ours", "marupa")), report(14_000, (10, 0.3), locale="ja-JP")])
    assert [c.name for c in named] == [
        "sw-KE, 500 users, ours",
        "sw-KE, 500 users, marupa",
        "ja-JP, 14,000 users, ours",
    ]


def drawn(reports: list[dict[str, Any]]) -> list[list[Line2D]]:
    """The curves of each panel, without the lines of launch and ceiling."""
    return [[line for line in axes.lines if line.get_marker() == "o"] for axes in draw(curves_of(reports)).axes]


def test_a_panel_for_each_metric_shows_shares_by_turns_in_powers_of_ten() -> None:
    told = [report(500, (1_000, 0.3), (9_000, 0.5), (90_000, 0.4))]
    panels = drawn(told)
    assert len(panels) == len(METRICS)
    for (line,) in panels:
        assert line.get_xydata() == pytest.approx(np.array([[1_000, 0.25], [10_000, 0.75], [100_000, 0.5]]))
    for axes in draw(curves_of(told)).axes:
        assert axes.get_xscale() == "log"
        assert [label.get_text() for label in axes.get_xticklabels()] == ["1k", "10k", "100k"]


def test_what_lost_more_than_it_had_is_still_in_the_picture() -> None:
    for axes in draw(curves_of([report(500, (1_000, 0.05), (1_000, 0.7))])).axes:
        assert axes.get_ylim() == pytest.approx((-0.4, 1.4))


def test_a_dozen_curves_are_told_apart() -> None:
    for lines in drawn([report(users, (1_000, 0.3)) for users in range(100, 112)]):
        assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 12


def test_what_is_no_report_is_told_together(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("good.json", "other.json", "broken.json", "missing.json")]
    paths[0].write_text(json.dumps(report(500, (10, 0.3))))
    paths[1].write_text("[]")
    paths[2].write_text("{")
    with pytest.raises(InputError, match=r"other\.json: no report(.|\n)*broken\.json(.|\n)*missing\.json") as told:
        read_reports(paths)
    assert "good.json" not in str(told.value)
    assert read_reports(paths[:1]) == [report(500, (10, 0.3))]
    with pytest.raises(InputError, match="no round"):
        draw(curves_of([report(500)]))
