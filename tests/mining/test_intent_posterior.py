"""The posterior of a wording's intent: planted meanings come out, righter than the champion's, and as sure as right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.intent_posterior import _PARTS, IntentPosterior, Links, _heard, _parts, _tempered, intent_posterior

NOTHING = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
NO_LINKS = Links(*NOTHING, np.zeros(0))
INTENTS = 6


class Log:
    """Planted wordings of six intents: a champion as often right as it says, pairs that agree by their cosine, and
    users who tell three of four right answers from wrong ones, the others hardly."""

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
        telling = np.where(random.random(n) < 0.75, 0.97, 0.6)
        accepted = random.random(n) < np.where(right, telling, 1 - telling)
        self.odds = np.where(accepted, telling / (1 - telling), (1 - telling) / telling)

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

    def posterior(self, **changed: Any) -> IntentPosterior:
        served = np.arange(len(self.meant)), self.said, self.odds
        parts = {"guesses": self.guesses, "served": served, "rephrases": NO_LINKS, "near": self.edges}
        return intent_posterior(**(parts | changed))

    def right(self, found: np.ndarray) -> float:
        return float((found.argmax(axis=1) == self.meant).mean())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_near_annotated_utterances_make_the_posterior_righter_and_who_has_none_is_left_alone(seed: int) -> None:
    log = Log(seed)
    random = np.random.default_rng(seed)
    n = len(log.meant)
    said = np.where(random.random(n) < 0.6, log.meant, random.integers(0, INTENTS, n))
    annotated = np.zeros((n, INTENTS))
    annotated[np.arange(n), said] = 1
    annotated[::2] = 0
    alone, found = (log.posterior(near=NOTHING, annotated=a).probability for a in (None, annotated))
    assert (found[1::2].argmax(1) == log.meant[1::2]).mean() > (alone[1::2].argmax(1) == log.meant[1::2]).mean() + 0.01
    np.testing.assert_allclose(found[::2], alone[::2], atol=1e-9)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_where_tries_of_its_cluster_end_tells_a_wording_as_far_as_they_end_otherwise_than_usual(seed: int) -> None:
    log = Log(seed)
    random = np.random.default_rng(seed)
    n = len(log.meant)
    often = np.where(random.random(n) < 0.6, log.meant, 0)  # tries end with intent 0 where they end wrong
    ended = np.zeros((n, INTENTS))
    ended[np.arange(n), often] = random.uniform(0.5, 6, n)
    ended[::2] = 0
    alone, found = (log.posterior(near=NOTHING, absorbed=a).probability for a in (None, ended))
    right = [(told.argmax(1) == log.meant)[1::2].mean() for told in (alone, found)]
    assert right[1] > right[0] + 0.02
    np.testing.assert_allclose(found[::2], alone[::2], atol=1e-9)
    same = log.posterior(near=NOTHING, absorbed=np.ones((n, INTENTS))).probability
    np.testing.assert_allclose(same, alone, atol=1e-9)  # all end as usual


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_users_and_near_wordings_make_the_champion_righter_and_the_posterior_is_no_surer_than_it_is_right(
    seed: int,
) -> None:
    log = Log(seed)
    found, alone = log.posterior(), log.posterior(near=NOTHING)
    assert log.right(alone.probability) > log.right(log.guesses) + 0.01
    assert log.right(found.probability) > log.right(alone.probability) + 0.1
    for low, high in ((0.4, 0.6), (0.6, 0.8), (0.8, 1.01)):
        best = found.probability.max(axis=1)
        here = (best >= low) & (best < high)
        assert here.sum() > 100
        # These guesses err each on its own, so more could be made of them than of a model's.
        assert (found.probability.argmax(axis=1) == log.meant)[here].mean() > best[here].mean() - 0.05


def test_that_nearer_wordings_agree_more_is_found_without_a_label() -> None:
    told = Log(4, n=6000).posterior().agreement
    cosines = sorted(told)
    assert cosines[0] == 0.4
    assert np.corrcoef(cosines, [told[c] for c in cosines])[0, 1] > 0.8
    # What is compared are beliefs, so that it comes out lower than wordings really agree, never higher.
    assert all(told[c] < c + 0.08 for c in cosines)


def test_an_encoder_that_knows_nothing_is_not_listened_to() -> None:
    log = Log(5)
    random = np.random.default_rng(6)
    left, right, cosine = log.edges
    shuffled = random.permutation(len(log.meant))[right]
    kept = left < shuffled
    found = log.posterior(near=(left[kept], shuffled[kept], cosine[kept]))
    assert max(found.agreement.values()) < 0.45
    assert log.right(found.probability) > log.right(log.posterior(near=NOTHING).probability) - 0.03


def test_what_was_said_instead_tells_a_wording_as_far_as_the_pair_is_one() -> None:
    """Against Bayes' rule written down apart: two wordings, two intents, no guesses."""
    for weight in (0.1, 0.5, 0.97):
        links = Links(np.array([0]), np.array([1]), np.array([weight]), np.array([0.0]))
        found = intent_posterior(np.zeros((2, 2)), ([1], [1], [9.0]), links, NOTHING).probability
        said = 0.9  # 9 against 1 that the other wording means the second intent
        likelihood = np.array([weight * (1 - said) / 0.5 + 1 - weight, weight * said / 0.5 + 1 - weight])
        assert found[0] == pytest.approx(likelihood / likelihood.sum(), abs=1e-6)
        assert found[1, 1] == pytest.approx(said, abs=1e-6)


