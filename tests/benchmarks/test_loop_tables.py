"""Loops as tables in Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.loop_reports import METRICS
from benchmarks.loop_tables import COLUMNS, tables
from sayagain.app import app
from schemas.errors import InputError


def figures(value: float) -> dict[str, Any]:
    return dict.fromkeys(METRICS, value) | {"interval": {key: [value - 0.01, value + 0.01] for key in METRICS}}


def played(number: int, value: float, **changes: Any) -> dict[str, Any]:
    """A round of 1,000 turns that ends in such a figure."""
    counts = {"round": number, "turns": 1000, "labels": 1200 * number, "label_corrections": 90, "promoted": True}
    shares = {"success_rate": 0.5, "label_precision": 0.8, "label_coverage": 0.6}
    slots = {"slots_settled": 0.335, "slot_precision": 0.67}
    return counts | shares | slots | figures(value) | changes


def report(*arms: str, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    interval = {key: [0.4, 0.6] for key in METRICS}
    told = [{"name": name, "rounds": rounds, "gap_closed_interval": interval} for name in arms]
    ends = {"launch": figures(0.2), "ceiling": figures(0.6)}
    return {"locale": "sw-KE", "seed_labels": 300, "users": 500, "seed": 17, "arms": told} | ends


def test_turns_add_up_and_the_last_round_has_the_interval() -> None:
    refused = {"promoted": False, "trial": {"result": "passed"}}
    text = tables([report("ours", rounds=[played(1, 0.3), played(2, 0.4, **refused)])])
    title, _, header, bars, launch, first, second, ceiling = text.splitlines()
    assert title == "sw-KE, 300 seed labels, 500 users, seed 17"
    assert header.count("|") == bars.count("|") == launch.count("|") == first.count("|") == len(COLUMNS) + 1
    assert launch.startswith("| launch |  |")
    assert first == (
        "| round 1 | 1,000 | 50.0 | 1,200 | 80.0 | 90 | 60.0 | 34, 67 | 30.0 (29.0-31.0) | 30.0 (29.0-31.0) "
        "| 30.0 (29.0-31.0) | 25 / 25 / 25 | yes |"
    )
    assert " | 2,000 | " in second
    assert second.endswith("| 50 (40-60) / 50 (40-60) / 50 (40-60) | trial |")
    assert "60.0 (59.0-61.0)" in ceiling


def test_several_arms_are_named_and_what_an_old_report_lacks_is_empty() -> None:
    old = {key: value for key, value in played(1, 0.3).items() if key not in ("label_corrections", "slots_settled")}
    text = tables([report("ours", "marupa", rounds=[old])])
    rows = [line for line in text.splitlines() if "round 1" in line]
    bare = report("ours", rounds=[{key: value for key, value in old.items() if key != "interval"}])
    del bare["arms"][0]["gap_closed_interval"]
    assert "| , 67 | 30.0 | 30.0 | 30.0 | 25 / 25 / 25 |" in tables([bare])
    assert [row.split(" | ")[0] for row in rows] == ["| ours, round 1", "| marupa, round 1"]
    assert "| 80.0 |  | 60.0 | , 67 |" in rows[0]


def test_a_challenger_that_did_not_become_champion_has_a_line_of_its_own() -> None:
    refused = {"promoted": False, "challenger": "sayagain-sw-KE/3", "challenger_figures": figures(0.5)}
    lines = tables([report("ours", rounds=[played(1, 0.3, challenger="sayagain-sw-KE/2"), played(2, 0.3, **refused)])])
    second, challenger = lines.splitlines()[6:8]
    assert second.endswith("| no |")
    assert challenger.startswith("| its challenger, version 3 |  |")
    assert challenger.endswith("| 50.0 (49.0-51.0) | 50.0 (49.0-51.0) | 50.0 (49.0-51.0) | 75 / 75 / 75 |  |")
    assert challenger.count("|") == len(COLUMNS) + 1


def test_the_command_prints_or_writes_and_names_bad_files(tmp_path: Path) -> None:
    good, bad = tmp_path / "loop.json", tmp_path / "bad.json"
    good.write_text(json.dumps(report("ours", rounds=[played(1, 0.3)])), encoding="utf-8")
    bad.write_text("{}", encoding="utf-8")
    printed = CliRunner().invoke(app, ["bench", "tables", str(good), str(good)])
    assert printed.exit_code == 0
    assert printed.output.count("| round 1 |") == 2
    written = CliRunner().invoke(app, ["bench", "tables", str(good), "--out", str(tmp_path / "loop.md")])
    assert written.exit_code == 0
    assert (tmp_path / "loop.md").read_text(encoding="utf-8").count("| round 1 |") == 1
    refused = CliRunner().invoke(app, ["bench", "tables", str(bad)])
    assert isinstance(refused.exception, InputError)
    assert "bad.json: no report of a loop" in str(refused.exception)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_loop_without_a_gap_closes_nothing(value: float) -> None:
    told = report("ours", rounds=[played(1, value), played(2, value)])
    told |= {"launch": figures(0.5), "ceiling": figures(0.5)}
    assert "| 0 / 0 / 0 |" in tables([told])
