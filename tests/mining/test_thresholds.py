"""The locale's own threshold: planted variants whose cosines are squeezed, narrow logs, order, few wordings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.variants_scores import b_cubed
from mining.clusters import cluster
from mining.edges import variant_edges
from mining.thresholds import DRAWN, FIXED, LOWEST, threshold, to_medoid


def unit(vectors: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def spoken(kept: float, *, seed: int, requests: int = 800) -> tuple[np.ndarray, np.ndarray]:
    """2,400 wordings of requests of 50 topics, in random order, and the request of each.

    Some wordings are close to what they mean and some far. All cosines are multiplied by `kept`: the rest of a vector
    is its own, as are the pieces of a script that an encoder has learnt little of.
    """
    rng, dim, rows = np.random.default_rng(seed), 128, 2400
    scale = 1 / np.sqrt(dim)
    topic = unit(rng.standard_normal((50, dim)))
    request = unit(topic[rng.integers(0, 50, requests)] + scale * rng.standard_normal((requests, dim)))
    often = np.minimum(rng.zipf(1.7, rows) - 1, requests - 1)
    truth = np.where(rng.random(rows) < 0.7, rng.integers(0, requests, rows), often)
    far = scale * rng.uniform(0.2, 1.0, (rows, 1))
    vectors = unit(request[truth] + far * rng.standard_normal((rows, dim)))
    rest = unit(rng.standard_normal((rows, dim)))
    return unit(np.hstack([np.sqrt(kept) * vectors, np.sqrt(1 - kept) * rest])), truth


def f1(vectors: np.ndarray, truth: np.ndarray, least: float) -> float:
    edges = variant_edges(vectors, k=20, min_cosine=least, min_margin=1.0)
    found = cluster(
        vectors, edges.left, edges.right, edges.cosine, leiden_above=12, resolution=0.01, seed=0,
        min_medoid_cosine=to_medoid(least), join_cosine=least,
    )  # fmt: skip
    return b_cubed(found.cluster, truth).f1


@pytest.mark.parametrize("kept", [0.65, 0.75])
def test_variants_are_found_where_all_cosines_are_lower(kept: float) -> None:
    """One threshold for two locales fails one of them; each locale's own serves both."""
    plain, truth = spoken(1.0, seed=1)
    squeezed, same = spoken(kept, seed=1)
    np.testing.assert_array_equal(truth, same)
    served, own = threshold(plain), threshold(squeezed)
    assert own.wordings == DRAWN
    assert LOWEST <= own.cosine < served.cosine - 0.1
    best = f1(plain, truth, served.cosine)
    assert best > 0.93
    assert f1(squeezed, truth, own.cosine) > 0.8
    assert f1(squeezed, truth, FIXED) < 0.65
    assert f1(plain, truth, own.cosine) < best - 0.05  # nor does the squeezed locale's own serve the plain one


def test_users_who_say_few_things_in_many_ways_make_it_no_stricter() -> None:
    narrow, truth = spoken(1.0, seed=2, requests=15)
    assert threshold(narrow).cosine == FIXED
    assert f1(narrow, truth, FIXED) > f1(narrow, truth, 0.75)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(DRAWN, 3 * DRAWN), kept=st.floats(0.3, 1))
def test_the_median_of_nearest_cosines_in_any_order_of_the_drawn(seed: int, rows: int, kept: float) -> None:
    vectors = spoken(kept, seed=seed % 5)[0][:rows]
    found = threshold(vectors)
    cosine = vectors[:DRAWN].astype(np.float64) @ vectors[:DRAWN].astype(np.float64).T
    np.fill_diagonal(cosine, -1)
    wanted = float(np.clip(np.median(cosine.max(axis=1)), LOWEST, FIXED))
    assert found.cosine == pytest.approx(wanted, abs=1.5e-3)  # the grid, and three decimals
    shuffled = np.concatenate([np.random.default_rng(seed).permutation(DRAWN), np.arange(DRAWN, rows)])
    assert threshold(vectors[shuffled]) == found


def test_other_draws_and_larger_logs_tell_nearly_the_same() -> None:
    told = [threshold(spoken(0.7, seed=seed)[0]).cosine for seed in range(6)]
    assert max(told) - min(told) < 0.04


@pytest.mark.parametrize("rows", [0, 1, 2, DRAWN - 1])
def test_few_wordings_take_the_fixed_threshold(rows: int) -> None:
    vectors = spoken(0.5, seed=3)[0][:rows]
    assert threshold(vectors) == (FIXED, 0)


def test_equal_and_empty_vectors_stay_within_the_bounds() -> None:
    alike = np.repeat(unit(np.ones((1, 8))), DRAWN, axis=0)
    assert threshold(alike).cosine == FIXED
    assert threshold(np.zeros((DRAWN, 8), dtype=np.float32)).cosine == LOWEST


def test_members_may_be_as_far_from_their_medoid_as_before_where_the_threshold_is() -> None:
    assert to_medoid(FIXED) == 0.4
    assert to_medoid(LOWEST) < to_medoid(0.5) < 0.4
