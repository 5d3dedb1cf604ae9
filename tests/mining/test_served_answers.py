"""Against brute force over all sequences, and on planted reactions."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.hidden_markov import backward, forward, path_score
from mining.served_answers import TRUST, Answer, Trust, fit_trust, hear, heard, of_answers, unheard

L, K = 4, 3
AS_IS = Trust(1.0, 0.0)


def chain(seed: int) -> tuple[np.ndarray, np.ndarray, float, dict[tuple[int, ...], float]]:
    rng = np.random.default_rng(seed)
    emitted, moves = rng.normal(0, 1.5, (L, K)), rng.dirichlet(np.ones(K), (L, K))
    total = float(forward(emitted[None], moves[None], np.ones((1, L), bool))[1][0])
    share = {
        path: float(np.exp(path_score(np.array(path), emitted, moves) - total)) for path in product(range(K), repeat=L)
    }
    return emitted, moves, total, share


@pytest.mark.parametrize("trust", [AS_IS, Trust(0.4, -0.7)])
@pytest.mark.parametrize("seed", range(4))
def test_expectations_are_those_of_all_sequences_once_users_are_heard(seed: int, trust: Trust) -> None:
    emitted, moves, total, share = chain(seed)
    ranked = sorted(share, key=lambda path: -share[path])
    told = {ranked[0]: -3.0, ranked[4]: 2.0}
    answers = of_answers([(np.array(p), bits) for p, bits in told.items()], emitted, moves, total, trust)
    before = {p: float(trust(np.array(share[p]))) for p in told}
    rest = (1 - sum(before.values())) / (1 - sum(share[p] for p in told))
    after = {p: before[p] * 2.0 ** told[p] if p in told else share[p] * rest for p in share}
    mass = sum(after.values())

    one = np.ones((1, L), bool)
    gamma = (forward(emitted[None], moves[None], one)[0] * backward(emitted[None], moves[None], one)[0])[0]
    gamma /= gamma.sum(-1, keepdims=True)
    hear(answers, gamma, lambda path: (np.arange(len(path)), path))
    truth = np.zeros((L, K))
    for path, p in after.items():
        truth[np.arange(L), path] += p / mass
    assert gamma == pytest.approx(truth, abs=1e-6)

    found = heard({ranked[1]: share[ranked[1]]}, answers, AS_IS)
    assert found[ranked[0]] == pytest.approx(after[ranked[0]] / mass)
    if trust == AS_IS:
        assert found[ranked[1]] == pytest.approx(after[ranked[1]] / mass)


def test_a_refused_answer_gives_way_to_the_next_best() -> None:
    emitted, moves, total, share = chain(1)
    first, second = sorted(share, key=lambda path: -share[path])[:2]
    shares = {first: share[first], second: share[second]}
    for bits, wins in ((-6.0, second), (6.0, first)):
        answers = of_answers([(np.array(first), bits)], emitted, moves, total, TRUST)
        posterior = heard(shares, answers, TRUST)
        assert max(posterior, key=lambda path: posterior[path]) == wins


def test_nobody_answered_and_nothing_changes_but_how_sure_it_is() -> None:
    expected = np.full((2, 2), 0.5)
    hear([], expected, lambda path: (np.arange(2), path))
    assert (expected == 0.5).all()
    assert heard({(0, 0): 0.999}, [], TRUST)[0, 0] < 0.95
    assert heard({(0, 0): 0.001}, [], TRUST)[0, 0] == 0.001


def reactions(n: int, slope: float, offset: float, seed: int, *, intents_known: bool = True) -> list[Answer]:
    """Answers whose slots are right as often as the trust says, and users who complain of answers with something wrong
    in three of four cases and of right ones in one of ten."""
    rng = np.random.default_rng(seed)
    share, intent = rng.beta(3, 0.6, n), np.ones(n) if intents_known else rng.beta(2, 1, n)
    right = (rng.random(n) < Trust(slope, offset)(share)) & (rng.random(n) < intent)
    complained = rng.random(n) < np.where(right, 0.1, 0.75)
    odds = np.where(complained, 0.1 / 0.75, 0.9 / 0.25)
    path = np.zeros(1, np.int64)
    return [Answer(path, s, 0.5, o, q) for s, o, q in zip(*(x.tolist() for x in (share, odds, intent)), strict=True)]


@pytest.mark.parametrize("intents_known", [True, False])
def test_trust_is_found_from_what_users_did_alone(intents_known: bool) -> None:
    found = fit_trust(reactions(20_000, 0.4, -0.8, 3, intents_known=intents_known))
    assert found.slope == pytest.approx(0.4, abs=0.08)
    assert found.offset == pytest.approx(-0.8, abs=0.2)


def test_users_who_refuse_a_wrong_intent_say_nothing_of_the_slots() -> None:
    answers = reactions(20_000, 0.4, 1.0, 3, intents_known=False)
    sure = fit_trust([replace(a, intent=1.0) for a in answers])
    assert sure.offset < fit_trust(answers).offset - 0.5


@given(st.floats(0.001, 0.999), st.floats(0.02, 50))
def test_a_posterior_without_its_users_is_what_they_were_told_with(before: float, odds: float) -> None:
    after = before * odds / (before * odds + 1 - before)
    assert unheard(after, odds) == pytest.approx(before)


def test_few_answers_fit_nothing() -> None:
    assert fit_trust(reactions(20, 1.0, 0.0, 3)) == TRUST
