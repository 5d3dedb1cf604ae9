"""Which of two models users speak for, without a label.

A challenger has learnt from the votes on wordings that got a label, so there only held-out users may judge it: what
voters did is what the label was made of. On wordings without a label nobody's turns taught it anything, and voters are
nine tenths of the users: there all of them judge. The two strata are estimated apart and weighted by held-out users'
turns, which are a fair sample of both. (What users did with one wording reaches the label of another through rephrases
and near wordings, so voters are not quite impartial; measured, the estimate still falls short of the true gain.)

Only turns on which the models differ tell them apart. How often the champion was right there follows from how its
users went on: the share that was served, over the share of right intents that serve (values may be wrong). A challenger
departs where the champion's answer is doubtful, so that share is fitted to those turns, as one shift of what was
expected of them beforehand. How often the challenger would have been right is bounded by what users said instead: at
least as often as a try that served got its answer, at most that share among all turns whose outcome is known (Manski
1990). The lower bound is far off, since few tries are followed by one that served; a point nearer the upper one is
taken, which measured still errs against change (docs/gate.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from retrain.data import Example

Floats = NDArray[np.float64]

_SHIFTS = np.linspace(-4, 4, 81)  # nats
_SPREAD = 1.0  # of the shift, believed
_RESAMPLES = 300
_SUREST = 1e-5
_DOUBTED = 3.0  # tries that served another intent than the challenger's, believed beforehand
_BETWEEN = 0.6  # where between its bounds the challenger's share of right answers is taken to lie


@dataclass(frozen=True)
class Estimate:
    """Intent accuracies and their difference, fractions of 1. `resampled`: the difference over bootstrap draws."""

    champion: float
    gain: float
    resampled: Floats
    turns: int


@dataclass
class _Wording:
    """The turns of one wording: what was expected and found of each (nats that it served), how many were held-out
    users', and what was said then."""

    stratum: str
    differs: bool
    expected: list[float] = field(default_factory=list)
    found: list[float] = field(default_factory=list)
    held_out: int = 0
    instead: Floats = field(default_factory=lambda: np.zeros(5))


def _nats(probability: float) -> float:
    p = min(max(probability, _SUREST), 1 - _SUREST)
    return float(np.log(p) - np.log1p(-p))


def _wordings(rows: Sequence[Example], champion: Mapping[str, str], challenger: Mapping[str, str]) -> list[_Wording]:
    turns: dict[str, dict[str, list[Example]]] = {}
    for row in rows:
        turns.setdefault(row.group or row.utterance, {}).setdefault(row.source, []).append(row)
    found: dict[str, _Wording] = {}
    for turn in turns.values():
        after = turn.get("held_out") or turn.get("voter")
        if not after or "expected" not in turn:
            continue
        served, text = after[0], after[0].utterance
        if served.intent != champion[text]:
            continue  # answered by a model that is no more
        mine = found.setdefault(text, _Wording(served.stratum, champion[text] != challenger[text]))
        mine.held_out += "held_out" in turn
        mine.expected.append(_nats(turn["expected"][0].weight))
        mine.found.append(_nats(served.weight))
        for instead in turn.get("rephrased", ()):
            if instead.intent != champion[text]:
                w, agrees = instead.weight, float(instead.intent == challenger[text])
                mine.instead += (1.0, w, w * w, agrees, agrees * w)
    return [found[text] for text in sorted(found)]


def estimate(
    rows: Sequence[Example],
    champion: Mapping[str, str],
    challenger: Mapping[str, str],
    served_if_right: float,
    seed: int,
) -> Estimate:
    """Both models' intent accuracy on users' turns.

    Args:
        rows: of the gate split. Of each answered turn (`group`): `expected`, the probability that the answer served
            before seeing how its users went on; `held_out` or `voter`, by whose turn it is, the same after it;
            `rephrased`, what was said instead, with the probability that it served and meant the same. Strata
            (`stratum`) are estimated apart.
        champion, challenger: answers by utterance.
        served_if_right: how often an answer with the right intent serves.
        seed: of the bootstrap over wordings, 300 draws.

    Turns that were answered otherwise than the champion would are left out, and so is a stratum in which no held-out
    user spoke. Cost: O(turns + wordings x 300 x 81) time, O(turns + wordings x 300) memory.
    """
    wordings = _wordings(rows, champion, challenger)
    sampled = sum(w.held_out for w in wordings)
    found, random = Estimate(0.0, 0.0, np.zeros(_RESAMPLES), 0), np.random.default_rng(seed)
    for stratum in sorted({w.stratum for w in wordings}):
        of_it = [w for w in wordings if w.stratum == stratum]
        share = sum(w.held_out for w in of_it) / max(sampled, 1)
        if share:
            one = _estimate(of_it, served_if_right, random)
            found = Estimate(
                found.champion + share * one.champion, found.gain + share * one.gain,
                found.resampled + share * one.resampled, found.turns + one.turns,
            )  # fmt: skip
    return found


def _agreement(n: float, weight: float, square: float, agreed: float, both: float) -> float:
    """How often the challenger says the intent of a try that served and meant the same, 0 to 1.

    Args:
        n, weight, square: tries, and the sums of their weights and of the squares of these.
        agreed, both: tries whose intent the challenger says, and the sum of their weights.

    A try of weight w is such a try with probability w, and if it is none the challenger says its intent at a rate of
    its own. Both rates by least squares. Cost: O(1).
    """
    n, weight, square = n + _DOUBTED, weight + _DOUBTED, square + _DOUBTED
    spread = n * square - weight**2
    slope = (n * both - weight * agreed) / spread if spread > 1e-9 else both / square
    other = max((agreed - slope * weight) / n, 0.0)
    slope = slope if other > 0 else both / square
    return float(np.clip(other + max(slope, 0.0), 0.0, 1.0))


def _estimate(wordings: Sequence[_Wording], served_if_right: float, random: np.random.Generator) -> Estimate:
    turns = np.array([len(w.found) for w in wordings], dtype=np.float64)
    differs = np.array([w.differs for w in wordings])
    before, after = (
        np.array([np.mean(x) for x in part]) for part in zip(*((w.expected, w.found) for w in wordings), strict=True)
    )
    share = 1 / (1 + np.exp(-(before[:, None] + _SHIFTS)))
    likelihood = np.log1p(share * np.expm1(after - before)[:, None])  # of a wording, by the shift
    served = turns[:, None] / (1 + np.exp(-(after[:, None] + _SHIFTS)))
    instead = np.array([w.instead for w in wordings])
    believed = _SHIFTS**2 / (2 * _SPREAD**2)

    def gain(times: Floats) -> float:
        apart = times * differs
        n = apart @ turns
        if n <= 0:
            return 0.0
        best = int(np.argmax(apart @ likelihood - believed))
        right = min(float(apart @ served[:, best]) / n / served_if_right, 1.0)
        tries = apart @ instead
        rightly = _agreement(*map(float, tries))
        least, most = rightly * min(float(tries[1]) / n, 1 - right), rightly * (1 - right)
        taken = least + _BETWEEN * (most - least)
        return float((taken - right) * n / (times @ turns))

    draws = random.multinomial(len(wordings), np.full(len(wordings), 1 / len(wordings)), _RESAMPLES)
    unshifted = int(np.argmin(np.abs(_SHIFTS)))
    mean = float(served[:, unshifted].sum() / turns.sum())
    return Estimate(
        min(mean / served_if_right, 1.0), gain(np.ones(len(wordings))),
        np.array([gain(times.astype(np.float64)) for times in draws]), int(turns.sum()),
    )  # fmt: skip
