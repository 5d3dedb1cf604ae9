"""Intent accuracy, slot F1 and exact match, as MASSIVE scores them, with bootstrap intervals.

Spans are compared by name and by *solid* offsets, which count the characters that are not white space: the
annotation of Japanese and Chinese has spaces that the utterance lacks, and no script is hurt by leaving
them out. Slot F1 is the micro average over exact spans (CoNLL-2000's evaluation; FitzGerald et al. 2023).
All figures are fractions of 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.annotated import Annotated
from schemas.predictor import Interpretation, Predictor, Slot

Span = tuple[str, int, int]


@dataclass(frozen=True)
class Metrics:
    """Fractions of 1. `slot_f1` is 1 where there is neither a gold nor a predicted span."""

    intent_accuracy: float
    slot_f1: float
    exact_match: float
    examples: int


@dataclass(frozen=True)
class Outcomes:
    """Per-example counts, from which every figure and every interval is a sum. Arrays of n."""

    intent_right: np.ndarray
    spans_right: np.ndarray
    spans_gold: np.ndarray
    spans_found: np.ndarray
    exact: np.ndarray

    def metrics(self, chosen: np.ndarray | None = None) -> Metrics:
        """The figures over all examples, or over the chosen indices (with repeats)."""
        k: np.ndarray | slice = slice(None) if chosen is None else chosen
        n = len(self.exact[k])
        if n == 0:
            return Metrics(0.0, 0.0, 0.0, 0)
        total = self.spans_gold[k].sum() + self.spans_found[k].sum()
        f1 = 2 * self.spans_right[k].sum() / total if total else 1.0
        return Metrics(float(self.intent_right[k].mean()), float(f1), float(self.exact[k].mean()), n)

    def interval(self, seed: int = 17, resamples: int = 1000, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Percentile bootstrap over examples (Efron 1979), seeded: metric name -> (low, high). O(n *
        resamples).
        """
        random, n = np.random.default_rng(seed), len(self.exact)
        draws = [self.metrics(random.integers(0, n, n)) for _ in range(resamples)] if n else []
        tail = 100 * (1 - level) / 2
        return {
            name: (
                (
                    float(np.percentile([getattr(d, name) for d in draws], tail)),
                    float(np.percentile([getattr(d, name) for d in draws], 100 - tail)),
                )
                if draws
                else (0.0, 1.0)
            )
            for name in ("intent_accuracy", "slot_f1", "exact_match")
        }


def solid_spans(utterance: str, slots: Sequence[Slot]) -> set[Span]:
    """Spans as (name, start, end) in characters that are not white space."""
    solid = [0]
    for character in utterance:
        solid.append(solid[-1] + (not character.isspace()))
    return {(s.name, solid[s.start], solid[s.end]) for s in slots}


def compare(gold: Sequence[Annotated], found: Sequence[Interpretation]) -> Outcomes:
    """Score interpretations against gold, in order.

    Raises:
        ValueError: the two differ in length.
    """
    rows = []
    for g, f in zip(gold, found, strict=True):
        wanted, got = solid_spans(g.utterance, g.interpretation.slots), solid_spans(g.utterance, f.slots)
        same = g.interpretation.intent == f.intent
        rows.append((same, len(wanted & got), len(wanted), len(got), same and wanted == got))
    table = np.array(rows, np.int64).reshape(-1, 5)
    return Outcomes(*(table[:, i] for i in range(5)))


def outcomes(predictor: Predictor, gold: Sequence[Annotated]) -> Outcomes:
    """Ask the predictor, locale by locale, and score what it says."""
    found: dict[int, Interpretation] = {}
    for locale in sorted({g.locale for g in gold}):
        indices = [i for i, g in enumerate(gold) if g.locale == locale]
        answers = predictor.predict([gold[i].utterance for i in indices], locale)
        found |= {i: answer.interpretation for i, answer in zip(indices, answers, strict=True)}
    return compare(gold, [found[i] for i in range(len(gold))])


def evaluate(predictor: Predictor, gold: Sequence[Annotated]) -> Metrics:
    """Intent accuracy, slot F1 and exact match of a predictor on gold rows."""
    return outcomes(predictor, gold).metrics()


def bootstrap_interval(
    predictor: Predictor,
    gold: Sequence[Annotated],
    *,
    seed: int = 17,
    resamples: int = 1000,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """95% intervals of the three metrics; see `Outcomes.interval`."""
    return outcomes(predictor, gold).interval(seed, resamples, level)
