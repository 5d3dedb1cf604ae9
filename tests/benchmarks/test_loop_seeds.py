"""What loops over several seeds say together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scipy import stats
from typer.testing import CliRunner

from benchmarks.loop_reports import METRICS
from benchmarks.loop_seeds import over_seeds
from sayagain.app import app
from schemas.errors import InputError


def report(seed: int, arms: dict[str, float], rounds: int = 3, **changes: Any) -> dict[str, Any]:
    """A loop whose arms close such a share of every gap."""
    ends = {"launch": dict.fromkeys(METRICS, 0.2), "ceiling": dict.fromkeys(METRICS, 0.6)}
    told = {"locale": "sw-KE", "seed_labels": 300, "users": 500, "seed": seed, "massive": f"/data/{seed}", **ends}
    closed = [
        {"name": name, "rounds": [{}] * rounds, "gap_closed": dict.fromkeys(METRICS, share)}
        for name, share in arms.items()
    ]
    return told | {"arms": closed} | changes


def test_the_interval_is_students() -> None:
    """SciPy's own test of one sample is the oracle."""
    shares = [0.46, 0.62, 0.61]
    (row,) = over_seeds([report(17 + n, {"ours": share}) for n, share in enumerate(shares)])
    expected = stats.ttest_1samp(shares, 0.0).confidence_interval(0.95)
    found = row["gap_closed"]["slot_f1"]
    assert found["interval"] == pytest.approx([expected.low, expected.high])
    assert (found["low"], found["high"]) == (0.46, 0.62)
    assert row["seeds"] == [17, 18, 19]


def test_ours_is_compared_seed_by_seed() -> None:
    """Seeds move both arms by a tenth and more, their difference not at all; a seed with one of both is no pair."""
    told = [report(s, {"ours": 0.5 + s / 100}) for s in (1, 20, 40)]
    told += [report(s, {"marupa": 0.3 + s / 100}) for s in (1, 20, 40, 99)]
    ours, marupa = over_seeds(told)
    assert "ours_minus" not in ours
    ahead = marupa["ours_minus"]["exact_match"]
    assert ahead["interval"] == pytest.approx([0.2, 0.2])
    low, high = ours["gap_closed"]["exact_match"]["interval"]
    assert high - low > 0.5


def test_another_experiment_is_another_row() -> None:
    rows = over_seeds([report(1, {"ours": 0.5}), report(2, {"ours": 0.7}, users=14_000), report(2, {"ours": 0.6})])
    assert [(row["experiment"], row["seeds"]) for row in rows] == [
        ("sw-KE, 300 seed labels, 500 users", [1, 2]),
        ("sw-KE, 300 seed labels, 14,000 users", [2]),
    ]
    assert rows[1]["gap_closed"]["slot_f1"]["interval"] is None


def test_one_loop_told_twice_counts_once_and_must_agree() -> None:
    one = report(1, {"ours": 0.5})
    (row,) = over_seeds([one, report(1, {"ours": 0.5}), report(2, {"ours": 0.7})])
    assert row["gap_closed"]["slot_f1"]["mean"] == pytest.approx(0.6)
    with pytest.raises(InputError, match="ours, seed 1: two reports differ"):
        over_seeds([one, report(1, {"ours": 0.4})])


def test_loops_of_other_lengths_are_not_compared() -> None:
    with pytest.raises(InputError, match=r"\[3, 5\] rounds"):
        over_seeds([report(1, {"ours": 0.5}), report(2, {"ours": 0.5}, rounds=5)])


def test_the_command_tells_means_and_what_ours_is_ahead_by(tmp_path: Path) -> None:
    paths = []
    for seed in (1, 2):
        paths.append(tmp_path / f"{seed}.json")
        paths[-1].write_text(json.dumps(report(seed, {"ours": 0.5 + seed / 10, "marupa": 0.25})))
    done = CliRunner().invoke(app, ["bench", "seeds", *map(str, paths), "--out", str(tmp_path / "out.json")])
    assert done.exit_code == 0, done.output
    assert "65.0 (60.0 to 70.0; 1.5 to 128.5)" in done.output
    assert "ours - marupa" in done.output
    assert [row["arm"] for row in json.loads((tmp_path / "out.json").read_text())] == ["ours", "marupa"]
