"""The closed loop and what is read off it, played small from the command line on real utterances."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.loop import played_loop
from benchmarks.loop_reports import METRICS
from retrain import registry
from sayagain.app import app
from schemas.lake import Lake
from schemas.settings import Settings

pytestmark = pytest.mark.slow

MASSIVE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "massive"
COMMON = ["--massive", str(MASSIVE), "--locale", "sw-KE", "--seed", "3", "--seed-labels", "150"]
SMALL = ["--sample", "250", "--users", "30", "--population", "launch"]
SIZES = {
    "training.hidden": 32,
    "training.word_dimensions": 32,
    "training.char_dimensions": 16,
    "encoder.dimensions": 32,
}


def told(*arguments: str, out: Path, settings: Mapping[str, int] = SIZES) -> Any:
    small = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    made = CliRunner().invoke(app, [*small, "bench", *arguments, "--out", str(out)])
    assert made.exit_code == 0, made.output
    return json.loads(out.read_text(encoding="utf-8"))


@pytest.mark.skipif(not MASSIVE.is_dir(), reason=f"no MASSIVE folder at {MASSIVE}")
def test_a_loop_its_budget_its_labels_and_its_attackers(tmp_path: Path) -> None:
    work = tmp_path / "work"
    options = [*COMMON, *SMALL, "--work", str(work)]
    report = told("loop", *options, "--rounds", "1", "--arms", "ours,self-training", out=tmp_path / "loop.json")
    assert (report["locale"], report["seed"]) == ("sw-KE", 3)
    assert [arm["name"] for arm in report["arms"]] == ["ours", "self-training"]
    for arm in report["arms"]:
        (row,) = arm["rounds"]
        assert row["turns"] > 200
        assert set(arm["gap_closed"]) == set(METRICS)
        assert ("challenger_figures" in row) == (row["challenger"] != row["champion"])
        for share in ("success_rate", "label_coverage", "label_precision", *METRICS):
            assert 0 <= row[share] <= 1
    assert "<svg" in (tmp_path / "loop.html").read_text(encoding="utf-8")
    rows = [arm["rounds"][0] for arm in report["arms"]]
    first = [row["turns"] - row.get("closing", {"turns": 0})["turns"] for row in rows]
    assert first[0] == first[1]  # one first round
    # Finished rounds are not played again.
    played = (work / "arms" / "ours" / "rounds.json").stat().st_mtime_ns
    spoken = sorted((work / "arms" / "ours" / "raw").iterdir())
    again = told("loop", *options, "--rounds", "1", "--arms", "ours", out=tmp_path / "again.json")
    assert again["arms"][0] == report["arms"][0]
    assert (work / "arms" / "ours" / "rounds.json").stat().st_mtime_ns == played
    assert sorted((work / "arms" / "ours" / "raw").iterdir()) == spoken

    budget = told("budget", str(work), out=tmp_path / "budget.json")
    labels = [line["labels"] for line in budget["lines"] if "labels" in line]
    assert labels == sorted(labels)
    assert labels[-1] > labels[0]

    quality = told("label-quality", str(work), out=tmp_path / "quality.json")
    assert sum(row["count"] for row in quality["intents"]) > 0

    gate = told("gate", str(work), out=tmp_path / "gate.json")
    assert (gate["of"], {d["round"] for d in gate["decisions"]}) == (2, {1})

    trials = told("trials", str(work), out=tmp_path / "trials.json")
    one, other = trials["decisions"]
    assert (one["champion"], one["challenger"]) == (other["challenger"], other["champion"])
    assert one["gain"] == -other["gain"]  # the same users, served by each of the two

    found = told("attacks", *options, "--kinds", "vouch", "--ids", "1", out=tmp_path / "attacks.json")
    (attack,) = found["attacks"]
    assert attack["turns"] == found["turns"] + 5 * 20
    # A model this small answers hardly anything, so there is little that attackers could want believed.
    assert attack["false_pushed"] + attack["true_suppressed"] <= attack["attacked"] <= 5


@pytest.mark.skipif(not MASSIVE.is_dir(), reason=f"no MASSIVE folder at {MASSIVE}")
def test_users_of_one_more_round_decide_on_who_is_on_trial_after_the_last(tmp_path: Path) -> None:
    work = tmp_path / "work"
    options = [*COMMON, *SMALL, "--work", str(work), "--arms", "ours"]
    arm = work / "arms" / "ours"
    untried = SIZES | {"gate.trial_share": 0}  # whatever the gate makes of the round's own challenger
    report = told("loop", *options, "--rounds", "1", out=tmp_path / "loop.json", settings=untried)
    (before,) = report["arms"][0]["rounds"]
    assert "closing" not in before
    lake = Lake(arm / "lake")
    registry.register(played_loop(Settings(), work, "ours", print).launch_model(), None, lake)
    tried = registry.begin_trial(lake, "sw-KE")
    (row,) = told("loop", *options, "--rounds", "1", out=tmp_path / "closed.json")["arms"][0]["rounds"]
    closing = row["closing"]
    assert closing["round"] == 2
    assert closing["trial"]["challenger"] == tried
    assert row["turns"] == before["turns"] + closing["turns"]
    assert len(list((arm / "raw").iterdir())) == 2
    assert len(json.loads((arm / "rounds.json").read_text(encoding="utf-8"))) == 1
    # Asked for more rounds, the loop goes on with these users.
    first, second = told("loop", *options, "--rounds", "2", out=tmp_path / "more.json")["arms"][0]["rounds"]
    assert (first["turns"], "closing" in first) == (before["turns"], False)
    assert second["turns"] - second.get("closing", {"turns": 0})["turns"] == closing["turns"]
    assert second["trial"] == closing["trial"]
