"""Which of two models users speak for, without a label.

A challenger has learnt from the votes on wordings that got a label, so there only held-out users may judge it: what
voters did is what the label was made of. On wordings without a label nobody's turns taught it anything, and voters are
nine tenths of the users: there all of them judge. The two strata are estimated apart and weighted by held-out users'
turns, which are a fair sample of both. (What users did with one wording reaches the label of another through rephrases
and near wordings, so voters are not quite impartial; measured, the estimate still falls short of the true gain.)

Only turns on which the models differ tell them apart, and what they tell depends on whose answer they got. Where one of
the two had given it, how often that model was right there follows from how its users went on: the share that was
served, over the share of right intents that serve (values may be wrong). A challenger departs where the champion's
answer is doubtful, so that share is fitted to those turns, as one shift of what was expected of them beforehand. How
often the other model would have been right is bounded by what users said instead: at least as often as a try that
served got its answer, at most that share among all turns whose outcome is known (Manski 1990). The lower bound is far
off, since few tries are followed by one that served; a point nearer the upper one is taken. Of turns that got an older
model's answer which neither gives, or none, how much oftener the challenger says the intent of a try that served than
the champion does. Measured, all of it errs against change (docs/gate.md).

Which tries served is known with a probability, and those that did not say nothing of a model: what is seen of tries is
regressed on it, as a weighted mean would count them as disagreement (attenuation: Carroll et al. 2006, "Measurement
Error in Nonlinear Models").
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from retrain.data import Example

Floats = NDArray[np.float64]

_SHIFTS = np.linspace(-4, 4, 81)  # nats
_SPREAD = 1.0  # of the shift, believed
_RESAMPLES = 300
_SUREST = 1e-5
_CHAMPION, _CHALLENGER, _NEITHER = "champion", "challenger", "neither"  # who says what a turn was answered
_DOUBTED = 3.0  # tries that served and do not speak for the challenger, believed beforehand
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
    """The turns of one wording that belong to one part of a stratum.

    Args:
        part: whose answer its turns got (`_CHAMPION`, `_CHALLENGER`, and the first where both say it), or `_NEITHER`.
        differs: the models do, on it.
        expected, found: of each turn whose answer is one of theirs, nats that it served, before and after its user
            went on.
        turns, held_out: all, and held-out users'.
        unserved: turns less the probabilities that they served.
        champion, challenger: sums over what was said instead (`_sums`): whether the champion says its intent, and
            whether the challenger does. Where one of them had answered, of tries that got another intent.
    """

    stratum: str
    part: str
    differs: bool
    expected: list[float] = field(default_factory=list)
    found: list[float] = field(default_factory=list)
    turns: int = 0
    held_out: int = 0
    unserved: float = 0.0
    champion: Floats = field(default_factory=lambda: np.zeros(5))
    challenger: Floats = field(default_factory=lambda: np.zeros(5))


def _nats(probability: float) -> float:
    p = min(max(probability, _SUREST), 1 - _SUREST)
    return float(np.log(p) - np.log1p(-p))


def _sums(weight: float, agrees: bool) -> Floats:
    """What a line through tries takes of one: 1, its weight and the square of that, what is seen, and both."""
    return np.array([1.0, weight, weight * weight, agrees, agrees * weight])


def _wordings(rows: Sequence[Example], champion: Mapping[str, str], challenger: Mapping[str, str]) -> list[_Wording]:
    """The wordings of the parts that know something of the two models: where these differ, answers of one of them, or
    as many tries that served as are doubted."""
    turns: dict[str, dict[str, list[Example]]] = {}
    for row in rows:
        turns.setdefault(row.group or row.utterance, {}).setdefault(row.source, []).append(row)
    found, known, asked = dict[tuple[str, str], _Wording](), defaultdict[tuple[str, str], float](float), set()
    for turn in turns.values():
        after = turn.get("held_out") or turn.get("voter")
        if not after:
            continue
        served, text = after[0], after[0].utterance
        answer, old, new = served.intent, champion[text], challenger[text]
        before = turn.get("expected")
        part = _NEITHER if before is None or answer not in (old, new) else _CHAMPION if answer == old else _CHALLENGER
        mine = found.setdefault((text, part), _Wording(served.stratum, part, old != new))
        mine.turns += 1
        mine.held_out += "held_out" in turn
        mine.unserved += 1 - served.weight
        if before is not None and part != _NEITHER:
            mine.expected.append(_nats(before[0].weight))
            mine.found.append(_nats(served.weight))
        for instead in turn.get("rephrased", ()):
            if part == _NEITHER or instead.intent != answer:
                mine.champion += _sums(instead.weight, instead.intent == old)
                mine.challenger += _sums(instead.weight, instead.intent == new)
        if old != new:
            asked.add((served.stratum, part))
            tries = sum(instead.weight for instead in turn.get("rephrased", ()))
            known[served.stratum, part] += tries if part == _NEITHER else _DOUBTED
    unknown = {of for of in asked if known[of] < _DOUBTED}
    return [found[key] for key in sorted(found) if (found[key].stratum, found[key].part) not in unknown]


def estimate(
    rows: Sequence[Example],
    champion: Mapping[str, str],
    challenger: Mapping[str, str],
    served_if_right: float,
    seed: int,
) -> Estimate:
    """Both models' intent accuracy on users' turns.

    Args:
        rows: of the gate split. Of each turn (`group`): `held_out` or `voter`, by whose it is, with the probability
            that the answer served, or with the intent `NO_ANSWER`; of an answered one `expected`, the same before
            seeing how its user went on; `rephrased`, what was said instead, with the probability that it served and
            meant the same. The parts of a stratum (`stratum`), by whose the answer was, are estimated apart.
        champion, challenger: answers by utterance.
        served_if_right: how often an answer with the right intent serves.
        seed: of the bootstrap over wordings, 300 draws.

    A part in which no held-out user spoke is left out. Cost: O(turns + wordings x 300 x 81) time, O(turns + wordings x
    300) memory.
    """
    wordings = _wordings(rows, champion, challenger)
    sampled = sum(w.held_out for w in wordings)
    found, random = Estimate(0.0, 0.0, np.zeros(_RESAMPLES), 0), np.random.default_rng(seed)
    for stratum, part in sorted({(w.stratum, w.part) for w in wordings}):
        of_it = [w for w in wordings if (w.stratum, w.part) == (stratum, part)]
        share = sum(w.held_out for w in of_it) / max(sampled, 1)
        if share:
            right, gain = _of_neither(of_it) if part == _NEITHER else _of_answered(of_it, served_if_right)
            draws = random.multinomial(len(of_it), np.full(len(of_it), 1 / len(of_it)), _RESAMPLES)
            found = Estimate(
                found.champion + share * right,
                found.gain + share * gain(np.ones(len(of_it))),
                found.resampled + share * np.array([gain(times.astype(np.float64)) for times in draws]),
                found.turns + sum(w.turns for w in of_it),
            )
    return found


def _line(n: float, weight: float, square: float, seen: float, both: float) -> tuple[float, float]:
    """What is seen of tries as a line over their weight, by least squares: at 0, and its slope. Args: as `_sums`."""
    n, weight, square = n + _DOUBTED, weight + _DOUBTED, square + _DOUBTED
    spread = n * square - weight**2
    slope = (n * both - weight * seen) / spread if spread > 1e-9 else both / square
    return (seen - slope * weight) / n, slope


def _agreement(sums: Floats) -> float:
    """How often a model says the intent of a try that served and meant the same, 0 to 1.

    Args:
        sums: of tries, `_sums` of whether the model says their intent.

    A try of weight w is such a try with probability w; of one that is not the model says the intent at another rate.
    Both rates come from the line through all tries.
    """
    base, slope = _line(*map(float, sums))
    if base < 0:
        base, slope = 0.0, float(sums[4]) / (float(sums[2]) + _DOUBTED)
    return float(np.clip(base + max(slope, 0.0), 0.0, 1.0))


def _of_answered(wordings: Sequence[_Wording], served_if_right: float) -> tuple[float, Callable[[Floats], float]]:
    """Where one of the models had answered: the champion's accuracy, and the challenger's gain where each wording is
    seen so many times."""
    turns = np.array([w.turns for w in wordings], dtype=np.float64)
    differs = np.array([w.differs for w in wordings])
    before, after = (
        np.array([np.mean(x) for x in part]) for part in zip(*((w.expected, w.found) for w in wordings), strict=True)
    )
    share = 1 / (1 + np.exp(-(before[:, None] + _SHIFTS)))
    likelihood = np.log1p(share * np.expm1(after - before)[:, None])  # of a wording, by the shift
    served = turns[:, None] / (1 + np.exp(-(after[:, None] + _SHIFTS)))
    by_champion = wordings[0].part == _CHAMPION
    instead = np.array([w.challenger if by_champion else w.champion for w in wordings])
    believed = _SHIFTS**2 / (2 * _SPREAD**2)

    def shares(times: Floats) -> tuple[float, float]:
        """Of the model that had answered and of the other one, on turns where they differ: how often it is right."""
        apart = times * differs
        n = apart @ turns
        best = int(np.argmax(apart @ likelihood - believed))
        right = min(float(apart @ served[:, best]) / n / served_if_right, 1.0)
        tries = apart @ instead
        agreed = _agreement(tries)
        least, most = agreed * min(float(tries[1]) / n, 1 - right), agreed * (1 - right)
        return right, least + _BETWEEN * (most - least)

    def gain(times: Floats) -> float:
        apart = float((times * differs) @ turns)
        if apart <= 0:
            return 0.0
        right, other = shares(times)
        return (other - right if by_champion else right - other) * apart / float(times @ turns)

    if not by_champion:
        return shares(np.ones(len(wordings)))[1], gain
    unshifted = int(np.argmin(np.abs(_SHIFTS)))
    return min(float(served[:, unshifted].sum() / turns.sum()) / served_if_right, 1.0), gain


def _of_neither(wordings: Sequence[_Wording]) -> tuple[float, Callable[[Floats], float]]:
    """The same of turns that got no answer, or one that neither model gives: how much oftener the challenger says the
    intent of what was said instead and served, where the answer did not serve."""
    turns = np.array([w.turns for w in wordings], dtype=np.float64)
    unserved = np.array([w.unserved for w in wordings])
    differs = np.array([w.differs for w in wordings])
    champion, challenger = (np.array([getattr(w, name) for w in wordings]) for name in ("champion", "challenger"))
    apart = champion.copy()
    apart[:, 3:] = (challenger - champion)[:, 3:]

    def gain(times: Floats) -> float:
        here = times * differs
        ahead = sum(_line(*map(float, here @ apart)))
        return float(_BETWEEN * np.clip(ahead, -1, 1) * (here @ unserved) / (times @ turns))

    # What did not serve is rather the champion's own mistake again: its line may fall.
    right = np.clip(sum(_line(*map(float, champion.sum(axis=0)))), 0, 1)
    return float(_BETWEEN * right * unserved.sum() / turns.sum()), gain
