"""Scores of clusters and of neighbour pairs: B-cubed, pair recall against exact search."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class BCubed(NamedTuple):
    """Precision, recall and F1 averaged over items (Bagga & Baldwin, ACL 1998)."""

    precision: float
    recall: float
    f1: float


def b_cubed(label: Ints, truth: Ints) -> BCubed:
    """B-cubed of a clustering, every item in one cluster. O(n log n)."""
    both = np.unique(np.stack([label, truth]), axis=1, return_inverse=True, return_counts=True)
    shared = both[2][both[1].ravel()]
    precision = float(np.mean(shared / np.bincount(label)[label]))
    recall = float(np.mean(shared / np.bincount(truth)[truth]))
    return BCubed(precision, recall, 2 * precision * recall / max(precision + recall, 1e-12))


def b_cubed_interval(label: Ints, truth: Ints, seed: int, draws: int = 200) -> tuple[float, float]:
    """95% interval of B-cubed F1 over resampled items, each with its own precision and recall."""
    both = np.unique(np.stack([label, truth]), axis=1, return_inverse=True, return_counts=True)
    shared = both[2][both[1].ravel()]
    precision, recall = shared / np.bincount(label)[label], shared / np.bincount(truth)[truth]
    rng, values = np.random.default_rng(seed), []
    for _ in range(draws):
        drawn = rng.integers(0, len(label), len(label))
        p, r = precision[drawn].mean(), recall[drawn].mean()
        values.append(2 * p * r / (p + r))
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def true_pairs(vectors: NDArray[np.float32], k: int, least: float, queries: int, seed: int) -> Ints:
    """Exact neighbours of a sample of rows: pairs (row, one of its k nearest others) with cosine >= least, m x 2."""
    import faiss

    rows = np.sort(np.random.default_rng(seed).choice(len(vectors), min(queries, len(vectors)), replace=False))
    cosine, near = faiss.knn(vectors[rows], vectors, k + 1, metric=faiss.METRIC_INNER_PRODUCT)
    pairs = []
    for row, found, score in zip(rows, near, cosine, strict=True):
        others = [(j, s) for j, s in zip(found.tolist(), score.tolist(), strict=True) if j != row][:k]
        pairs += [(int(row), j) for j, s in others if s >= least]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def pair_recall(left: Ints, right: Ints, wanted: Ints, rows: int) -> float:
    """Share of the wanted pairs that were found, whichever way round."""
    found = np.unique(np.minimum(left, right) * rows + np.maximum(left, right))
    low, high = wanted.min(axis=1), wanted.max(axis=1)
    return float(np.isin(low * rows + high, found).mean())
