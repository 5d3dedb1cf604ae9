from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.interval import paired_lower_bound


def restricted_score(gained: int, lost: int, n: int, d: float) -> float:
    """Oracle: maximise the trinomial likelihood under H0 on a grid instead of by Tango's closed form."""
    p01 = np.linspace(max(0.0, -d), min(1.0, (1 - d) / 2), 200_001)[1:-1]
    p10 = p01 + d
    with np.errstate(divide="ignore", invalid="ignore"):
        likelihood = (
            gained * np.log(p10) + lost * np.log(p01) + (n - gained - lost) * np.log(np.maximum(1 - p10 - p01, 1e-300))
        )
    best = p01[np.nanargmax(likelihood)]
    return float((gained - lost - n * d) / np.sqrt(n * (2 * best + d - d * d)))


@pytest.mark.parametrize(("gained", "lost", "n"), [(9, 3, 100), (20, 25, 300), (1, 4, 44), (12, 1, 50)])
def test_the_bound_is_where_the_score_test_turns(gained: int, lost: int, n: int) -> None:
    bound = paired_lower_bound(gained, lost, n, 0.95)
    assert restricted_score(gained, lost, n, bound) == pytest.approx(1.645, abs=0.01)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 200))
def test_the_bound_moves_with_the_evidence(gained: int, lost: int, more: int) -> None:
    n = gained + lost + more
    bound = paired_lower_bound(gained, lost, n)
    assert -1 <= bound <= (gained - lost) / n
    assert bound <= paired_lower_bound(gained + 1, lost, n) + 1e-9
    assert bound >= paired_lower_bound(gained, lost, n, 0.99) - 1e-9


@pytest.mark.parametrize(("p10", "p01", "n"), [(0.1, 0.1, 60), (0.03, 0.05, 150), (0.2, 0.1, 40)])
def test_coverage_by_simulation(p10: float, p01: float, n: int) -> None:
    random = np.random.default_rng(5)
    draws = random.multinomial(n, [p10, p01, 1 - p10 - p01], 4000)
    known: dict[tuple[int, int], float] = {}
    covered = 0
    for gained, lost, _ in draws.tolist():
        if (gained, lost) not in known:
            known[gained, lost] = paired_lower_bound(gained, lost, n)
        covered += known[gained, lost] <= p10 - p01
    assert covered / 4000 == pytest.approx(0.95, abs=0.02)


def test_edges() -> None:
    assert paired_lower_bound(0, 0, 0) == -1
    assert paired_lower_bound(0, 10, 10) == -1
    assert paired_lower_bound(0, 0, 1000) == pytest.approx(-0.0027, abs=1e-4)
    with pytest.raises(ValueError, match="pairs"):
        paired_lower_bound(3, 3, 5)
