"""Latent mixture of matches and non-matches over ordinal comparisons, fitted by EM on pattern counts.

A third class may stand beside the non-matches: things that look alike and are none ("wake me at eight" after "wake me
at seven"). The odds of a match are then against both, and what the third class takes from them is a weight of its own.

Fellegi & Sunter, "A theory for record linkage", JASA 1969, with Winkler's EM (1988). Each observation is a pattern
of comparison levels; given the class (match or not) the comparisons are independent. `m[c][l]` is the probability of
level `l` of comparison `c` among matches, `u[c][l]` among non-matches; the match weight of a level is log2(m/u).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_TINY = 1e-9
_ALIKE_STRENGTH = 0.3
_ALIKE_MOST = 0.4  # of the matches' share: otherwise the two may change places, and nothing is a match any more


@dataclass(frozen=True)
class Comparison:
    """One comparison: its levels in order, and what is believed of m and u before any data.

    Args:
        name: how it is shown.
        levels: names of its levels; observations hold indices into it.
        m: prior probability of each level among matches.
        u: prior probability of each level among non-matches.
        alike: prior probability of each level among non-matches that look like matches; empty for none. Either all
            comparisons of a model have it or none.

    A level that no class is given (0 in all) is a missing value: the two could not be compared, which says nothing for
    or against a match, and the other levels are fitted without it.

    Raises:
        ValueError: not as many probabilities as levels, or a level that one class has and another has not.
    """

    name: str
    levels: tuple[str, ...]
    m: tuple[float, ...]
    u: tuple[float, ...]
    alike: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.levels) == len(self.m) == len(self.u):
            raise ValueError(f"comparison {self.name}: {len(self.levels)} levels need as many m and u")
        if self.alike and len(self.alike) != len(self.levels):
            raise ValueError(f"comparison {self.name}: {len(self.levels)} levels need as many of `alike`")
        for level, *given in zip(self.levels, self.m, self.u, self.alike or self.m, strict=True):
            if 0 < sum(p > 0 for p in given) < len(given):
                raise ValueError(f"comparison {self.name}: give {level} to every class, or to none as a missing value")


@dataclass(frozen=True)
class Linkage:
    """A fitted model: comparisons whose m and u are the fitted ones, and the prior probability of a match.

    `alike_prior` is the prior probability of a non-match that looks like a match, where the comparisons know of such.
    """

    comparisons: tuple[Comparison, ...]
    prior: float
    iterations: int
    alike_prior: float = 0.0

    @property
    def prior_weight(self) -> float:
        """The prior in bits: log2 of its odds against the plain non-matches."""
        return float(np.log2(self.prior / (1 - self.prior - self.alike_prior)))

    def weights(self) -> list[Floats]:
        """Match weight, in bits, of each level of each comparison."""
        return [np.log2(np.maximum(c.m, _TINY)) - np.log2(np.maximum(c.u, _TINY)) for c in self.comparisons]

    def match_weight(self, patterns: NDArray[np.int64]) -> Floats:
        """Prior plus level weights plus `alike_weight`, in bits, of `patterns` (rows x comparisons).

        O(rows x comparisons).
        """
        total = np.full(len(patterns), self.prior_weight)
        for column, weight in enumerate(self.weights()):
            total += weight[patterns[:, column]]
        return total + self.alike_weight(patterns)

    def alike_weight(self, patterns: NDArray[np.int64]) -> Floats:
        """What non-matches that look like matches take from the match weight, in bits; never positive.

        log2 of the share of the plain ones among all non-matches of this pattern.
        """
        if not self.alike_prior:
            return np.zeros(len(patterns))
        bits = np.full(len(patterns), np.log2(self.alike_prior / (1 - self.prior - self.alike_prior)))
        for column, c in enumerate(self.comparisons):
            ratio = np.log2(np.maximum(c.alike, _TINY)) - np.log2(np.maximum(c.u, _TINY))
            bits += ratio[patterns[:, column]]
        return np.asarray(-np.logaddexp2(0.0, bits), dtype=np.float64)

    def posterior(self, patterns: NDArray[np.int64]) -> Floats:
        """Probability of a match of each row of `patterns`."""
        return to_probability(self.match_weight(patterns))

    def alike_posterior(self, patterns: NDArray[np.int64], match: Floats) -> Floats:
        """Probability of a non-match that looks like a match, given that of a match (`match`, perhaps put right)."""
        return np.asarray((1 - match) * (1 - np.exp2(self.alike_weight(patterns))), dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a manifest."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Linkage:
        """The inverse of `to_json`."""
        comparisons = tuple(
            Comparison(c["name"], tuple(c["levels"]), tuple(c["m"]), tuple(c["u"]), tuple(c["alike"]))
            for c in plain["comparisons"]
        )  # fmt: skip
        return cls(comparisons, plain["prior"], plain["iterations"], plain.get("alike_prior", 0.0))


def to_probability(bits: Floats) -> Floats:
    """Probability of odds given in bits, without overflow."""
    return np.asarray(1 / (1 + np.exp2(-np.clip(bits, -60, 60))), dtype=np.float64)


def fit(
    comparisons: Sequence[Comparison],
    patterns: NDArray[np.int64],
    counts: Floats,
    *,
    prior: float,
    iterations: int,
    strength: float = 0.3,
    alike_prior: float = 0.0,
) -> Linkage:
    """Fit m, u and the prior to pattern counts by EM, with the given m and u as Dirichlet priors.

    Args:
        comparisons: levels and prior beliefs.
        patterns: distinct patterns, rows x comparisons, of level indices.
        counts: how often each was seen (a capped count may be fractional).
        prior: where the share of matches starts; held by a loose Beta prior.
        iterations: at most; stops earlier when no parameter moves by 1e-7.
        strength: weight of the prior beliefs as a share of the total count. Without any, a mixture over few
            comparisons may settle on another division than the one wanted.
        alike_prior: where the share of non-matches that look like matches starts; 0 for none. Their beliefs weigh less
            (`_ALIKE_STRENGTH`), since they are few.

    Returns:
        The fitted model. With no observation, the prior beliefs.

    Cost: O(iterations x patterns x comparisons) time, whatever the number of pairs behind the counts.
    """
    total = float(counts.sum())
    # The share of matches is what differs most from log to log, so its own prior is loose.
    strength, loose = max(strength * total, 1.0), max(0.02 * total, 1.0)
    classes = 3 if alike_prior else 2
    believed = [[_normal(x) for x in (c.m, c.u, c.alike)[:classes]] for c in comparisons]
    fitted = [list(of_class) for of_class in believed]
    started = np.array([prior, 1 - prior - alike_prior, alike_prior][:classes])
    shares, done = started, 0
    weigh = (strength, strength, _ALIKE_STRENGTH * strength)
    for done in range(1, iterations + 1):  # noqa: B007
        bits = np.tile(np.log2(shares), (len(patterns), 1))
        for column, of_class in enumerate(fitted):
            bits += np.log2(np.maximum(np.stack(of_class), _TINY)).T[patterns[:, column]]
        belongs = np.exp2(bits - bits.max(axis=1, keepdims=True, initial=-np.inf)) if len(bits) else bits
        belongs = counts[:, None] * belongs / belongs.sum(axis=1, keepdims=True)
        moved = 0.0
        for column, c in enumerate(comparisons):
            for k in range(classes):
                seen = np.bincount(patterns[:, column], belongs[:, k], len(c.levels))
                new = _normal(np.where(believed[column][k] > 0, seen, 0.0) + weigh[k] * believed[column][k])
                moved = max(moved, float(np.abs(new - fitted[column][k]).max()))
                fitted[column][k] = new
        now = (belongs.sum(axis=0) + loose * started) / (total + loose)
        if classes == 3:
            now[2] = min(now[2], _ALIKE_MOST * now[0])
        now = np.clip(now, 1e-4, 1 - 1e-4)
        now /= now.sum()
        moved, shares = max(moved, float(np.abs(now - shares).max())), now
        if moved < 1e-7:
            break
    made = tuple(
        Comparison(c.name, c.levels, _plain(found[0]), _plain(found[1]),
                   _plain(found[2]) if classes == 3 else ())
        for c, found in zip(comparisons, fitted, strict=True)
    )  # fmt: skip
    return Linkage(made, float(shares[0]), done, float(shares[2]) if classes == 3 else 0.0)


def _plain(values: Floats) -> tuple[float, ...]:
    return tuple(map(float, values))


def _normal(weights: Sequence[float] | Floats) -> Floats:
    values = np.asarray(weights, dtype=np.float64)
    return np.asarray(values / values.sum(), dtype=np.float64)


def pattern_key(patterns: NDArray[np.int64], sizes: Sequence[int]) -> NDArray[np.int64]:
    """One integer a pattern (mixed radix), so that counting patterns is a group-by on integers."""
    key = np.zeros(len(patterns), dtype=np.int64)
    for column, size in enumerate(sizes):
        key = key * size + patterns[:, column]
    return key


def from_pattern_key(keys: NDArray[np.int64], sizes: Sequence[int]) -> NDArray[np.int64]:
    """The inverse of `pattern_key`: rows x comparisons."""
    columns, rest = [], keys.copy()
    for size in reversed(sizes):
        columns.append(rest % size)
        rest = rest // size
    return np.stack(columns[::-1], axis=1) if columns else np.zeros((len(keys), 0), dtype=np.int64)
