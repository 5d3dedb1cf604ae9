"""What near annotated utterances say, against scikit-learn and planted groups."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from mining.gold_neighbours import told_by_gold


def unit(vectors: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def test_it_is_the_weighted_vote_of_scikit_learn() -> None:
    rng = np.random.default_rng(4)
    gold, intents = unit(rng.standard_normal((400, 24))), rng.integers(0, 6, 400)
    vectors = unit(rng.standard_normal((90, 24)))
    oracle = KNeighborsClassifier(30, metric="cosine", weights=lambda distance: np.exp(-20 * distance))
    np.testing.assert_allclose(
        told_by_gold(vectors, gold, intents, 6), oracle.fit(gold, intents).predict_proba(vectors), atol=0.01
    )


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 5), st.integers(0, 3), st.integers(1, 4), st.integers(0, 3))
def test_rows_are_distributions_or_nothing(wordings: int, gold: int, many: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    told = told_by_gold(
        unit(rng.standard_normal((wordings, 8))),
        unit(rng.standard_normal((gold, 8))),
        rng.integers(0, many, gold),
        many,
    )
    assert told.shape == (wordings, many)
    np.testing.assert_allclose(told.sum(axis=1), 1.0 if gold else 0.0)


def test_planted_groups_are_told() -> None:
    rng = np.random.default_rng(1)
    centres = unit(rng.standard_normal((5, 32)))
    of = rng.integers(0, 5, 200)
    gold = unit(centres[of] + 0.1 * rng.standard_normal((200, 32)))
    asked = rng.integers(0, 5, 50)
    told = told_by_gold(unit(centres[asked] + 0.1 * rng.standard_normal((50, 32))), gold, of, 5)
    assert (told.argmax(axis=1) == asked).all()
    assert told.max(axis=1).min() > 0.9
