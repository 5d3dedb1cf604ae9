"""How near is near in a locale: the least cosine of an edge, from the locale's own cosines and without a label.

One encoder gives the wordings of one language lower cosines than those of another, by script, by the length of its
pieces and by how much it was taught of it. What is near is therefore told by what is nearest there: of some hundred
wordings drawn at random, half have their nearest other at a higher cosine and half at a lower one. The rule is unmoved
by whatever stretches the cosines of a locale and keeps their order, and by the size of the log.

It only ever lowers the threshold: the nearest cosines of a log are also high where its users say few things in many
ways, and there a stricter threshold is wrong (docs/variants.md).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mining.neighbours import Plan, Vectors, neighbours

DRAWN = 700  # wordings; of more the nearest is nearer: the rule's one constant, chosen on four locales' dev partitions
LOWEST = 0.45  # below it precision falls faster than recall rises, in ja-JP, whose cosines are the lowest of 10 locales
FIXED = 0.65  # the highest, and that of locales with fewer wordings: the best single number for three locales
_MEDOID = 8 / 13  # 0.4 where edges begin at 0.65


class Threshold(NamedTuple):
    """The least cosine of an edge, and how many wordings told it: 0 where it was set, or there are too few of them."""

    cosine: float
    wordings: int


def threshold(vectors: Vectors) -> Threshold:
    """The median cosine of `DRAWN` wordings to the nearest other of them, held to [`LOWEST`, `FIXED`].

    Args:
        vectors: unit vectors, n x dim, in a random order that does not depend on partitioning (sorted by formulation
            id, a hash); the first `DRAWN` are looked at.

    Rounded to 0.001; `FIXED` where there are fewer than `DRAWN`. O(DRAWN^2 x dim) whatever n.
    """
    drawn = vectors[:DRAWN]
    if len(drawn) < DRAWN:
        return Threshold(FIXED, 0)
    exact = Plan("exact", "cpu", len(drawn), drawn.shape[1], 0, 0)
    nearest = neighbours(drawn, 1, chosen=exact)[1]
    return Threshold(round(float(np.clip(np.median(nearest), LOWEST, FIXED)), 3), len(drawn))


def to_medoid(cosine: float) -> float:
    """The least cosine of a member to its medoid, in a locale whose edges begin at `cosine`."""
    return round(cosine * _MEDOID, 3)
