"""Absorbing Markov chain over what users try: where a failed state reliably ends well, over all users.

Ponnusamy et al., "Feedback-based self-learning in large-scale conversational AI agents", AAAI 2020: each state has an
absorbing success and an absorbing failure; users move from state to state by saying it again. There a state is an
interpretation. At a launch all that is not understood shares one interpretation and would get one advice, so a state
here is (variant cluster, interpretation).

Exposure, after "Self-aware feedback-based self-learning in large-scale conversational AI" (2022): where a deployed
rewrite replaced the user's words, the state is that of the words they said with what it made of them. So a rewrite is
judged by what its own users did then, and the state it leads to is not credited with traffic that the rewrite sent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Absorbed:
    """Of each state: where it ends, and how surely.

    Args:
        best: the state in which a walk from here most probably ends accepted; the state itself where nowhere.
        probability: that it ends accepted there.
        own: that it ends accepted in this state.
        accepted: that it ends accepted anywhere.
    """

    best: Ints
    probability: Floats
    own: Floats
    accepted: Floats

    @property
    def abandoned(self) -> Floats:
        """That it ends given up."""
        return np.asarray(1 - self.accepted, dtype=np.float64)


def absorb(
    moves: sp.csr_matrix[np.float64],
    accepted: Floats,
    abandoned: Floats,
    *,
    doubt: float = 0.5,
    exact_up_to: int = 1000,
    drop: float = 1e-6,
) -> Absorbed:
    """Where walks end.

    Args:
        moves: states x states, weight of moves from a row's state to a column's.
        accepted: weight of the walks that end accepted in each state.
        abandoned: weight of the walks that are given up in it.
        doubt: weight of giving up added to every state, so that a few users make no certainty, and every walk ends.
        exact_up_to: components (states that moves connect) of at most this many states are solved exactly.
        drop: in larger ones, endings less probable than this are left out at each step.

    Returns:
        The endings. `accepted` is exact in both cases, to 1e-9; in a large component `probability` is too small by at
        most `drop` times the endings left out on the way.

    Cost: a component of n states costs O(n^3) time and O(n^2) memory up to `exact_up_to` (a solve, no inverse), and
    O(moves x endings kept) a step beyond, where steps are as many as tries in a long walk.
    """
    weight = moves.astype(np.float64)
    states = weight.shape[0]
    total = np.asarray(weight.sum(axis=1)).ravel() + accepted + abandoned + doubt
    step = sp.csr_matrix(sp.diags_array(1 / total) @ weight)
    ends = np.asarray(accepted / total, dtype=np.float64)
    best, probability, own = np.arange(states, dtype=np.int64), np.zeros(states), np.zeros(states)
    _, component = connected_components(step, directed=False)
    order = np.argsort(component, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(component[order])) + 1) if states else []:
        inside = sp.csr_matrix(step[rows][:, rows])
        if len(rows) <= exact_up_to:
            found = np.linalg.solve(np.eye(len(rows)) - inside.toarray(), np.diag(ends[rows]))
            at = found.argmax(axis=1)
            most, mine = found[np.arange(len(rows)), at], found.diagonal()
        else:
            at, most, mine = _largest(_series(inside, ends[rows], drop))
        some = most > 0
        best[rows[some]], probability[rows], own[rows] = rows[at[some]], most, mine
    return Absorbed(best, probability, own, _anywhere(step, ends))


def _anywhere(step: sp.csr_matrix, ends: Floats) -> Floats:
    """Probability of each state to end accepted: the fixed point of one step, as every walk ends in the end."""
    found = ends
    while True:
        further = ends + step @ found
        if np.abs(further - found).max(initial=0) < 1e-12:
            return np.asarray(further, dtype=np.float64)
        found = further


def _series(step: sp.csr_matrix, ends: Floats, drop: float) -> sp.csr_matrix:
    """Endings x states by adding one step after another."""
    term = found = sp.csr_matrix(sp.diags_array(ends))
    while term.nnz:
        term = step @ term
        term.data[term.data < drop] = 0
        term.eliminate_zeros()
        found = found + term
    return sp.csr_matrix(found)


def _largest(found: sp.csr_matrix) -> tuple[Ints, Floats, Floats]:
    """Place and value of each row's largest entry, the first of equals; and the diagonal."""
    row = np.repeat(np.arange(found.shape[0]), np.diff(found.indptr))
    order = np.lexsort((found.indices, -found.data, row))
    first = order[np.diff(row[order], prepend=-1) != 0]
    at, most = np.arange(found.shape[0], dtype=np.int64), np.zeros(found.shape[0])
    at[row[first]], most[row[first]] = found.indices[first], found.data[first]
    return at, most, np.asarray(found.diagonal(), dtype=np.float64)
