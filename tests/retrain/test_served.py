"""How many turns two models served, on planted turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from planted_turns import CHALLENGER, CHAMPION, LOCALE, NEW, OLD, START, Says, crowd, publish, said
from scipy.optimize import minimize_scalar

from retrain.served import _BITS, compare, share_of, share_served
from schemas.lake import Lake
from schemas.predictor import Prediction


def test_the_share_is_the_likeliest() -> None:
    random = np.random.default_rng(3)
    completed = random.poisson(40 * np.exp(-(_BITS**2) / 8), (5, len(_BITS))).astype(float)
    turns = completed.sum(axis=1) * 1.25
    odds = 2.0**-_BITS
    for counts, found in zip(completed, share_served(completed, turns), strict=True):
        best = minimize_scalar(lambda s, n=counts: -n @ np.log(s * odds + 1 - s), bounds=(0, 1), method="bounded").x
        assert found == pytest.approx(0.8 * best, abs=1e-3)


def test_what_users_do_tells_how_many_turns_served(lake: Lake) -> None:
    publish(lake, crowd(0.3, 0.6, users=800, share=0.5))
    found = compare(lake, LOCALE, CHAMPION, CHALLENGER, seed=1)
    assert found is not None
    assert (found.champion.users, found.challenger.users, found.users_of_both) == (400, 400, 0)
    assert (found.champion.turns, found.challenger.turns) == (8000, 8000)
    assert found.champion.share == pytest.approx(0.9 * 0.3, abs=0.03)
    assert found.challenger.share == pytest.approx(0.9 * 0.6, abs=0.03)
    assert share_of(lake, LOCALE, NEW) == pytest.approx(found.challenger.share, abs=1e-3)
    spread = float(np.std(found.challenger.resampled))
    assert 0.005 < spread < 0.03  # 400 users of 18 completed turns each that tell little


def test_only_users_of_one_model_and_of_the_same_time_are_compared(lake: Lake) -> None:
    random = np.random.default_rng(1)
    before = said("early", OLD, 1.0, 500, random, occurred_at=START - timedelta(days=1))
    unheard = said("robot", NEW, 0.0, 500, random, heard=False)
    abroad = said("abroad", NEW, 0.0, 500, random, locale="yy-YY")
    of_both = said("both", OLD, 1.0, 20, random) + said("both", NEW, 1.0, 20, random)
    publish(lake, crowd(0.5, 0.5))
    alone = compare(lake, LOCALE, CHAMPION, CHALLENGER, seed=1)
    publish(lake, before + unheard + abroad + of_both)
    found = compare(lake, LOCALE, CHAMPION, CHALLENGER, seed=1)
    assert alone is not None
    assert found is not None
    assert found.users_of_both == 1
    assert (found.champion.turns, found.challenger.turns) == (alone.champion.turns, alone.challenger.turns)
    assert (found.champion.share, found.challenger.share) == (alone.champion.share, alone.challenger.share)


def test_days_between_two_trials_of_one_challenger_are_not_compared(lake: Lake) -> None:
    random = np.random.default_rng(4)
    publish(lake, crowd(0.5, 0.5))
    one = compare(lake, LOCALE, CHAMPION, CHALLENGER, seed=1)
    publish(lake, said("between", OLD, 1.0, 2000, random, occurred_at=START + timedelta(days=3)))
    again = START + timedelta(days=6)
    publish(lake, said("later", NEW, 0.5, 20, random, occurred_at=again + timedelta(hours=1)))
    publish(lake, said("same day", OLD, 0.5, 20, random, occurred_at=again))
    two = compare(lake, LOCALE, CHAMPION, CHALLENGER, seed=1)
    assert one is not None
    assert two is not None
    assert two.champion.turns == one.champion.turns + 20
    assert two.challenger.turns == one.challenger.turns + 20


def test_nobody_weighs_more_than_a_hundred_turns(lake: Lake) -> None:
    publish(lake, crowd(0.5, 0.5))
    honest = compare(lake, LOCALE, CHAMPION, CHALLENGER, seed=1)
    publish(lake, said("fan", NEW, 1.0, 20_000, np.random.default_rng(2), occurred_at=START))
    found = compare(lake, LOCALE, CHAMPION, CHALLENGER, seed=1)
    assert honest is not None
    assert found is not None
    assert found.challenger.share - honest.challenger.share < 0.04  # 100 of 2,100 turns, not 20,000 of 22,000


def test_turns_that_both_answer_alike_make_no_noise(lake: Lake) -> None:
    """Two thirds of the turns are answered alike, and served by chance oftener where the champion gave the answer."""
    random = np.random.default_rng(7)
    alike = [
        row
        for number in range(400)
        for row in said(f"user{number}", NEW if number < 100 else OLD, 0.4 if number < 100 else 0.5, 40, random)
    ]
    for number, row in enumerate(alike):
        row |= {"utterance": f"alike {number % 7}", "interaction_id": f"alike{number}"}
    publish(lake, crowd(0.3, 0.5))
    alone = compare(lake, LOCALE, CHAMPION, CHALLENGER, seed=1)
    publish(lake, alike)
    found = compare(lake, LOCALE, CHAMPION, CHALLENGER, seed=1)
    assert alone is not None
    assert found is not None
    assert (alone.apart, found.apart) == (1.0, pytest.approx(1 / 3, abs=0.01))
    gains = [c.challenger.share - c.champion.share for c in (alone, found)]
    assert gains[1] == pytest.approx(gains[0] / 3, rel=0.05)
    spread = [float(np.std(c.challenger.resampled - c.champion.resampled)) for c in (alone, found)]
    assert spread[1] < 0.5 * spread[0]
    every = 0.9 * (0.35 + 2 * 0.475) / 3  # of both models' users, as they are mixed
    assert found.champion.share == pytest.approx(every, abs=0.06)


def test_what_a_model_is_unsure_of_is_told_apart(lake: Lake) -> None:
    """Both have the intent, but an assistant may not have said what the one was unsure of."""
    publish(lake, crowd(0.5, 0.5))

    class Unsure(Says):
        def predict(self, utterances: Sequence[str], locale: str) -> list[Prediction]:
            return [replace(p, confidence=0.2) for p in super().predict(utterances, locale)]

    sure = compare(lake, LOCALE, CHAMPION, Says(NEW, "a"), seed=1)
    unsure = compare(lake, LOCALE, CHAMPION, Unsure(NEW, "a"), seed=1)
    assert sure is not None
    assert unsure is not None
    assert (sure.apart, unsure.apart) == (0.0, 1.0)
    assert sure.champion.share == sure.challenger.share
    assert np.all(sure.champion.resampled == sure.challenger.resampled)


def test_without_turns_of_both_there_is_nothing_to_compare(lake: Lake) -> None:
    publish(lake, crowd(0.5, 0.5, share=0.0))
    assert compare(lake, LOCALE, CHAMPION, CHALLENGER, seed=1) is None
    assert share_of(lake, LOCALE, NEW) == 0
