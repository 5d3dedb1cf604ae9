"""What the loop reports of outcomes: shares of a gap, intervals, flips, strata."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.loop import (
    LoopOptions,
    by_stratum,
    difference_interval,
    flipped,
    gap_closed,
    gap_interval,
    strata_of,
)
from benchmarks.slots import score_slots
from retrain.evaluate import Outcomes
from schemas.annotated import Annotated
from schemas.errors import InputError
from schemas.predictor import Interpretation


def right(share: float, n: int = 400, seed: int = 0) -> Outcomes:
    hits = (np.random.default_rng(seed).permutation(n) < share * n).astype(int)
    return Outcomes(hits, hits, np.ones(n, int), np.ones(n, int), hits)


def test_the_gap() -> None:
    launch, best = right(0.2), right(0.8)
    assert gap_closed(launch, right(0.5), best)["exact_match"] == pytest.approx(0.5)
    assert gap_closed(launch, launch, best)["slot_f1"] == 0.0
    assert gap_closed(best, best, best)["intent_accuracy"] == 0.0
    low, high = gap_interval(launch, right(0.5), best, 1)["exact_match"]
    assert low < 0.5 < high
    assert high - low < 0.25


def test_a_paired_difference_is_tighter_than_two_intervals() -> None:
    one, other = right(0.55), right(0.5)  # the same order of examples: nested successes
    low, high = difference_interval(one, other, 1)["exact_match"]
    assert 0 < low < 0.05 < high < 0.1


def test_flips() -> None:
    assert flipped(right(0.5), right(0.8)) == 0.0
    assert flipped(right(0.8), right(0.5)) == pytest.approx(0.3)


def test_strata_follow_what_train_asks_most() -> None:
    train = [Annotated("x", "l", Interpretation(i)) for i in "aaaaaabbbc"]
    test = [Annotated("x", "l", Interpretation(i)) for i in "abcz"]
    found = {name: list(chosen) for name, chosen in strata_of(train, test).items()}
    assert found == {"head": [0], "torso": [1], "tail": [2, 3]}
    told = by_stratum(right(1.0, 4), strata_of(train, test))["strata"]
    assert told["tail"]["examples"] == 2


def test_slots_count_spans_and_open_labels() -> None:
    a, b = ("time", "seven"), ("date", "friday")
    gold = [frozenset({a, b}), frozenset({a}), frozenset(), frozenset({b})]
    found = score_slots([{a}, {a}, {b}, None], gold, 1)
    assert (found.labels, found.settled) == (4, 0.75)
    assert (found.precision, found.recall) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert found.recall_of_all == 0.5
    assert found.exact == pytest.approx(1 / 3)


def test_bad_options_are_told_together(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no arm 'theirs'(.|\n)*--parallel(.|\n)*one round"):
        LoopOptions(tmp_path, tmp_path, arms=("theirs", "ours-monolingual"), rounds=0).check()


def test_a_loop_without_parallel_text_has_good_defaults(tmp_path: Path) -> None:
    LoopOptions(tmp_path, tmp_path).check()
