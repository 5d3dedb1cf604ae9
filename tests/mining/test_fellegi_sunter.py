"""The linkage model against planted mixtures and a naive Bayes written down independently."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.comparisons import COMPARISONS, fit_linkage
from mining.fellegi_sunter import (
    Comparison,
    Linkage,
    fit,
    from_pattern_key,
    pattern_key,
    to_probability,
)

TRUE_M = ((0.7, 0.2, 0.1), (0.8, 0.2), (0.5, 0.3, 0.15, 0.05))
TRUE_U = ((0.1, 0.2, 0.7), (0.25, 0.75), (0.05, 0.15, 0.3, 0.5))
SIZES = (3, 2, 4)
EVERY = np.array(list(product(*map(range, SIZES))), dtype=np.int64)


def beliefs(blur: float = 0.5) -> list[Comparison]:
    """Prior beliefs on the right side of the truth, but far from it."""
    made = []
    for c, (m, u) in enumerate(zip(TRUE_M, TRUE_U, strict=True)):
        flat = 1 / len(m)
        made.append(
            Comparison(
                f"c{c}",
                tuple(f"l{i}" for i in range(len(m))),
                tuple(blur * x + (1 - blur) * flat for x in m),
                tuple(blur * x + (1 - blur) * flat for x in u),
            )
        )
    return made


def chance(pattern: np.ndarray, levels: tuple[tuple[float, ...], ...]) -> float:
    return math.prod(levels[c][level] for c, level in enumerate(pattern.tolist()))


def planted_counts(prior: float, n: int, seed: int) -> np.ndarray:
    """Counts of every pattern among n draws from the planted mixture."""
    p = np.array([prior * chance(x, TRUE_M) + (1 - prior) * chance(x, TRUE_U) for x in EVERY])
    return np.random.default_rng(seed).multinomial(n, p / p.sum()).astype(float)


@pytest.mark.parametrize("prior", [0.15, 0.5])
def test_parameters_of_a_planted_mixture_are_found_again(prior: float) -> None:
    counts = planted_counts(prior, 200_000, seed=1)
    model = fit(beliefs(), EVERY, counts, prior=0.3, iterations=2_000, strength=1e-6)
    assert model.prior == pytest.approx(prior, abs=0.02)
    for c, (m, u) in enumerate(zip(TRUE_M, TRUE_U, strict=True)):
        assert model.comparisons[c].m == pytest.approx(m, abs=0.04)
        assert model.comparisons[c].u == pytest.approx(u, abs=0.04)


def test_posterior_is_that_of_naive_bayes() -> None:
    model = fit(beliefs(), EVERY, planted_counts(0.3, 5_000, seed=2), prior=0.3, iterations=30)
    for pattern, found in zip(EVERY, model.posterior(EVERY), strict=True):
        match, rest = model.prior, 1 - model.prior
        for c, level in enumerate(pattern.tolist()):
            match *= model.comparisons[c].m[level]
            rest *= model.comparisons[c].u[level]
        assert found == pytest.approx(match / (match + rest), abs=1e-9)


def test_match_weight_is_the_prior_and_the_levels_in_bits() -> None:
    model = Linkage(tuple(beliefs(1.0)), 0.2, 0)
    bits = model.match_weight(np.array([[0, 1, 3]]))[0]
    by_hand = math.log2(0.2 / 0.8) + math.log2(0.7 / 0.1) + math.log2(0.2 / 0.75) + math.log2(0.05 / 0.5)
    assert bits == pytest.approx(by_hand)


def test_a_missing_value_says_nothing_and_hides_nothing() -> None:
    """The first comparison could not be made in half of all cases."""
    missing = Comparison("c0", ("none", "l0", "l1", "l2"), *((0, *side) for side in ((0.5, 0.3, 0.2), (0.2, 0.3, 0.5))))
    every = np.concatenate([EVERY + np.array([1, 0, 0]), np.unique(EVERY * [0, 1, 1], axis=0)])
    whole = planted_counts(0.3, 200_000, seed=3)
    made = np.random.default_rng(3).binomial(whole.astype(int), 0.5).astype(float)
    left = [(whole - made)[(EVERY[:, 1:] == pattern[1:]).all(1)].sum() for pattern in every[len(EVERY) :]]
    model = fit([missing, *beliefs()[1:]], every, np.append(made, left), prior=0.3, iterations=2_000, strength=1e-6)
    assert model.prior == pytest.approx(0.3, abs=0.02)
    assert model.comparisons[0].m == pytest.approx((0, *TRUE_M[0]), abs=0.04)
    assert model.comparisons[0].u == pytest.approx((0, *TRUE_U[0]), abs=0.04)
    assert model.weights()[0][0] == 0
    rest = Linkage(model.comparisons[1:], model.prior, 0)
    without = every[len(EVERY) :]
    assert model.posterior(without) == pytest.approx(rest.posterior(without[:, 1:]))


def test_without_observations_the_prior_beliefs_stand() -> None:
    model = fit(beliefs(), np.zeros((0, 3), dtype=np.int64), np.zeros(0), prior=0.2, iterations=50)
    assert model.prior == pytest.approx(0.2)
    for fitted, believed in zip(model.comparisons, beliefs(), strict=True):
        assert fitted.m == pytest.approx(believed.m)
        assert fitted.u == pytest.approx(believed.u)


def log_likelihood(model: Linkage, counts: np.ndarray) -> float:
    """Of the counts, and of the prior beliefs that `fit` holds with a weight of one observation."""
    levels_m, levels_u = (tuple(getattr(c, side) for c in model.comparisons) for side in "mu")
    found = sum(
        n * math.log(model.prior * chance(x, levels_m) + (1 - model.prior) * chance(x, levels_u))
        for x, n in zip(EVERY, counts, strict=True)
        if n
    )
    for fitted, believed in zip(model.comparisons, beliefs(0.2), strict=True):
        found += sum(b * math.log(f) for b, f in zip(believed.m + believed.u, fitted.m + fitted.u, strict=True))
    return found + 0.2 * math.log(model.prior) + 0.8 * math.log(1 - model.prior)


@pytest.mark.parametrize("total", [100, 100_000])
def test_the_likelihood_never_falls_from_one_iteration_to_the_next(total: int) -> None:
    counts = planted_counts(0.4, total, seed=4)
    found = [
        log_likelihood(fit(beliefs(0.2), EVERY, counts, prior=0.2, iterations=i, strength=0.0), counts)
        for i in range(1, 40)
    ]
    assert (np.diff(found) >= -1e-7 * total).all()
    assert found[-1] - found[0] > total / 1_000  # and it does climb


def test_only_the_patterns_matter_not_their_order_or_division() -> None:
    counts = planted_counts(0.3, 20_000, seed=5)
    order = np.random.default_rng(0).permutation(len(EVERY))
    whole = fit(beliefs(), EVERY, counts, prior=0.3, iterations=60)
    twice, half = np.concatenate([EVERY[order]] * 2), np.concatenate([counts[order] / 2] * 2)
    halves = fit(beliefs(), twice, half, prior=0.3, iterations=60)
    assert halves.prior == pytest.approx(whole.prior, abs=1e-9)
    np.testing.assert_allclose(halves.posterior(EVERY), whole.posterior(EVERY), atol=1e-8)


def test_a_model_survives_json() -> None:
    model = fit(beliefs(), EVERY, planted_counts(0.3, 1_000, seed=7), prior=0.3, iterations=5)
    assert Linkage.from_json(model.to_json()) == model


def test_a_comparison_needs_as_many_m_and_u_as_levels() -> None:
    with pytest.raises(ValueError, match="wording"):
        Comparison("wording", ("a", "b"), (0.5, 0.5), (1.0,))
    with pytest.raises(ValueError, match="give b to every class"):
        Comparison("wording", ("a", "b"), (0.5, 0.5), (1.0, 0.0))


def test_extreme_odds_stay_probabilities() -> None:
    found = to_probability(np.array([-1e9, -50.0, 0.0, 50.0, 1e9]))
    assert np.isfinite(found).all()
    assert (np.diff(found) >= 0).all()
    assert found[2] == 0.5
    assert 0 <= found[0] < 1e-15
    assert found[4] <= 1


@st.composite
def sized_patterns(draw: st.DrawFn) -> tuple[tuple[int, ...], np.ndarray]:
    sizes = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=6)))
    rows = draw(st.lists(st.tuples(*(st.integers(0, s - 1) for s in sizes)), max_size=20))
    return sizes, np.array(rows, dtype=np.int64).reshape(len(rows), len(sizes))


@given(sized_patterns())
def test_pattern_keys_are_one_to_one(drawn: tuple[tuple[int, ...], np.ndarray]) -> None:
    sizes, patterns = drawn
    keys = pattern_key(patterns, sizes)
    np.testing.assert_array_equal(from_pattern_key(keys, sizes), patterns)
    assert len(set(keys.tolist())) == len({tuple(row) for row in patterns.tolist()})
    assert ((keys >= 0) & (keys < math.prod(sizes))).all()


def test_non_matches_that_look_like_matches_are_found_as_a_class_of_their_own() -> None:
    rng, size = np.random.default_rng(8), 60_000
    # Alike in the first two comparisons as matches are; the third tells them apart.
    laws = {"m": TRUE_M, "u": TRUE_U, "alike": (TRUE_M[0], TRUE_M[1], TRUE_U[2])}
    kind = rng.choice(3, size, p=(0.3, 0.5, 0.2))
    drawn = np.stack(
        [
            np.choose(kind, [rng.choice(len(law[c]), size, p=law[c]) for law in laws.values()])
            for c in range(len(TRUE_M))
        ],
        axis=1,
    )
    patterns, counts = np.unique(drawn, axis=0, return_counts=True)
    told = tuple(
        Comparison(c.name, c.levels, c.m, c.u, alike=tuple(map(float, laws["alike"][i])))
        for i, c in enumerate(beliefs())
    )
    model = fit(told, patterns, counts.astype(float), prior=0.3, iterations=200, alike_prior=0.2)
    joint = [
        share * np.prod([np.array(law[c])[patterns[:, c]] for c in range(len(TRUE_M))], axis=0)
        for share, law in zip((0.3, 0.5, 0.2), laws.values(), strict=True)
    ]
    wanted = joint[0] / np.sum(joint, axis=0)
    assert model.alike_prior == pytest.approx(0.2, abs=0.08)
    assert np.average(np.abs(model.posterior(patterns) - wanted), weights=counts) < 0.1
    plain = fit(beliefs(), patterns, counts.astype(float), prior=0.3, iterations=200)
    assert np.average((model.posterior(patterns) - wanted) ** 2, weights=counts) < np.average(
        (plain.posterior(patterns) - wanted) ** 2, weights=counts
    )
    # The waterfall: prior, levels, and what the third class takes away.
    bits = model.prior_weight + sum(w[patterns[:, c]] for c, w in enumerate(model.weights()))
    assert (model.alike_weight(patterns) <= 0).all()
    np.testing.assert_allclose(model.match_weight(patterns), bits + model.alike_weight(patterns))
    assert Linkage.from_json(model.to_json()) == model


def test_changed_requests_do_not_take_the_place_of_rephrases() -> None:
    """Rephrases that look much like what is believed of changed requests: without a bound 5% of them were found."""
    random = np.random.default_rng(1)
    match = random.random(40_000) < 0.3
    columns = []
    for c in COMPARISONS:
        m, u, alike = (np.array(x) / sum(x) for x in (c.m, c.u, c.alike))
        found = random.choice(len(m), len(match), p=0.2 * m + 0.8 * alike)
        columns.append(np.where(match, found, random.choice(len(u), len(match), p=u)))
    patterns, row, counts = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True, return_counts=True)
    model = fit_linkage(patterns, counts.astype(float), 100)
    posterior = model.posterior(patterns)[row.ravel()]
    assert model.alike_prior <= 0.4 * model.prior + 1e-9
    assert (posterior[match] >= 0.7).mean() > 0.15
    assert match[posterior >= 0.7].mean() > 0.9


def test_a_log_in_which_little_is_understood_is_not_taken_for_rephrases() -> None:
    """Seven sources in ten are unanswered: nothing to compare in interpretations, and no known values."""
    random = np.random.default_rng(3)
    match, dark = random.random(40_000) < 0.35, random.random(40_000) < 0.7
    said = {"interpretation": "unanswered", "values": "none", "source": "unanswered"}
    columns = []
    for c in COMPARISONS:
        m, u = (np.array(x) / sum(x) for x in (c.m, c.u))
        drawn = np.where(match, random.choice(len(m), len(match), p=m), random.choice(len(u), len(match), p=u))
        columns.append(np.where(dark, c.levels.index(said[c.name]), drawn) if c.name in said else drawn)
    patterns, row, counts = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True, return_counts=True)

    def believed(comparisons: Sequence[Comparison]) -> np.ndarray:
        model = fit_linkage(patterns, counts.astype(float), 100, comparisons)
        return model.posterior(patterns)[row.ravel()] >= 0.7

    found = believed(COMPARISONS)
    assert match[found].mean() > 0.85
    assert (match & found).sum() / match.sum() > 0.8
    as_a_level = list(COMPARISONS)
    place = [c.name for c in COMPARISONS].index("interpretation")
    one = COMPARISONS[place]
    as_a_level[place] = replace(one, m=(0.5, *one.m[1:]), u=(0.35, *one.u[1:]), alike=(0.4, *one.alike[1:]))
    assert match[believed(as_a_level)].mean() < 0.5, "said three times it divides the log"
