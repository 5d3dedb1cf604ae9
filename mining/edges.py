"""Variant edges from neighbours: mutual and margin-scored, within one collection or between two.

Margin: cosine over the mean cosine of both neighbourhoods (ratio margin, Artetxe & Schwenk, "Margin-based parallel
corpus mining", ACL 2019), so that a hub is near to nobody in particular.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.neighbours import Floats, Ints, Plan, Vectors, between, neighbours

_NUMBERS = 4_000_000  # in the largest array of a block
NEAR_DUPLICATE = 0.95  # edges of so high a cosine are kept whatever their margin


@dataclass(frozen=True)
class Edges:
    """Edges between row numbers, sorted by left, then right; `mutual_rank` is the worse of the two ranks, from 1.

    Within one collection left < right; between two, left is a row of the first and right one of the second.
    """

    left: Ints
    right: Ints
    cosine: Floats
    margin: Floats
    mutual_rank: Ints

    def where(self, kept: NDArray[np.bool_]) -> Edges:
        """Some of the edges."""
        return Edges(self.left[kept], self.right[kept], self.cosine[kept], self.margin[kept], self.mutual_rank[kept])


def neighbourhood(cosine: Floats) -> Floats:
    """Mean cosine of every row's neighbours, 0 where it has none: n. O(n x k) time, 9 bytes an entry of one block."""
    mean = np.empty(len(cosine))
    for part in _blocks(len(cosine), cosine.shape[1]):
        known = np.isfinite(cosine[part])
        total = np.where(known, cosine[part], 0.0).sum(axis=1)
        mean[part] = np.round(total / np.maximum(known.sum(axis=1), 1), 6)
    return mean


def good(cosine: Floats, margin: Floats, min_cosine: float, min_margin: float) -> NDArray[np.bool_]:
    """Which edges are kept."""
    return (cosine >= min_cosine) & ((margin >= min_margin) | (cosine >= NEAR_DUPLICATE))


def _blocks(rows: int, each: int) -> Iterator[slice]:
    """Slices of rows that have `each` numbers apiece, so many that a block of them stays small."""
    size = max(1, _NUMBERS // max(each, 1))
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))


def _mutual(near: Ints, cosine: Floats, back: Ints, least: float, *, within: bool) -> tuple[Ints, Ints, Floats, Ints]:
    """Pairs that stand in both lists: left, right, cosine, worse rank, sorted by left, then right.

    Args:
        near, cosine: the neighbours of the left ones, n x k.
        back: the neighbours of the right ones, m x k.
        within: both are one collection, of which each pair is wanted once.
    """
    found = []
    for part in _blocks(len(near) if near.size and back.size else 0, near.shape[1] * back.shape[1]):
        some = near[part]
        there = (some >= 0) & (cosine[part] >= least)
        if within:
            there &= some > np.arange(part.start, part.stop)[:, None]
        row, place = np.nonzero(there)
        left, right = row + part.start, some[row, place]
        same = back[right] == left[:, None]
        kept = np.flatnonzero(same.any(axis=1))
        left, right, rank = left[kept], right[kept], np.maximum(place[kept], same[kept].argmax(axis=1)) + 1
        order = np.lexsort((right, left))
        found.append((left[order], right[order], cosine[part][row[kept], place[kept]][order], rank[order]))
    left, right, rank = (np.concatenate([one[i] for one in found] or [np.zeros(0, np.int64)]) for i in (0, 1, 3))
    return left, right, np.concatenate([one[2] for one in found] or [np.zeros(0)]), rank


def mutual_edges(near: Ints, cosine: Floats, *, min_cosine: float, min_margin: float) -> Edges:
    """Edges of a collection from its neighbours (`neighbours`).

    Cost: O(n x k^2) comparisons of whole numbers, block by block; memory of the edges, 40 bytes each, and as much while
    they are sorted out.
    """
    mean = neighbourhood(cosine)
    left, right, cos, worst = _mutual(near, cosine, near, min_cosine, within=True)
    return scored(left, right, cos, worst, mean, mean, min_cosine, min_margin)


def near_edges(near: Ints, cosine: Floats, variants: Edges, *, min_cosine: float) -> Edges:
    """Mutual neighbours that are no variants: near enough to be told by, whatever their margin. Cost as above."""
    found = mutual_edges(near, cosine, min_cosine=min_cosine, min_margin=-np.inf)
    rows = max(len(near), 1)
    other = ~np.isin(found.left * rows + found.right, variants.left * rows + variants.right)
    return found.where(other)


def scored(
    left: Ints, right: Ints, cosine: Floats, worst: Ints, mean: Floats, other: Floats, least: float, min_margin: float
) -> Edges:
    """Mutual pairs with their margin, less those below a threshold; `mean` and `other` by `neighbourhood`."""
    margin = np.round(cosine / np.maximum((mean[left] + other[right]) / 2, 1e-6), 5)
    return Edges(left, right, cosine, margin, worst).where(good(cosine, margin, least, min_margin))


def variant_edges(
    vectors: Vectors,
    *,
    k: int,
    min_cosine: float,
    min_margin: float,
    chosen: Plan | None = None,
    cells: Vectors | None = None,
    exact_below: int = 20_000,
    seed: int = 0,
) -> Edges:
    """Mutual neighbours with a high enough cosine and margin.

    Args:
        vectors: unit vectors, n x dim.
        k: neighbours looked at on each side.
        min_cosine: least cosine.
        min_margin: least ratio margin; edges of near duplicates (cosine above 0.95) are kept whatever their margin.
        chosen, cells, exact_below, seed: as for `neighbours`.

    Cost: that of the search, and O(n x k) memory.
    """
    near, cosine = neighbours(vectors, k, chosen=chosen, cells=cells, exact_below=exact_below, seed=seed)
    return mutual_edges(near, cosine, min_cosine=min_cosine, min_margin=min_margin)


def cross_edges(
    vectors: Vectors,
    others: Vectors,
    *,
    k: int,
    min_cosine: float,
    min_margin: float,
    exact_below: int = 20_000,
    seed: int = 0,
) -> Edges:
    """Mutual neighbours between two collections (two locales), with the margin of both neighbourhoods.

    `others` is the larger, as a rule: cells are made of it. Arguments and cost as for `variant_edges`.
    """
    forth = between(vectors, others, k, exact_below=exact_below, seed=seed)
    back = between(others, vectors, k, exact_below=exact_below, seed=seed)
    left, right, cosine, worst = _mutual(*forth, back[0], min_cosine, within=False)
    means = neighbourhood(forth[1]), neighbourhood(back[1])
    return scored(left, right, cosine, worst, *means, min_cosine, min_margin)
