"""Friction: the posterior probability that a turn did not serve its user, fitted wording by wording.

A model answers every user of a wording alike, so whether that answer serves is a state of the wording and its answer,
not of a turn. All users who got it are observations of one hidden state, one observation a user: what they did next,
and their feedback. That many hands on one state identify, from the log alone, what users do after an answer that
served them and after one that did not, which a mixture fitted turn by turn cannot: it settles on another division
(answered against unanswered), and calls silence success. How often answers serve at all depends on the response, the
model's confidence and the intent, and is fitted beside.

A latent class model (Lazarsfeld and Henry 1968) with covariates on the class (Dayton and Macready 1988), fitted by EM;
observers of one state as in Dawid and Skene 1979. That a deterministic model errs alike for all users of a wording is
what Ponnusamy et al. 2020 build on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mining.friction import CONFIDENCE, FEEDBACK, RESPONSE
from mining.meetings import BEHAVIOUR, Ints, counts_of

Floats = NDArray[np.float64]

OTHERWISE = 0.01  # a wording is now and then meant otherwise than by all others: no turn is surer than that

_HELD = BEHAVIOUR - 1  # the level "answered" exists after clarifications alone, so logs cannot say what it means
_STRENGTH = 300.0  # users that the beliefs about behaviour count for
_ANSWER_RIDGE, _INTENT_RIDGE = 0.2, 1.0  # inverse variances, in nats, of what responses and intents say
_STILL = 1e-4  # nats

# Of turns that failed their user, and that served.
_RESPONSE = (0.55, 0.12, 0.10, 0.22, 0.01), (0.92, 0.05, 0.01, 0.01, 0.01)
_FEEDBACK = (0.74, 0.01, 0.25), (0.93, 0.03, 0.04)
_SERVED_GO_ON = (0.38, 0.33, 0.11, 0.09, 0.05, 0.008, 0.002, 0.03)
_FAILED_GO_ON = (0.10, 0.08, 0.14, 0.27, 0.26, 0.09, 0.05, 0.01)  # of those that are not silent


def _normal(weights: Sequence[float] | Floats) -> Floats:
    values = np.asarray(weights, dtype=np.float64)
    return np.asarray(values / values.sum(), dtype=np.float64)


def beliefs(silent_failure: float) -> tuple[Floats, Floats]:
    """What users are believed to do after a turn that failed them, and after one that served: feedback, continued."""
    loud = 1 - silent_failure
    failed = np.array(_FAILED_GO_ON) * loud + silent_failure * np.array([0.5, 0.5, 0, 0, 0, 0, 0, 0])
    return (
        np.concatenate([_normal(_FEEDBACK[0]), _normal(failed)]),
        np.concatenate([_normal(_FEEDBACK[1]), _normal(_SERVED_GO_ON)]),
    )


def _kind(answer: Ints) -> Ints:
    """0 for completed answers, 1 for others."""
    return (answer >= len(CONFIDENCE)).astype(np.int64)


def _sigmoid(nats: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(nats, -500, 500))))


@dataclass(frozen=True)
class FrictionModel:
    """What is known of one locale's turns, in bits of odds that a turn failed its user.

    Args:
        answer: by response, then confidence.
        intents: what an intent adds; unknown ones add nothing.
        failed: probability of each feedback, then of each way to go on, after a completed answer that failed.
        refused: the same after any other response (nobody interrupts what does nothing).
        served: the same after an answer that served.
        iterations: of EM.
    """

    answer: tuple[float, ...]
    intents: Mapping[str, float]
    failed: tuple[float, ...]
    refused: tuple[float, ...]
    served: tuple[float, ...]
    iterations: int

    def behaviour(self) -> Floats:
        """Bits of each feedback, then of each way to go on: after completed answers (row 0) and others (row 1)."""
        return np.asarray(np.log2([self.failed, self.refused]) - np.log2(self.served))

    def of_intents(self, names: Sequence[str]) -> Floats:
        """Bits of each intent."""
        return np.array([self.intents.get(name, 0.0) for name in names])

    def bits(self, rows: pa.Table) -> Floats:
        """Bits of the odds that each wording's answer (a row of `SEEN`) fails. O(rows)."""
        answer = rows.column("answer").to_numpy()
        told = (counts_of(rows) * self.behaviour()[_kind(answer)]).sum(axis=1) + np.asarray(self.answer)[answer]
        return np.asarray(told + self.of_intents(rows.column("intent").to_pylist()))

    def own(self, levels: Ints) -> dict[str, Floats]:
        """Bits that a turn's own evidence (`evidence_levels`) shows, by name."""
        answer = levels[:, 0] * len(CONFIDENCE) + levels[:, 1]
        behaviour, kind = self.behaviour(), _kind(answer)
        return {
            "answer": np.asarray(self.answer)[answer],
            "feedback": behaviour[kind, levels[:, 2]],
            "continued": behaviour[kind, len(FEEDBACK) + levels[:, 3]],
        }

    def to_json(self) -> dict[str, Any]:
        """Plain values for a manifest."""
        return asdict(self) | {"intents": dict(self.intents)}


