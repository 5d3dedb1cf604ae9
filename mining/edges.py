"""Variant edges from neighbours: mutual and margin-scored, within one collection or between two.

Margin: cosine over the mean cosine of both neighbourhoods (ratio margin, Artetxe & Schwenk, "Margin-based parallel
corpus mining", ACL 2019), so that a hub is near to nobody in particular.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.neighbours import Floats, Ints, Plan, Vectors, between, neighbours

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
    """Mean cosine of every row's neighbours, 0 where it has none: n."""
    known = np.isfinite(cosine)
    count = known.sum(axis=1)
    total = np.where(known, cosine, 0.0).sum(axis=1)
    return np.asarray(np.round(total / np.maximum(count, 1), 6))


def good(cosine: Floats, margin: Floats, min_cosine: float, min_margin: float) -> NDArray[np.bool_]:
    """Which edges are kept."""
    return (cosine >= min_cosine) & ((margin >= min_margin) | (cosine >= NEAR_DUPLICATE))


def _directed(near: Ints, cosine: Floats, least: float) -> tuple[Ints, Ints, Ints, Floats]:
    """From, to, rank from 1, cosine: one row a neighbour that is there and near enough."""
    width = near.shape[1]
    kept = np.flatnonzero((near >= 0).ravel() & (cosine.ravel() >= least))
    return kept // max(width, 1), near.ravel()[kept], kept % max(width, 1) + 1, cosine.ravel()[kept]


def _mutual(
    forth: tuple[Ints, Ints, Ints, Floats],
    back: tuple[Ints, Ints, Ints, Floats],
    columns: int,
) -> tuple[Ints, Ints, Floats, Ints]:
    """Pairs that stand in both lists: left, right, cosine, worse rank. `back` runs from right to left."""
    key = np.concatenate([forth[0] * columns + forth[1], back[1] * columns + back[0]])
    rank, cosine = np.concatenate([forth[2], back[2]]), np.concatenate([forth[3], back[3]])
    order = np.argsort(key, kind="stable")
    key = key[order]
    twice = np.flatnonzero(key[1:] == key[:-1])
    one, other = order[twice], order[twice + 1]
    return key[twice] // columns, key[twice] % columns, cosine[one], np.maximum(rank[one], rank[other])


def mutual_edges(near: Ints, cosine: Floats, *, min_cosine: float, min_margin: float) -> Edges:
    """Edges of a collection from its neighbours (`neighbours`). O(n x k log) time, O(n x k) memory."""
    rows = max(len(near), 1)
    mean = neighbourhood(cosine)
    a, b, rank, cos = _directed(near, cosine, min_cosine)
    up = a < b
    left, right, cos, worst = _mutual(
        (a[up], b[up], rank[up], cos[up]), (a[~up], b[~up], rank[~up], cos[~up]), rows
    )  # fmt: skip
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
    left, right, cosine, worst = _mutual(
        _directed(*forth, min_cosine), _directed(*back, min_cosine), max(len(others), 1)
    )
    means = neighbourhood(forth[1]), neighbourhood(back[1])
    return scored(left, right, cosine, worst, *means, min_cosine, min_margin)
