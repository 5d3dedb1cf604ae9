"""What users did with a whole answer, as evidence on whether all of its slots are right.

A hidden Markov model takes what its sources say of each token for independent, and so holds the sequence that the
deployed model tagged for far surer than it is. Users see the answer as a whole, and their reaction is independent of
the sources: it says how sure the sequence may be. The share of the model's probability that an answer has is therefore
scaled by two numbers that are fitted to what users did with all the answers, and then each answer's own users are
heard by Bayes' rule. What an answer loses, the other sequences share.

An answer serves where its intent and its sequence are right. In fitting, users who refused an answer may have refused
its intent, so each answer counts for as much as its intent is believed; a label's sequence is asked for under the
label's intent, so there its users speak of the sequence alone.

Source: Platt 1999, "Probabilistic Outputs for Support Vector Machines", with what users did in place of labels: each
answer contributes log(q p x odds + 1 - q p), the likelihood of its users' reaction, of an intent that is right with
probability q.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from mining.hidden_markov import path_score

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Path = tuple[int, ...]

_FEW = 50  # answers below which nothing is fitted
_MOST_BITS = 6.0  # that what users did with an answer counts for
_LEAST = 1e-6  # share of the probability
_SLOPES, _OFFSETS = (0.02, 2.0), (-4.0, 4.0)


@dataclass(frozen=True)
class Trust:
    """Slope and offset of the log-odds of an answer."""

    slope: float
    offset: float

    def __call__(self, share: Floats) -> Floats:
        """The probability that sequences with these shares are right, before their users are heard."""
        share = np.clip(share, _LEAST, 1 - _LEAST)
        return np.asarray(1 / (1 + np.exp(-(self.slope * np.log(share / (1 - share)) + self.offset))))


TRUST = Trust(0.4, -0.75)  # where too few users say: what a launch's log of sw-KE gave


@dataclass(frozen=True)
class Answer:
    """A whole answer.

    Args:
        path: state of each token.
        share: of the probability of all sequences, by the model.
        before: the probability that it is right, before its users are heard.
        odds: how much likelier what they did is where it is right than where it is wrong.
        intent: the probability that its intent is right, before its users are heard.
    """

    path: Ints
    share: float
    before: float
    odds: float
    intent: float = 1.0


def unheard(posterior: float, odds: float) -> float:
    """A posterior without the users whose reaction has entered it with these odds."""
    return posterior / (posterior + (1 - posterior) * odds)


def of_answers(
    told: Sequence[tuple[Ints, float]],
    emitted: Floats,
    moves: Floats,
    total: float,
    trust: Trust,
    intent: float = 1.0,
) -> list[Answer]:
    """The answers of one formulation.

    Args:
        told: states, and by how many bits what users did speaks for them; each path once.
        emitted, moves, total: of `mining.hidden_markov`, (L, K), (L, K, K) and the log-likelihood.
        intent: the probability that the intent they share is right, before their users are heard.
    """
    if not told:
        return []
    share = np.exp(np.minimum([path_score(path, emitted, moves) - total for path, _ in told], 0.0))
    before = trust(share)
    before *= min(1.0, (1 - _LEAST) / before.sum())
    odds = 2.0 ** np.clip([bits for _, bits in told], -_MOST_BITS, _MOST_BITS)
    return [
        Answer(path, share_, before_, odds_, intent)
        for (path, _), share_, before_, odds_ in zip(told, share.tolist(), before.tolist(), odds.tolist(), strict=True)
    ]


def _left(answers: Sequence[Answer]) -> float:
    """The probability of all other sequences, before users are heard."""
    return 1 - sum(a.before for a in answers)


def _mass(answers: Sequence[Answer]) -> float:
    """The mass of all sequences once users are heard."""
    return _left(answers) + sum(a.before * a.odds for a in answers)


def hear(answers: Sequence[Answer], expected: Floats, where: Callable[[Ints], tuple[Ints, ...]]) -> None:
    """Make expectations over all sequences (in place) what they are once users are heard.

    Args:
        expected: n x ..., each of the n summing to 1.
        where: indices into `expected` that a path has.
    """
    if not answers or not len(expected):
        return
    scale, mass = _left(answers) / max(1 - sum(a.share for a in answers), _LEAST), _mass(answers)
    expected *= scale
    for a in answers:
        expected[where(a.path)] += a.before * a.odds - a.share * scale
    np.maximum(expected / mass, 0.0, out=expected)
    expected /= np.maximum(expected.reshape(len(expected), -1).sum(1), 1e-300).reshape(-1, *[1] * (expected.ndim - 1))


def heard(shares: Mapping[Path, float], answers: Sequence[Answer], trust: Trust) -> dict[Path, float]:
    """Posterior of the most probable sequences and of the answers, once users are heard.

    The model is as much too sure of the best of the other sequences as it is of an answer, and nobody has said
    anything of them: their shares are scaled in the same way.
    """
    told = {tuple(a.path.tolist()): a for a in answers}
    left, mass = _left(answers), _mass(answers)
    rest = max(1 - sum(a.share for a in answers), _LEAST)
    others = {path: min(share / rest, 1.0) for path, share in shares.items() if path not in told}
    among = np.array(list(others.values()))
    scaled = np.minimum(trust(among), among) * left / mass
    posterior = dict(zip(others, scaled.tolist(), strict=True))
    return posterior | {path: a.before * a.odds / mass for path, a in told.items()}


def fit_trust(answers: Sequence[Answer]) -> Trust:
    """The trust under which what users did is likeliest. O(answers)."""
    if len(answers) < _FEW:
        return TRUST
    share, odds, intent = (np.array([getattr(a, name) for a in answers]) for name in ("share", "odds", "intent"))

    def surprise(numbers: Floats) -> float:
        return -float(np.log1p(intent * Trust(*numbers)(share) * (odds - 1)).mean())

    start = [TRUST.slope, TRUST.offset]
    found = minimize(surprise, start, method="L-BFGS-B", bounds=[_SLOPES, _OFFSETS])
    return Trust(round(float(found.x[0]), 4), round(float(found.x[1]), 4))