def friction(bits: Floats) -> Floats:
    """Posterior of odds in bits, never surer than `OTHERWISE`; rounded, so that no sum's order shows."""
    return np.asarray(np.round(np.clip(_sigmoid(bits * np.log(2)), OTHERWISE, 1 - OTHERWISE), 9))


def fit_friction(
    rows: pa.Table, count: Floats, *, prior: float, silent_failure: float, iterations: int
) -> FrictionModel:
    """Fit one locale's model by EM.

    Args:
        rows: of `SEEN`.
        count: how many wordings each row stands for.
        prior: share of answers that fail, before any evidence.
        silent_failure: believed share of failed turns after which nobody complains.
        iterations: at most.

    Returns:
        The fitted model. With no row, the beliefs.

    Cost: O(iterations x (rows x 11 + intents^3)) time, 200 bytes a row.
    """
    believed = beliefs(silent_failure)
    failed, served = np.stack([believed[0], believed[0]]), believed[1]
    names, intent = np.unique(np.asarray(rows.column("intent").to_pylist(), dtype=str), return_inverse=True)
    seen_by, answer = counts_of(rows).astype(np.float64), rows.column("answer").to_numpy()
    kind = _kind(answer)
    base = np.log(prior / (1 - prior)) + np.repeat(np.log(_RESPONSE[0]) - np.log(_RESPONSE[1]), len(CONFIDENCE))
    cells = len(base)
    # Wordings share what their answer and intent say: Newton's steps are made over these cells alone.
    found, cell = np.unique(answer * max(len(names), 1) + intent, return_inverse=True)
    of_answer, of_intent = found // max(len(names), 1), found % max(len(names), 1)
    design = np.zeros((len(found), cells + len(names)))
    design[np.arange(len(found)), of_answer] = 1
    design[np.arange(len(found)), cells + of_intent] = 1
    ridge = np.concatenate([np.full(cells, _ANSWER_RIDGE), np.full(len(names), _INTENT_RIDGE)])
    weights, mass = np.zeros(cells + len(names)), np.bincount(cell, count, len(found))
    done = 0
    for done in range(1, iterations + 1):  # noqa: B007
        behaved = (seen_by * (np.log(failed) - np.log(served))[kind]).sum(axis=1)
        fails = _sigmoid(behaved + (base[of_answer] + design @ weights)[cell])
        failed = np.stack([_behaviour(seen_by.T @ (count * fails * (kind == k)), believed[0]) for k in (0, 1)])
        served = _behaviour(seen_by.T @ (count * (1 - fails)), believed[1])
        expected, before = np.bincount(cell, count * fails, len(found)), weights
        for _ in range(2):
            share = _sigmoid(base[of_answer] + design @ weights)
            slope = design.T @ (expected - mass * share) - ridge * weights
            curve = (design.T * (mass * share * (1 - share))) @ design + np.diag(ridge)
            weights = weights + np.linalg.solve(curve, slope)
        if np.abs(weights - before).max(initial=0.0) < _STILL:
            break
    bits = np.concatenate([base + weights[:cells], weights[cells:]]) / np.log(2)
    told = [round(float(b), 6) for b in bits]
    return FrictionModel(
        tuple(told[:cells]), dict(zip(names.tolist(), told[cells:], strict=True)),
        tuple(map(float, failed[0])), tuple(map(float, failed[1])), tuple(map(float, served)), done,
    )  # fmt: skip


def _behaviour(users: Floats, believed: Floats) -> Floats:
    """Feedback and ways to go on of so many users, beside the beliefs; the held level as believed."""
    feedback = _normal(users[: len(FEEDBACK)] + _STRENGTH * believed[: len(FEEDBACK)])
    going_on = slice(len(FEEDBACK), _HELD)
    left = 1 - believed[_HELD]
    return np.concatenate(
        [feedback, left * _normal(users[going_on] + _STRENGTH * believed[going_on]), believed[_HELD:]]
    )


def level_name(answer: int) -> str:
    """How an `answer` is shown."""
    return f"{RESPONSE[answer // len(CONFIDENCE)]}, confidence {CONFIDENCE[answer % len(CONFIDENCE)]}"
