"""Match weights put right by people's verdicts: one slope and one offset a locale.

Platt 1999, "Probabilistic outputs for support vector machines", with a prior that holds both where few have judged.
Reviewers look at the pairs that interest them; that leaves the curve as it is, since it is fitted given the weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Floats = NDArray[np.float64]
_SLOPE, _OFFSET = 0.5, 3.0  # standard deviations of log slope and of the offset, in bits, before any verdict


@dataclass(frozen=True)
class Calibration:
    """`slope` x match weight + `offset`, in bits; fitted to `reviews` verdicts."""

    slope: float = 1.0
    offset: float = 0.0
    reviews: int = 0

    def bits(self, match_weight: Floats) -> Floats:
        """The weights put right."""
        return np.asarray(self.slope * match_weight + self.offset, dtype=np.float64)


def recalibrated(match_weight: Floats, right: NDArray[np.bool_]) -> Calibration:
    """The most probable calibration.

    Args:
        match_weight: of the judged pairs, in bits.
        right: what people said of them.

    Returns:
        The calibration; slope 1 and offset 0 where nobody has judged. O(pairs) a step of a few dozen.
    """
    if not len(right):
        return Calibration()
    sign = np.where(right, -1.0, 1.0)

    def surprise(at: Floats) -> float:
        slope, offset = np.exp(at[0]), at[1]
        lost = np.logaddexp2(0.0, sign * (slope * match_weight + offset)).sum() * np.log(2)
        return float(lost + 0.5 * (at[0] / _SLOPE) ** 2 + 0.5 * (offset / _OFFSET) ** 2)

    found = minimize(surprise, np.zeros(2), method="L-BFGS-B", bounds=[(-3, 3), (-40, 40)])
    return Calibration(round(float(np.exp(found.x[0])), 6), round(float(found.x[1]), 6), len(right))
