"""The chain against the fundamental matrix, against walks, and against what a planted detour should teach."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.absorption import absorb


def random_chain(seed: int, states: int, moves: int = 3) -> tuple[sp.csr_matrix, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.arange(states), moves)
    weight = sp.csr_matrix((rng.uniform(0, 3, len(rows)), (rows, rng.integers(0, states, len(rows)))), (states, states))
    return weight, rng.uniform(0, 2, states) * (rng.random(states) < 0.6), rng.uniform(0, 1, states)


def closed_form(weight: sp.csr_matrix, accepted: np.ndarray, abandoned: np.ndarray, doubt: float) -> np.ndarray:
    """Fundamental matrix times absorbing part, as in Kemeny and Snell: states x states of accepted endings."""
    dense = weight.toarray()
    total = dense.sum(axis=1) + accepted + abandoned + doubt
    return np.linalg.inv(np.eye(len(dense)) - dense / total[:, None]) @ np.diag(accepted / total)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 4), st.sampled_from([0, 1000]))
def test_small_chains_are_the_closed_form(seed: int, states: int, moves: int, exact_up_to: int) -> None:
    chain = random_chain(seed, states, moves)
    expected = closed_form(*chain, doubt=0.5)
    found = absorb(*chain, exact_up_to=exact_up_to, drop=1e-14)
    assert found.probability == pytest.approx(expected.max(axis=1), abs=1e-9)
    assert expected[np.arange(states), found.best] == pytest.approx(expected.max(axis=1), abs=1e-9)
    assert found.own == pytest.approx(expected.diagonal(), abs=1e-9)
    assert found.accepted == pytest.approx(expected.sum(axis=1), abs=1e-9)
    assert found.abandoned == pytest.approx(1 - expected.sum(axis=1), abs=1e-9)


def walks(chain: tuple[sp.csr_matrix, np.ndarray, np.ndarray], start: int, n: int, seed: int) -> np.ndarray:
    """Share of walks from `start` that end accepted in each state; the doubt is given up."""
    weight, accepted, abandoned = chain[0].toarray(), chain[1], chain[2] + 0.5
    outcomes = np.hstack([weight, accepted[:, None], abandoned[:, None]])
    reach = np.cumsum(outcomes / outcomes.sum(axis=1, keepdims=True), axis=1)
    rng, states = np.random.default_rng(seed), len(weight)
    at, ended = np.full(n, start), np.zeros(states)
    while len(at):
        to = (rng.random(len(at))[:, None] > reach[at]).sum(axis=1)
        ended += np.bincount(at[to == states], minlength=states)
        at = to[to < states]
    return ended / n


@pytest.mark.parametrize("exact_up_to", [0, 1000])
def test_large_chains_end_where_walks_end(exact_up_to: int) -> None:
    chain, n = random_chain(3, 800), 40_000
    found = absorb(*chain, exact_up_to=exact_up_to)
    for start in (0, 17, 400, 799):
        ended = walks(chain, start, n, seed=start)
        for expected, seen in ((found.accepted, ended.sum()), (found.probability, ended[found.best[start]])):
            assert abs(seen - expected[start]) < 4 * np.sqrt(max(expected[start] * (1 - expected[start]), 1e-4) / n)
        assert ended.max() - ended[found.best[start]] < 4 * np.sqrt(0.25 / n)


def test_series_and_solve_agree_within_what_was_dropped() -> None:
    chain = random_chain(5, 600)
    exact, series = absorb(*chain), absorb(*chain, exact_up_to=0, drop=1e-6)
    assert np.abs(exact.probability - series.probability).max() < 1e-3
    assert (series.probability <= exact.probability + 1e-9).all()
    assert np.abs(exact.accepted - series.accepted).max() < 1e-9


def test_what_many_users_end_in_is_advised_and_not_what_one_tried() -> None:
    """0 -> 1 fails mostly, 0 -> 1 -> 2 works; one user went from 0 to 3 and liked it."""
    moves = sp.csr_matrix(([9.0, 8.0, 1.0], ([0, 1, 0], [1, 2, 3])), (4, 4))
    found = absorb(moves, np.array([0.0, 1.0, 30.0, 1.0]), np.array([1.0, 1.0, 2.0, 0.0]))
    assert found.best.tolist() == [2, 2, 2, 3]
    assert found.own[0] == 0


def test_a_loop_without_an_end_is_given_up_and_nothing_is_nothing() -> None:
    loop = sp.csr_matrix(([5.0, 5.0], ([0, 1], [1, 0])), (2, 2))
    found = absorb(loop, np.zeros(2), np.zeros(2))
    assert found.best.tolist() == [0, 1]
    assert found.accepted.tolist() == [0, 0]
    empty = absorb(sp.csr_matrix((0, 0)), np.zeros(0), np.zeros(0))
    assert len(empty.best) == 0
