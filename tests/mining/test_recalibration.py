"""Calibration by verdicts: a planted slope and offset are found, few verdicts move little, none nothing."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mining.fellegi_sunter import to_probability
from mining.recalibration import Calibration, recalibrated


def verdicts(n: int, slope: float, offset: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    bits = random.normal(0, 4, n)
    return bits, random.random(n) < to_probability(slope * bits + offset)


def test_a_planted_calibration_is_found_as_logistic_regression_finds_it() -> None:
    bits, right = verdicts(4000, 0.6, -2.0, seed=5)
    found = recalibrated(bits, right)
    oracle = LogisticRegression(C=np.inf).fit(bits[:, None] * np.log(2), right)
    assert found.slope == pytest.approx(oracle.coef_[0, 0], abs=0.02)
    assert found.offset * np.log(2) == pytest.approx(oracle.intercept_[0], abs=0.05)
    assert found.slope == pytest.approx(0.6, abs=0.06)
    assert found.offset == pytest.approx(-2.0, abs=0.25)


def test_the_brier_score_of_other_pairs_gets_better() -> None:
    bits, right = verdicts(60, 0.5, -3.0, seed=6)
    others, truth = verdicts(20_000, 0.5, -3.0, seed=7)
    found = recalibrated(bits, right)
    before, after = (float(np.mean((to_probability(b) - truth) ** 2)) for b in (others, found.bits(others)))
    assert after < 0.8 * before


def test_without_verdicts_nothing_moves_and_one_moves_little() -> None:
    assert recalibrated(np.zeros(0), np.zeros(0, dtype=bool)) == Calibration()
    one = recalibrated(np.array([3.0]), np.array([False]))
    assert -3 < one.offset < 0
    assert 0.5 < one.slope <= 1
    assert one.reviews == 1
