"""Figures of a loop's models: share of the gap closed, differences with intervals, flips, head, torso and tail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.loop_reports import METRICS, share_of_gap
from retrain.evaluate import Outcomes
from schemas.annotated import Annotated

_RESAMPLES = 1000
_HEAD, _TORSO = 0.5, 0.8  # share of the train utterances that the most frequent intents have up to here


def _metric(found: Outcomes, name: str, chosen: np.ndarray | None = None) -> float:
    return float(getattr(found.metrics(chosen), name))


def gap_closed(launch: Outcomes, now: Outcomes, best: Outcomes, chosen: np.ndarray | None = None) -> dict[str, float]:
    """Share of the way from launch to ceiling, by metric; 0 where there is no way to go."""
    return {name: share_of_gap(*(_metric(of, name, chosen) for of in (launch, now, best))) for name in METRICS}


def _resampled(n: int, seed: int) -> Iterator[np.ndarray]:
    random = np.random.default_rng(seed)
    for _ in range(_RESAMPLES):
        yield random.integers(0, n, n)


def _percentiles(draws: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    return {name: [float(np.percentile([d[name] for d in draws], p)) for p in (2.5, 97.5)] for name in METRICS}


def gap_interval(launch: Outcomes, now: Outcomes, best: Outcomes, seed: int) -> dict[str, list[float]]:
    """95% percentile bootstrap of `gap_closed` over test utterances, all three models on the same draw."""
    n = len(launch.exact)
    return _percentiles([gap_closed(launch, now, best, chosen) for chosen in _resampled(n, seed)])


def difference_interval(one: Outcomes, other: Outcomes, seed: int) -> dict[str, list[float]]:
    """95% percentile bootstrap of one model's figures less another's, paired."""
    return _percentiles(
        [
            {name: _metric(one, name, chosen) - _metric(other, name, chosen) for name in METRICS}
            for chosen in _resampled(len(one.exact), seed)
        ]
    )


def flipped(before: Outcomes, now: Outcomes) -> float:
    """Share of the utterances that were wholly right and no longer are (negative flips, Yan et al. 2021)."""
    return float((before.exact.astype(bool) & ~now.exact.astype(bool)).mean())


def strata_of(train_rows: Sequence[Annotated], test: Sequence[Annotated]) -> dict[str, np.ndarray]:
    """Indices of the test utterances in head, torso and tail intents by their share of the train utterances."""
    counts: dict[str, int] = {}
    for row in train_rows:
        counts[row.interpretation.intent] = counts.get(row.interpretation.intent, 0) + 1
    stratum, carried, whole = {}, 0, max(len(train_rows), 1)
    for intent in sorted(counts, key=lambda name: (-counts[name], name)):
        share = carried / whole
        stratum[intent] = "head" if share < _HEAD else "torso" if share < _TORSO else "tail"
        carried += counts[intent]
    names = [stratum.get(row.interpretation.intent, "tail") for row in test]
    return {name: np.flatnonzero([n == name for n in names]) for name in ("head", "torso", "tail")}


def by_stratum(found: Outcomes, strata: dict[str, np.ndarray]) -> dict[str, Any]:
    """The three metrics in each stratum that has utterances."""
    return {"strata": {s: asdict(found.metrics(chosen)) for s, chosen in strata.items() if len(chosen)}}