@pytest.mark.parametrize(("honest", "accounts"), [(11, 1), (11, 4), (30, 10)])
def test_accounts_that_pair_a_served_wording_with_another_do_not_change_what_it_means(
    honest: int, accounts: int
) -> None:
    share = accounts / (accounts + honest)
    links = Links(np.array([0]), np.array([1]), np.array([share]), np.array([0.97]))
    guesses = np.full((2, INTENTS), 1 / INTENTS)
    found = intent_posterior(guesses, ([0, 1], [0, 1], [30.0, 30.0]), links, NOTHING).probability
    assert found[0].argmax() == 0
    assert found[0, 0] > 0.6


@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 5), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_any_log_gives_probabilities_and_the_order_of_its_rows_does_not_matter(
    seed: int, n: int, intents: int, many: int
) -> None:
    random = np.random.default_rng(seed)
    guesses = random.dirichlet(np.ones(intents + 1), n)[:, :intents] * (random.random((n, 1)) < 0.8)
    ends = random.integers(0, n, (2, many))
    ends = np.unique(np.sort(ends[:, ends[0] != ends[1]], axis=0), axis=1)
    cosine = np.round(random.uniform(-0.2, 1, ends.shape[1]), 5)
    forth, back = random.uniform(0, 0.97, (2, ends.shape[1]))
    rows = random.integers(0, n, 80)
    intent, odds = random.integers(0, intents, 80), random.exponential(1, 80) + 1e-3
    near = ends[0], ends[1], cosine
    found = intent_posterior(guesses, (rows, intent, odds), Links(ends[0], ends[1], forth, back), near).probability
    assert found.shape == (n, intents)
    assert found.sum(axis=1) == pytest.approx(1)
    assert (found >= 0).all()
    new = random.permutation(n)  # the new place of each row
    left, right = new[ends[0]], new[ends[1]]
    moved = intent_posterior(
        guesses[np.argsort(new)], (new[rows], intent, odds), Links(left, right, forth, back), (left, right, cosine)
    ).probability
    assert moved[new] == pytest.approx(found, abs=1e-6)


@given(st.integers(0, 10**6), st.sampled_from([2.0, np.inf]))
@settings(max_examples=30, deadline=None)
def test_what_a_wording_hears_is_the_sum_over_its_links(seed: int, most: float) -> None:
    random = np.random.default_rng(seed)
    belief = random.dirichlet(np.ones(4), 12)
    ends = random.integers(0, 12, (2, 25))
    ends = np.unique(np.sort(ends[:, ends[0] != ends[1]], axis=0), axis=1)
    forth, back = random.uniform(0.05, 0.97, (2, ends.shape[1]))
    share = belief.mean(axis=0) + 1e-9
    expected, mass = np.zeros((12, 4)), np.zeros(12)
    for a, b, there, here in zip(*ends.tolist(), forth.tolist(), back.tolist(), strict=True):
        for row, other, w in ((a, b, there), (b, a, here)):
            expected[row] += np.log(w * belief[other] / share + 1 - w)
            mass[row] += w
    expected *= np.minimum(1, most / np.maximum(mass, 1e-9))[:, None]
    assert _heard(belief, share, Links(ends[0], ends[1], forth, back), most) == pytest.approx(expected, abs=1e-9)


def test_a_locale_without_wordings_or_intents() -> None:
    for shape in ((0, 4), (3, 0)):
        assert intent_posterior(np.zeros(shape), NOTHING, NO_LINKS, NOTHING).probability.shape == shape


@given(st.lists(st.integers(0, 12), min_size=1, max_size=80))
def test_no_community_is_in_two_parts_and_parts_are_about_one_size(labels: list[int]) -> None:
    label = np.unique(labels, return_inverse=True)[1]
    part = _parts(label)
    assert all(len(set(part[label == one])) == 1 for one in range(label.max() + 1))
    size, largest = np.bincount(part, minlength=_PARTS), np.bincount(label).max()
    assert len(size) == _PARTS
    assert size.max() - size.min() <= largest


@given(st.integers(0, 2**31), st.floats(0.1, 1.0))
def test_what_is_tempered_is_less_sure_of_the_same_and_rows_that_say_nothing_stay(seed: int, power: float) -> None:
    told = np.random.default_rng(seed).dirichlet(np.full(5, 0.2), 20)
    told[3] = 0
    found, says = _tempered(told, power), told.sum(axis=1) > 0
    assert (found[~says] == 0).all()
    assert found[says].sum(axis=1) == pytest.approx(1)
    assert (found[says].max(axis=1) <= told[says].max(axis=1) + 1e-12).all()
    assert (found[says].argmax(axis=1) == told[says].argmax(axis=1)).all()
