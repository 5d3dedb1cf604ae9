"""What a uniform random sample of turns with a person's answers says of labels and of acceptance.

Reviews are chosen for their information and biased; only a uniform sample measures. Every figure is a share of the
sampled turns it is about, with an exact (Clopper-Pearson) 95% interval, and therefore about the traffic.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta


@dataclass(frozen=True)
class Audited:
    """A sampled turn.

    Args:
        intent: the person's answer.
        slots: (type, normalised value) of the answer, or None where the person gave none.
        label: the intent of the formulation's accepted label, or None without one.
        label_slots: its slots, or None where they stay open.
        served: the intent that the model understood, of completed turns; else None.
        friction: posterior that the turn did not serve its user.
    """

    intent: str
    slots: frozenset[tuple[str, str]] | None
    label: str | None
    label_slots: frozenset[tuple[str, str]] | None
    served: str | None
    friction: float


@dataclass(frozen=True)
class Share:
    """`right` of `of` turns, and the exact interval of the share."""

    right: int
    of: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """`right / of`; NaN without a turn."""
        return self.right / self.of if self.of else float("nan")


def share(right: int, of: int, level: float = 0.95) -> Share:
    """A share with its Clopper-Pearson interval (Clopper and Pearson 1934): never covers less than `level`."""
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, right, of - right + 1)) if right else 0.0
    high = float(beta.ppf(1 - tail, right + 1, of - right)) if right < of else 1.0
    return Share(right, of, low, high)


def draw(ids: Iterable[str], n: int, seed: int) -> list[str]:
    """`n` of the ids, uniformly without replacement, the same for any order they come in; all where there are fewer."""
    ordered = sorted(ids)
    if n >= len(ordered):
        return ordered
    chosen = np.random.default_rng([seed, 0xA0D17]).choice(len(ordered), n, replace=False)
    return [ordered[i] for i in sorted(chosen.tolist())]


def score(turns: Sequence[Audited], sure: float = 0.5) -> dict[str, Share]:
    """The figures of a sample.

    Args:
        turns: the answered ones.
        sure: friction below which a completed turn counts as accepted.

    Returns:
        label_coverage (turns whose formulation has an accepted label), label_precision (of these, intent right),
        slot_precision (of the labels with the right intent and settled slots, all slots right), slots_settled,
        silent_failures (of the turns that look accepted, wrong intent), intent_survival (of the completed turns that do
        not, right intent), served (of all, right intent completed).
    """
    labelled = [t for t in turns if t.label is not None]
    right = [t for t in labelled if t.label == t.intent]
    settled = [t for t in right if t.label_slots is not None]
    judged = [t for t in settled if t.slots is not None]
    quiet = [t for t in turns if t.served is not None and t.friction < sure]
    loud = [t for t in turns if t.served is not None and t.friction >= sure]
    return {
        "label_coverage": share(len(labelled), len(turns)),
        "label_precision": share(len(right), len(labelled)),
        "slots_settled": share(len(settled), len(right)),
        "slot_precision": share(sum(t.slots == t.label_slots for t in judged), len(judged)),
        "silent_failures": share(sum(t.served != t.intent for t in quiet), len(quiet)),
        "intent_survival": share(sum(t.served == t.intent for t in loud), len(loud)),
        "served": share(sum(t.served == t.intent for t in turns), len(turns)),
    }
