"""A trial from simulated users to its verdict, through ingest and the step `turns`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.scoring import read_truth
from benchmarks.synthetic_model import SyntheticModel
from benchmarks.trial_decisions import TrialDecision, summary
from jobs.ingest import ingest
from jobs.lake import run_step
from jobs.pipeline import STEPS
from retrain.served import compare, share_of
from schemas.lake import Lake
from schemas.settings import INTERPRETED, Settings
from schemas.trial import on_trial
from simulator.dialogue import Trial
from simulator.logs import simulate
from simulator.phrasebook import Phrasebook
from simulator.population import population


def test_a_trial_says_what_the_truth_would(spark: Any, tmp_path: Path) -> None:
    book = Phrasebook(4, fillings=12)
    champion, challenger = SyntheticModel(book, 0.5, 4), SyntheticModel(book, 0.7, 5)
    crowd = population("launch").model_copy(update={"users": 500, "tasks_per_user": 6.0})
    played = simulate(
        book, champion, crowd, seed=4, round=1, start=datetime(2026, 1, 5, tzinfo=UTC), out=tmp_path / "raw",
        truth=tmp_path / "truth", trial=Trial(challenger, 0.4),
    )  # fmt: skip
    lake = Lake(tmp_path / "lake").open(create=True)
    settings = Settings(lake=lake.path, locale=book.locale, spark={"conf": INTERPRETED})  # type: ignore[arg-type]
    ingest(lake, settings, [str(played.logs)])
    run_step(STEPS["turns"], lake, settings)
    found = compare(lake, book.locale, champion, challenger, seed=1)
    assert found is not None
    tried = {user for i in range(500) if on_trial(challenger.version, user := f"user-{i:05d}", 0.4)}
    assert found.challenger.users == len(tried)
    assert 490 - len(tried) < found.champion.users <= 500 - len(tried)  # who did not speak while it was on is not heard
    truth = read_truth(tmp_path / "truth")
    turns = lake.rows("turns", ["interaction_id", "model_version", "heard"])
    for model, arm in ((champion, found.champion), (challenger, found.challenger)):
        mine = [truth[t["interaction_id"]]["satisfied"] for t in turns if t["model_version"] == model.version]
        assert 0.98 * len(mine) < arm.turns <= len(mine)
        assert arm.share == pytest.approx(np.mean(mine), abs=0.04)
        assert share_of(lake, book.locale, model.version) == pytest.approx(np.mean(mine), abs=0.04)
    gain = found.challenger.share - found.champion.share
    assert gain > 0.1
    assert np.quantile(found.challenger.resampled - found.champion.resampled, 0.05) > 0.05


def test_trials_are_counted_by_what_they_decided_and_how_far_off_they_were() -> None:
    told = summary(
        [
            TrialDecision("a", "b", 0.10, 0.12, 0.05, "passed", False),
            TrialDecision("b", "a", -0.10, -0.06, -0.01, "passed", True),
            TrialDecision("a", "c", -0.02, -0.08, -0.12, "worse", False),
            TrialDecision("c", "a", 0.02, None, None, "open", False),
        ]
    )
    assert (told["passed"], told["worse"], told["open"]) == (2, 1, 1)
    assert (told["passed_wrongly"], told["worse_wrongly"]) == (1, 0)
    assert told["mean_error"] == pytest.approx(0.0)
    assert told["rms_error"] == pytest.approx(np.sqrt((0.02**2 + 0.04**2 + 0.06**2) / 3))
    assert summary([])["rms_error"] is None
