"""A lower confidence bound for the difference of two proportions measured on the same examples.

Source: Tango, "Equivalence test and confidence interval for the difference in proportions for the
paired-sample design", Statistics in Medicine 17 (1998) 891-908. The score interval keeps its level for
small samples and for few discordant pairs, where the Wald interval does not; the closed maximum-likelihood
root is his equation for q.
"""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.stats import norm


def _score(gained: int, lost: int, n: int, difference: float) -> float:
    """Tango's z statistic of H0: p1 - p2 = difference."""
    a = 2.0 * n
    b = -gained - lost + (2.0 * n - gained + lost) * difference
    c = -lost * difference * (1.0 - difference)
    q = (math.sqrt(max(0.0, b * b - 4.0 * a * c)) - b) / (2.0 * a)
    variance = n * (2.0 * q + difference * (1.0 - difference))
    excess = gained - lost - n * difference
    if variance <= 1e-15:
        return 0.0 if abs(excess) < 1e-12 else math.copysign(math.inf, excess)
    return excess / math.sqrt(variance)


def paired_lower_bound(gained: int, lost: int, n: int, confidence: float = 0.95) -> float:
    """One-sided lower bound of p1 - p2.

    Args:
        gained: pairs that only the first got right.
        lost: pairs that only the second got right.
        n: all pairs.
        confidence: one-sided level in (0.5, 1).

    Returns:
        a difference in [-1, 1]; -1 without any pair.
    """
    if not (gained >= 0 and lost >= 0 and gained + lost <= n):
        raise ValueError(f"{gained} gained and {lost} lost of {n} pairs")
    if n == 0:
        return -1.0
    z = float(norm.ppf(confidence))
    estimate = (gained - lost) / n
    low = -1.0 + 1e-9
    if lost == n or _score(gained, lost, n, low) < z:
        return -1.0
    return float(brentq(lambda d: _score(gained, lost, n, d) - z, low, estimate, xtol=1e-10))
