"""The audit's figures against simulated truth, and its intervals against their own promise."""

from __future__ import annotations

import numpy as np
import pytest

from mining.audit import Audited, draw, score, share


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for right in rng.binomial(120, 0.83, 2000):
        found = share(int(right), 120)
        covered += found.low <= 0.83 <= found.high
    assert covered / 2000 >= 0.945


@pytest.mark.parametrize(("right", "of"), [(0, 0), (0, 9), (9, 9)])
def test_the_ends(right: int, of: int) -> None:
    found = share(right, of)
    assert (found.low, found.high) != (found.high, found.low) or of == 0
    assert found.low == 0.0 if right == 0 else found.high == 1.0


def test_a_sample_is_uniform_and_does_not_depend_on_order() -> None:
    ids = [f"i{i:03}" for i in range(50)]
    assert draw(ids, 10, 7) == draw(reversed(ids), 10, 7)
    assert draw(ids, 60, 7) == ids
    counts = np.zeros(50)
    for seed in range(2000):
        for name in draw(ids, 10, seed):
            counts[int(name[1:])] += 1
    assert np.abs(counts / 2000 - 0.2).max() < 0.045


def test_each_figure_is_about_its_own_turns() -> None:
    time = frozenset({("time", "saa moja")})
    turns = [
        Audited("a", time, "a", time, "a", 0.1),  # right in everything
        Audited("a", time, "a", frozenset(), "b", 0.1),  # slots wrong, and a silent failure
        Audited("a", None, "a", time, None, 0.9),  # the person gave no slots
        Audited("a", time, "a", None, None, 0.9),  # slots open
        Audited("a", time, "b", time, None, 0.9),  # a wrong label
        Audited("a", time, None, None, "b", 0.9),  # no label; wrong, but not silently
    ]
    found = {name: (s.right, s.of) for name, s in score(turns).items()}
    assert found == {
        "label_coverage": (5, 6),
        "label_precision": (4, 5),
        "slots_settled": (3, 4),
        "slot_precision": (1, 2),
        "silent_failures": (1, 2),
        "intent_survival": (0, 1),
        "served": (1, 6),
    }
