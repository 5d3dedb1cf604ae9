"""Wishes: planted communities are found again, and what is known of some of their wordings reaches the others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import adjusted_rand_score

import mining.intent_posterior
from mining.intent_posterior import IntentPosterior, Links, intent_posterior
from mining.wishes import communities, told_by_others

NOTHING = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)


def planted(seed: int, wishes: int = 6, each: int = 200, wrong: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """The wish of each wording, and pairs of wordings: some three a wording, a share of them of another wish."""
    random = np.random.default_rng(seed)
    wish = random.permutation(np.repeat(np.arange(wishes), each))
    left = np.repeat(np.arange(len(wish)), 3)
    right = np.array([random.choice(np.flatnonzero(wish == wish[i])) for i in left.tolist()])
    right = np.where(random.random(len(left)) < wrong, random.integers(0, len(wish), len(left)), right)
    ends = np.sort(np.stack([left, right])[:, left != right], axis=0)
    return wish, np.unique(ends, axis=1)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_planted_wishes_are_found_again_and_always_the_same(seed: int) -> None:
    wish, (left, right) = planted(seed)
    found = communities(len(wish), left, right, np.ones(len(left)))
    large = np.bincount(found)[found] >= 50
    assert large.mean() > 0.9
    purity = sum(np.bincount(wish[large & (found == c)]).max() for c in np.unique(found[large])) / large.sum()
    assert purity > 0.93
    assert adjusted_rand_score(wish, found) > 0.8
    shuffled = np.random.default_rng(seed).permutation(len(left))
    again = communities(len(wish), left[shuffled], right[shuffled], np.ones(len(left)))
    np.testing.assert_array_equal(found, again)


def test_who_has_no_links_is_alone() -> None:
    assert len(np.unique(communities(4, *NOTHING))) == 4
    found = communities(5, np.array([1]), np.array([3]), np.array([0.5]))
    assert found[1] == found[3]
    assert len(np.unique(found)) == 4
    assert communities(0, *NOTHING).shape == (0,)


@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 4), st.integers(1, 5))
@settings(deadline=None)
def test_a_row_is_told_by_all_others_of_its_community(seed: int, rows: int, intents: int, many: int) -> None:
    random = np.random.default_rng(seed)
    label, acts = random.integers(0, many, rows), random.normal(size=(rows, intents))
    share = random.dirichlet(np.ones(intents))
    found = told_by_others(label, acts, share)
    for row in range(rows):
        others = [acts[i] for i in range(rows) if i != row and label[i] == label[row]]
        expected = softmax(0.5 * np.sum(others, axis=0) + np.log(share)) if others else share
        assert found[row] == pytest.approx(expected, abs=1e-9)


class Log:
    """A champion that is wrong of nine wordings in ten, in a way of its own for each; people who say most things
    again, and whose reactions tell an answer that served (one intent in two, as values have to be right too)."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.wish, ends = planted(seed)
        n, many = len(self.wish), int(self.wish.max()) + 1
        self.knows = random.random(n) < 0.1
        self.said = np.where(self.knows, self.wish, (self.wish + random.integers(1, many, n)) % many)
        served = self.knows & (random.random(n) < 0.5)
        self.odds = np.where(served, 12.0, 0.6)
        self.guesses = np.full((n, many), 0.1)
        self.guesses[np.arange(n), self.said] = 0.3
        self.led = np.full(ends.shape[1], 0.3)
        self.links = Links(ends[0], ends[1], self.led, self.led)

    def posterior(self, links: Links) -> IntentPosterior:
        return intent_posterior(self.guesses, (np.arange(len(self.wish)), self.said, self.odds), links, NOTHING)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_wish_that_is_hardly_ever_understood_is_known_all_the_same(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(seed)
    found = log.posterior(log.links).probability
    wrong = ~log.knows
    right = found.argmax(axis=1) == log.wish
    assert right[wrong].mean() > 0.75
    sure = wrong & (found.max(axis=1) > 0.8)
    assert sure.mean() > 0.3
    assert right[sure].mean() > 0.9
    # What links alone, wording by wording, bring along:
    monkeypatch.setattr(mining.intent_posterior, "_LARGE", len(log.wish) + 1)
    alone = log.posterior(log.links).probability
    assert (alone.argmax(axis=1) == log.wish)[wrong].mean() < 0.65
    assert (wrong & (alone.max(axis=1) > 0.8)).mean() < 0.05


@pytest.mark.parametrize(("honest", "accounts"), [(11, 1), (11, 4), (30, 10)])
def test_accounts_that_lead_a_served_wording_into_another_wish_do_not_change_what_it_means(
    honest: int, accounts: int
) -> None:
    log = Log(4)
    at = len(log.wish)  # one more wording: of wish 0, served, led into wish 1 by the accounts
    others = np.flatnonzero(log.wish == 1)[:accounts]
    share = np.full(len(others), 1 / (honest + accounts))
    links = Links(
        np.concatenate([log.links.left, others]),
        np.concatenate([log.links.right, np.full(len(others), at)]),
        np.concatenate([log.led, np.full(len(others), 0.97)]),
        np.concatenate([log.led, share]),
    )
    guesses = np.concatenate([log.guesses, np.full((1, 6), 1 / 6)])
    served = np.arange(at + 1), np.append(log.said, 0), np.append(log.odds, 30.0)
    found = intent_posterior(guesses, served, links, NOTHING).probability[at]
    assert found.argmax() == 0
    assert found[0] > 0.6
