"""The prior of a wording's intent: planted meanings come out, righter than the champion was, and as sure as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.intent_prior import IntentPrior, _heard, intent_prior

NO_EDGES = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
INTENTS = 6


class Log:
    """Planted wordings of six intents: a champion as often right as it says, pairs that agree by their cosine, and
    users who accept four of five right answers and one of five wrong ones."""

    def __init__(self, seed: int, n: int = 3000) -> None:
        random = np.random.default_rng(seed)
        self.meant = random.integers(0, INTENTS, n)
        sure = random.uniform(0.2, 0.95, n)
        other = (self.meant + random.integers(1, INTENTS, n)) % INTENTS
        self.said = np.where(random.random(n) < sure, self.meant, other)
        self.guesses = np.repeat(((1 - sure) / (INTENTS - 1))[:, None], INTENTS, axis=1)
        self.guesses[np.arange(n), self.said] = sure
        self.edges = self._pairs(random, n)
        right = self.said == self.meant
        accepted = random.random(n) < np.where(right, 0.8, 0.2)
        self.odds = np.where(accepted, 0.8 / 0.2, 0.2 / 0.8)
        self.votes = np.zeros((n, INTENTS))

    def _pairs(self, random: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Three pairs a wording; of cosine c, the share c agrees."""
        left = np.repeat(np.arange(n - 1), 3)
        cosine = np.round(random.uniform(0.4, 1, len(left)), 5)
        alike = random.random(len(left)) < cosine
        right = np.empty_like(left)
        for i, (row, same) in enumerate(zip(left.tolist(), alike.tolist(), strict=True)):
            after = self.meant[row + 1 :] == self.meant[row]
            fitting = np.flatnonzero(after if same else ~after)
            right[i] = row + 1 + (random.choice(fitting) if len(fitting) else 0)
        _, first = np.unique(left * n + right, return_index=True)
        return left[first], right[first], cosine[first]

    def prior(self, **changed: Any) -> IntentPrior:
        taken = np.arange(len(self.meant)), self.said, self.odds
        parts = {"guesses": self.guesses, "votes": self.votes, "edges": self.edges, "taken": taken}
        return intent_prior(**(parts | changed))

    def right(self, found: np.ndarray) -> float:
        return float((found.argmax(axis=1) == self.meant).mean())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_near_wordings_make_the_champion_righter_and_the_prior_is_as_sure_as_it_is_right(seed: int) -> None:
    log = Log(seed)
    found = log.prior()
    alone = log.prior(edges=NO_EDGES)
    assert log.right(alone.probability) == pytest.approx(log.right(log.guesses), abs=0.001)
    assert log.right(found.probability) > log.right(log.guesses) + 0.1
    for low, high in ((0.4, 0.6), (0.6, 0.8), (0.8, 1.01)):
        best = found.probability.max(axis=1)
        here = (best >= low) & (best < high)
        assert here.sum() > 100
        assert (found.probability.argmax(axis=1) == log.meant)[here].mean() == pytest.approx(best[here].mean(), abs=0.1)


def test_that_nearer_wordings_agree_more_is_found_without_a_label() -> None:
    told = Log(4, n=6000).prior().agreement
    cosines = sorted(told)
    assert cosines[0] == 0.4
    assert np.corrcoef(cosines, [told[c] for c in cosines])[0, 1] > 0.8
    # What is compared are guesses, so that it comes out lower than wordings really agree, never higher.
    assert all(told[c] < c + 0.05 for c in cosines)


def test_an_encoder_that_knows_nothing_is_not_listened_to() -> None:
    log = Log(5)
    random = np.random.default_rng(6)
    left, right, cosine = log.edges
    shuffled = random.permutation(len(log.meant))[right]
    kept = left < shuffled
    found = log.prior(edges=(left[kept], shuffled[kept], cosine[kept]))
    assert max(found.agreement.values()) < 0.45
    assert log.right(found.probability) > log.right(log.guesses) - 0.03


def test_users_who_reject_everything_make_the_prior_humble() -> None:
    log = Log(7)
    rows = np.arange(len(log.meant))
    sure, unsure = (log.prior(taken=(rows, log.said, np.full(len(rows), odds))) for odds in (4.0, 0.25))
    assert unsure.exponent < sure.exponent
    assert unsure.probability.max(axis=1).mean() < sure.probability.max(axis=1).mean()


def test_votes_of_near_wordings_count_and_a_wordings_own_do_not() -> None:
    log = Log(8, n=200)
    few = log.prior(taken=([], [], []))
    votes = log.votes.copy()
    votes[0, log.meant[0]] = 50
    now = log.prior(votes=votes, taken=([], [], []))
    left, right, _ = log.edges
    near = sorted(set(right[left == 0].tolist()) | set(left[right == 0].tolist()))
    assert near
    raised = now.probability[near, log.meant[0]] > few.probability[near, log.meant[0]]
    assert raised.mean() > 0.5
    # Only through what all wordings share (how common an intent is) do its own votes reach it.
    assert now.probability[0] == pytest.approx(few.probability[0], abs=0.05)


@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 5), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_any_log_gives_probabilities_and_the_order_of_its_rows_does_not_matter(
    seed: int, n: int, intents: int, many: int
) -> None:
    random = np.random.default_rng(seed)
    guesses = random.dirichlet(np.ones(intents + 1), n)[:, :intents] * (random.random((n, 1)) < 0.8)
    votes = random.exponential(2, (n, intents)) * (random.random((n, intents)) < 0.3)
    ends = random.integers(0, n, (2, many))
    ends = np.unique(np.sort(ends[:, ends[0] != ends[1]], axis=0), axis=1)
    cosine = np.round(random.uniform(-0.2, 1, ends.shape[1]), 5)
    rows = random.integers(0, n, 80)
    taken = rows, random.integers(0, intents, 80), random.exponential(1, 80)
    found = intent_prior(guesses, votes, (ends[0], ends[1], cosine), taken).probability
    assert found.shape == (n, intents)
    assert found.sum(axis=1) == pytest.approx(1)
    assert (found >= 0).all()
    new = random.permutation(n)  # the new place of each row
    old = np.argsort(new)
    moved = intent_prior(
        guesses[old], votes[old], (new[ends[0]], new[ends[1]], cosine), (new[rows], taken[1], taken[2])
    ).probability
    assert moved[new] == pytest.approx(found, abs=1e-6)


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_what_a_wording_hears_is_the_sum_over_its_neighbours(seed: int) -> None:
    random = np.random.default_rng(seed)
    belief = random.dirichlet(np.ones(4), 12)
    ends = random.integers(0, 12, (2, 25))
    ends = np.unique(np.sort(ends[:, ends[0] != ends[1]], axis=0), axis=1)
    weight = random.uniform(0.05, 0.97, ends.shape[1])
    share = belief.mean(axis=0) + 1e-9
    expected, mass = np.zeros((12, 4)), np.zeros(12)
    for a, b, w in zip(*ends.tolist(), weight.tolist(), strict=True):
        for row, other in ((a, b), (b, a)):
            expected[row] += np.log(w * belief[other] / share + 1 - w)
            mass[row] += w
    expected *= np.minimum(1, 2 / np.maximum(mass, 1e-9))[:, None]
    assert _heard(belief, ends[0], ends[1], weight) == pytest.approx(expected, abs=1e-9)


def test_a_locale_without_wordings_or_intents() -> None:
    for shape in ((0, 4), (3, 0)):
        empty = np.zeros(shape)
        assert intent_prior(empty, empty, NO_EDGES, ([], [], [])).probability.shape == shape
