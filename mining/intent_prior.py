"""What each wording probably means before its own users vote: the champion's guesses, and the users of near wordings.

Most wordings are said by one user, whose silence says little. What the champion held for likely and what near wordings
turned out to mean says more, but how much, and how near is near, differ by language and encoder. Both are fitted to
the log, without a label: how often near wordings agree, by cosine; and one exponent, by how users took what they were
served.

After Zhu and Ghahramani 2002, "Learning from labeled and unlabeled data with label propagation", in one step: further
steps bring a wording's own guess back to it, and were measured to make the prior surer, not better. The exponent is
Platt's scaling (1999) by what users did, which no prior has seen, in place of labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from mining.neighbours import Floats, Ints

_VOTES = 2.0  # that a wording's guesses count for beside its users' votes, in what it tells its neighbours
_BINS = 20  # of cosine, per unit
_SURE = 0.7  # probability from which two wordings are asked whether they agree
_BELIEF = 5.0, 0.5  # pairs and their agreement that each bin begins with
_RANGE = 0.05, 0.97  # agreement
_EXPONENTS = 0.05, 2.0
_MOST = 2.0  # neighbours, weighted by agreement, that count in full: near wordings are misunderstood alike
_FEW = 50  # votes below which the exponent is not fitted
_EXPONENT = 0.4  # where it is not
_CHUNK = 100_000  # edges at once


@dataclass(frozen=True)
class IntentPrior:
    """Probabilities n x intents, each row summing to 1; agreement of near wordings by cosine; the fitted exponent."""

    probability: Floats
    agreement: dict[float, float]
    exponent: float


def _agreement(belief: Floats, left: Ints, right: Ints, cosine: Floats) -> tuple[Floats, dict[float, float]]:
    """For each edge, how often two sure wordings so near agree."""
    best, sure = belief.argmax(axis=1), belief.max(axis=1) >= _SURE
    level = np.floor(np.round(cosine * _BINS, 6)).astype(np.int64)
    both = sure[left] & sure[right]
    low = int(level.min(initial=0))
    pairs = np.bincount(level[both] - low, minlength=int(level.max(initial=0)) - low + 1)
    same = np.bincount((level - low)[both & (best[left] == best[right])], minlength=len(pairs))
    count, share = _BELIEF
    rate = np.clip((same + count * share) / (pairs + count), *_RANGE)
    told = {round(float(low + i) / _BINS, 2): round(float(rate[i]), 4) for i in np.flatnonzero(pairs).tolist()}
    return rate[level - low], told


def _heard(belief: Floats, left: Ints, right: Ints, weight: Floats) -> Floats:
    """Sum over its neighbours of log(agreement x their belief / share of the intent + 1 - agreement), of at most
    `_MOST` neighbours' weight: n x intents."""
    share = belief.mean(axis=0) + 1e-9
    total, mass = np.zeros_like(belief), np.zeros(len(belief))
    ends, others, weights = np.concatenate([left, right]), np.concatenate([right, left]), np.tile(weight, 2)
    order = np.lexsort((others, ends))
    ends, others, weights = ends[order], others[order], weights[order]
    for first in range(0, len(ends), _CHUNK):
        part = slice(first, first + _CHUNK)
        w = weights[part, None]
        said = np.log(w * belief[others[part]] / share + 1 - w)
        start = np.flatnonzero(np.diff(ends[part], prepend=-1))
        total[ends[part][start]] += np.add.reduceat(said, start)
    np.add.at(mass, ends, weights)
    return np.asarray(total * np.minimum(1, _MOST / np.maximum(mass, 1e-9))[:, None])


def _softmax(scores: Floats) -> Floats:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _exponent(scores: Floats, rows: Ints, intents: Ints, odds: Floats) -> float:
    """The power of the prior under which what users did is likeliest."""
    if len(rows) < _FEW:
        return _EXPONENT
    scores, place = scores[np.unique(rows)], np.searchsorted(np.unique(rows), rows)

    def surprise(power: float) -> float:
        return -float(np.log1p(_softmax(scores * power)[place, intents] * (odds - 1)).mean())

    found = minimize_scalar(surprise, bounds=_EXPONENTS, method="bounded", options={"xatol": 1e-3})
    return round(float(found.x), 3)


def intent_prior(
    guesses: Floats,
    votes: Floats,
    edges: tuple[Ints, Ints, Floats],
    taken: tuple[Sequence[int] | Ints, Sequence[int] | Ints, Sequence[float] | Floats],
) -> IntentPrior:
    """The prior of every wording of one locale.

    Args:
        guesses: n x intents, the champion's probabilities, rows summing to at most 1; what is missing is on any intent.
        votes: n x intents, the users' votes for each (`mining.votes`), 0 where there are none.
        edges: left, right and cosine of near wordings (row numbers, each pair once).
        taken: row, served intent, and how much likelier what the user then did is where that intent was right than
            where it was wrong (positive); of all completed turns that vote.

    The prior of a row does not contain the row's own votes.

    Cost: O(edges x intents) time, in numpy; memory of four n x intents tables of doubles (2 GB a million rows at 60).
    """
    n, many = guesses.shape
    if not n or not many:
        return IntentPrior(guesses, {}, _EXPONENT)
    missing = np.maximum(1 - guesses.sum(axis=1, keepdims=True), 0)
    base = guesses + (missing + 1e-6) / many
    base /= base.sum(axis=1, keepdims=True)
    belief = (votes + _VOTES * base) / (votes.sum(axis=1, keepdims=True) + _VOTES)
    left, right, cosine = edges
    scores = np.log(base)
    told: dict[float, float] = {}
    if len(left):
        weight, told = _agreement(belief, left, right, cosine)
        scores = scores + _heard(belief, left, right, weight)
    rows, intents, odds = (np.asarray(part) for part in taken)
    power = _exponent(scores, rows.astype(np.int64), intents.astype(np.int64), odds)
    return IntentPrior(_softmax(scores * power), told, power)
