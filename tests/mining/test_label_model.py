"""Planted witnesses of known reliability are found, and weighed by it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.label_model import LabelModel, fit_label_model

INTENTS = [f"i{k}" for k in range(8)]


def planted(reliabilities: dict[str, float], items: int = 1500, seed: int = 4) -> tuple[list, list[str]]:
    rng = np.random.default_rng(seed)
    made, gold = [], []
    for _ in range(items):
        true = int(rng.integers(len(INTENTS)))
        votes = {}
        for group, share in reliabilities.items():
            said = true if rng.random() < share else int((true + 1 + rng.integers(len(INTENTS) - 1)) % len(INTENTS))
            votes[group] = {INTENTS[said]: 1.0}
        made.append(votes)
        gold.append(INTENTS[true])
    return made, gold


def test_reliabilities_are_found() -> None:
    truth = {"behaviour": 0.85, "text": 0.6, "translation": 0.4}
    items, _ = planted(truth)
    model = fit_label_model(items)
    for group, share in truth.items():
        assert model.reliability[group] == pytest.approx(share, abs=0.06)


def test_it_beats_the_majority_where_witnesses_differ_and_no_pair_agrees_by_design() -> None:
    truth = {"behaviour": 0.85, "text": 0.35, "translation": 0.35, "n_best": 0.3}
    items, gold = planted(truth)
    model = fit_label_model(items)

    def majority(votes: dict) -> str:
        counts: dict[str, float] = {}
        for said in votes.values():
            for intent, n in said.items():
                counts[intent] = counts.get(intent, 0.0) + n
        return max(sorted(counts), key=lambda intent: counts[intent])

    ours = np.mean([model.label(v)[0][0] == g for v, g in zip(items, gold, strict=True)])
    plain = np.mean([majority(v) == g for v, g in zip(items, gold, strict=True)])
    assert ours > plain + 0.05
    assert ours > 0.84


def test_the_posterior_is_calibrated() -> None:
    items, gold = planted({"behaviour": 0.8, "text": 0.6, "translation": 0.5}, 3000)
    model = fit_label_model(items)
    best = [model.label(v)[0] for v in items]
    sure = [(p, intent == g) for (intent, p), g in zip(best, gold, strict=True)]
    assert np.mean([p for p, _ in sure]) == pytest.approx(np.mean([r for _, r in sure]), abs=0.04)


def test_a_thousand_votes_of_one_group_count_for_few() -> None:
    model = LabelModel({"behaviour": 0.7, "text": 0.7}, dict.fromkeys(INTENTS, 1 / 8))
    few = model.label({"behaviour": {"i0": 3.0}, "text": {"i1": 2.0}})
    many = model.label({"behaviour": {"i0": 1000.0}, "text": {"i1": 2.0}})
    assert many[0][1] == pytest.approx(few[0][1])
    assert model.label({}) == []


@given(
    st.dictionaries(
        st.sampled_from(["behaviour", "text"]),
        st.dictionaries(st.sampled_from(INTENTS), st.floats(0, 50), max_size=4),
        max_size=2,
    )
)
def test_probabilities(votes: dict) -> None:
    model = LabelModel({"behaviour": 0.9, "text": 0.2}, dict.fromkeys(INTENTS, 1 / 8))
    found = model.label(votes)
    assert all(0 <= p <= 1 for _, p in found)
    assert sum(p for _, p in found) <= 1 + 1e-6
