"""Friction on planted logs whose users do not behave as believed."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from mining.friction import CONFIDENCE, CONTINUED, FEEDBACK
from mining.friction_model import OTHERWISE, FrictionModel, beliefs, fit_friction, friction
from mining.meetings import SEEN, counts_of

# What these users do, far from what is believed: half of the failed ones go away in silence.
FAILED = np.array([0.85, 0.01, 0.14, 0.30, 0.20, 0.10, 0.15, 0.18, 0.05, 0.02, 0.0])
SERVED = np.array([0.90, 0.08, 0.02, 0.55, 0.25, 0.12, 0.06, 0.01, 0.005, 0.005, 0.0])
SURE = np.array([0.9, 0.6, 0.4])  # share of failures by confidence low, middle, high
INTENTS = {"a": 0.0, "b": 1.5, "c": -1.5}  # nats


def planted(wordings: int, seed: int, *, users: float = 1.0) -> tuple[pa.Table, np.ndarray]:
    """Completed answers with `1 + Poisson(users)` users each, and which of them fail."""
    rng = np.random.default_rng(seed)
    confidence, intent = rng.integers(0, 3, wordings), rng.choice(list(INTENTS), wordings)
    odds = np.log(SURE / (1 - SURE))[confidence] + np.array([INTENTS[i] for i in intent])
    fails = rng.random(wordings) < 1 / (1 + np.exp(-odds))
    n = 1 + rng.poisson(users, wordings)
    seen = []
    for bad, many in zip(fails, n, strict=True):
        does = FAILED if bad else SERVED
        feedback, went_on = does[: len(FEEDBACK)], does[len(FEEDBACK) :]
        drawn = [*rng.multinomial(many, feedback / feedback.sum()), *rng.multinomial(many, went_on / went_on.sum())]
        seen.append(drawn)
    columns = [
        ["xx-XX"] * wordings,
        np.arange(wordings),
        (1 + confidence).astype(np.int64),
        intent.tolist(),
        [True] * wordings,
        pa.array(np.array(seen).tolist(), SEEN.field("seen").type),
    ]
    return pa.table(columns, schema=SEEN), fails


def fitted(rows: pa.Table, **changed: float) -> FrictionModel:
    told = {"prior": 0.5, "silent_failure": 0.3} | changed
    return fit_friction(rows, np.ones(len(rows)), iterations=200, **told)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_users_do_is_found_though_believed_otherwise(seed: int) -> None:
    rows, fails = planted(20_000, seed)
    model = fitted(rows)
    for told, true in ((model.failed, FAILED), (model.served, SERVED)):
        feedback, going_on = told[: len(FEEDBACK)], told[len(FEEDBACK) :]
        np.testing.assert_allclose(feedback, true[: len(FEEDBACK)], atol=0.03)
        np.testing.assert_allclose(going_on, true[len(FEEDBACK) :] / true[len(FEEDBACK) :].sum(), atol=0.05)
    said = friction(model.bits(rows))
    assert abs(said.mean() - fails.mean()) < 0.04
    for low in np.arange(0, 1, 0.2):
        inside = (said >= low) & (said < low + 0.2)
        if inside.sum() > 300:
            assert abs(said[inside].mean() - fails[inside].mean()) < 0.1, low


def test_refusals_do_not_teach_what_users_do_after_a_wrong_answer() -> None:
    """Nobody interrupts an assistant that does nothing: with one behaviour for all failures, interrupting would be a
    sign of completed answers, and so of success."""
    rows, fails = planted(4_000, 9)
    refused = np.zeros((12_000, counts_of(rows).shape[1]), dtype=np.int64)
    refused[:, 0] = 1
    ways = len(FEEDBACK) + np.random.default_rng(1).choice(len(CONTINUED), 12_000, p=FAILED[len(FEEDBACK) :])
    refused[np.arange(12_000), ways] = 1
    no_match = pa.table(
        [["xx-XX"] * 12_000, np.arange(12_000), np.full(12_000, 3 * len(CONFIDENCE)), [""] * 12_000,
         [True] * 12_000, pa.array(refused.tolist(), SEEN.field("seen").type)], schema=SEEN,
    )  # fmt: skip
    model = fitted(pa.concat_tables([rows, no_match]))
    assert model.failed[2] > 3 * model.served[2]
    assert brier_score_loss(fails, friction(model.bits(rows))) < 0.12
    assert friction(model.bits(no_match)).mean() > 0.85


def test_many_users_tell_more_than_one() -> None:
    scores = []
    for users in (0.0, 1.0, 4.0):
        rows, fails = planted(5_000, 4, users=users)
        said = friction(fitted(rows).bits(rows))
        scores.append((brier_score_loss(fails, said), -roc_auc_score(fails, said)))
    assert scores == sorted(scores, reverse=True)
    assert scores[-1][0] < 0.07


def test_it_hardly_matters_what_is_believed() -> None:
    rows, fails = planted(20_000, 5)
    briers = [
        brier_score_loss(fails, friction(fitted(rows, prior=prior, silent_failure=silent).bits(rows)))
        for prior in (0.2, 0.5, 0.8)
        for silent in (0.05, 0.3, 0.6)
    ]
    assert max(briers) - min(briers) < 0.01


def test_without_turns_the_beliefs_stand() -> None:
    model = fit_friction(SEEN.empty_table(), np.zeros(0), prior=0.5, silent_failure=0.3, iterations=10)
    failed, served = beliefs(0.3)
    np.testing.assert_allclose([model.failed, model.refused], [failed, failed])
    np.testing.assert_allclose(model.served, served)
    assert model.intents == {}


def test_rows_that_stand_for_many_count_as_many() -> None:
    rows, _ = planted(400, 6)
    twice = pa.concat_tables([rows, rows])
    one = fit_friction(rows, np.full(400, 2.0), prior=0.5, silent_failure=0.3, iterations=30)
    other = fit_friction(twice, np.ones(800), prior=0.5, silent_failure=0.3, iterations=30)
    np.testing.assert_allclose(one.bits(rows), other.bits(rows), atol=1e-4)


def test_the_odds_are_those_of_naive_bayes_written_down_apart() -> None:
    rows, _ = planted(50, 7)
    model = fitted(rows)
    counts, bits = counts_of(rows), model.bits(rows)
    for i in range(50):
        told = model.failed if rows.column("answer")[i].as_py() < len(CONFIDENCE) else model.refused
        odds = 2 ** (model.answer[rows.column("answer")[i].as_py()] + model.intents[rows.column("intent")[i].as_py()])
        for level, n in enumerate(counts[i]):
            odds *= (told[level] / model.served[level]) ** int(n)
        assert math.isclose(bits[i], math.log2(odds), abs_tol=1e-6)
        assert math.isclose(friction(bits)[i], min(max(odds / (1 + odds), OTHERWISE), 1 - OTHERWISE), abs_tol=1e-6)


def test_evidence_of_a_turn_adds_up_to_the_odds_of_its_only_user() -> None:
    rows, _ = planted(300, 8, users=0.0)
    model = fitted(rows)
    counts = counts_of(rows)
    levels = np.stack(
        [
            rows.column("answer").to_numpy() // len(CONFIDENCE),
            rows.column("answer").to_numpy() % len(CONFIDENCE),
            counts[:, : len(FEEDBACK)].argmax(axis=1),
            counts[:, len(FEEDBACK) :].argmax(axis=1),
        ],
        axis=1,
    )
    shown = sum(model.own(levels).values()) + model.of_intents(rows.column("intent").to_pylist())
    np.testing.assert_allclose(shown, model.bits(rows), atol=1e-9)
    assert model.of_intents(["never heard of"]).tolist() == [0.0]


@pytest.mark.parametrize("silent", [0.0, 0.8])
def test_the_ends_of_what_may_be_believed_of_silence_give_probabilities(silent: float) -> None:
    rows, fails = planted(4_000, 10)
    said = friction(fitted(rows, silent_failure=silent).bits(rows))
    assert np.isfinite(said).all()
    assert roc_auc_score(fails, said) > 0.8


@pytest.mark.parametrize("silent", [0.0, 0.1, 0.5, 1.0])
def test_beliefs_are_distributions(silent: float) -> None:
    for told in beliefs(silent):
        np.testing.assert_allclose([told[: len(FEEDBACK)].sum(), told[len(FEEDBACK) :].sum()], 1)
    ended = len(FEEDBACK) + CONTINUED.index("ended")
    assert beliefs(silent)[0][ended] >= beliefs(0.0)[0][ended]
