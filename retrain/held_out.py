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
off, since few tries are followed by one that served; a point nearer the upper one is taken, and nearest where the other
model is the champion. Of turns that got an older model's answer which neither gives, or none, how much oftener the
challenger says the intent of a try that served than the champion does. Measured, the estimate falls short of gains and
losses alike (docs/gate.md).

Which tries served is known with a probability, and those that did not say nothing of a model: what is seen of tries is
regressed on it, as a weighted mean would count them as disagreement (attenuation: Carroll et al. 2006, "Measurement
Error in Nonlinear Models").
"""

from __future__ import annotations

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
_RETURNING = 0.8  # of its upper bound, the champion's where the challenger's answer was given


@dataclass(frozen=True)
class Estimate:
    """Intent accuracies and their difference, fractions of 1. `resampled`: the difference over bootstrap draws;
    `turns`: of the strata of which something is known, 0 without any."""

    champion: float
    gain: float
    resampled: Floats
    turns: int


@dataclass
class _Turns:
    """The turns of one wording that belong to one part of a stratum: by whose the answer was.

    Args:
        differs: the models do, on it.
        expected, found: of each turn whose answer is one of theirs, nats that it served, before and after its user
            went on.
        turns, held_out: all, and held-out users'.
        unserved: turns less the probabilities that they served.
        champion, challenger: sums over what was said instead (`_sums`): whether the champion says its intent, and
            whether the challenger does. Where one of them had answered, of tries that got another intent.
    """

    differs: bool
    expected: list[float] = field(default_factory=list)
    found: list[float] = field(default_factory=list)
    turns: int = 0
    held_out: int = 0
    unserved: float = 0.0
    champion: Floats = field(default_factory=lambda: np.zeros(5))
    challenger: Floats = field(default_factory=lambda: np.zeros(5))


_Stratum = dict[str, dict[str, _Turns]]  # part -> wording -> its turns
_Accuracies = Callable[[Floats], tuple[float, float]]  # times that each wording is seen -> champion's, challenger's


def _nats(probability: float) -> float:
    p = min(max(probability, _SUREST), 1 - _SUREST)
    return float(np.log(p) - np.log1p(-p))


def _sums(weight: float, agrees: bool) -> Floats:
    """What a line through tries takes of one: 1, its weight and the square of that, what is seen, and both."""
    return np.array([1.0, weight, weight * weight, agrees, agrees * weight])


def _strata(rows: Sequence[Example], champion: Mapping[str, str], challenger: Mapping[str, str]) -> dict[str, _Stratum]:
    turns: dict[str, dict[str, list[Example]]] = {}
    for row in rows:
        turns.setdefault(row.group or row.utterance, {}).setdefault(row.source, []).append(row)
    found: dict[str, _Stratum] = {}
    for turn in turns.values():
        after = turn.get("held_out") or turn.get("voter")
        if not after:
            continue
        served, text = after[0], after[0].utterance
        answer, old, new = served.intent, champion[text], challenger[text]
        before = turn.get("expected")
        part = _NEITHER if before is None or answer not in (old, new) else _CHAMPION if answer == old else _CHALLENGER
        mine = found.setdefault(served.stratum, {}).setdefault(part, {}).setdefault(text, _Turns(old != new))
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
    return found


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
            meant the same.
        champion, challenger: answers by utterance.
        served_if_right: how often an answer with the right intent serves.
        seed: of the bootstrap over wordings, 300 draws.

    Strata (`stratum`) count as often as held-out users spoke in them, their parts, by whose the answer was, as often as
    anybody whose turns judge there. A stratum in which the models differ only where nothing tells them apart is left
    out, and so is one in which no held-out user spoke. Cost: O(turns + wordings x 300 x 81) time, O(turns + wordings x
    300) memory.
    """
    strata = {name: of for name, of in sorted(_strata(rows, champion, challenger).items()) if _held_out(of)}
    known = {name: gains for name, of in strata.items() if (gains := _of_stratum(of, served_if_right)) is not None}
    sampled = sum(_held_out(strata[name]) for name in known)
    found, random = Estimate(0.0, 0.0, np.zeros(_RESAMPLES), 0), np.random.default_rng(seed)
    for name, (wordings, accuracies) in known.items():
        share = _held_out(strata[name]) / sampled
        one, other = accuracies(np.ones(wordings))
        draws = random.multinomial(wordings, np.full(wordings, 1 / wordings), _RESAMPLES)
        drawn = np.array([accuracies(times.astype(np.float64)) for times in draws])
        found = Estimate(
            found.champion + share * one,
            found.gain + share * (other - one),
            found.resampled + share * (drawn[:, 1] - drawn[:, 0]),
            found.turns + sum(w.turns for part in strata[name].values() for w in part.values()),
        )
    return found


def _held_out(stratum: _Stratum) -> int:
    return sum(w.held_out for part in stratum.values() for w in part.values())


def _of_stratum(stratum: _Stratum, served_if_right: float) -> tuple[int, _Accuracies] | None:
    """How many wordings a stratum has, and both models' accuracy where each of them is seen so many times; None where
    the models differ and nothing tells of it.

    Where they differ and a part knows nothing, the other parts speak for it.
    """
    texts = sorted({text for part in stratum.values() for text in part})
    place = {text: i for i, text in enumerate(texts)}
    where = {name: np.array([place[text] for text in part]) for name, part in stratum.items()}
    turns = {name: np.array([w.turns for w in part.values()], dtype=np.float64) for name, part in stratum.items()}
    differs = {name: np.array([w.differs for w in part.values()]) for name, part in stratum.items()}
    of_part: dict[str, _Accuracies] = {}
    for name, part in stratum.items():
        apart = [w for w in part.values() if w.differs]
        if apart and (name != _NEITHER or sum(w.champion[1] for w in apart) >= _DOUBTED):
            of_part[name] = _of_neither(apart) if name == _NEITHER else _of_answered(apart, name, served_if_right)
    if not of_part and any(d.any() for d in differs.values()):
        return None
    alike = _accuracy_alike(stratum, served_if_right)

    def accuracies(times: Floats) -> tuple[float, float]:
        of = {name: times[where[name]] * turns[name] for name in stratum}
        every = sum(float(n.sum()) for n in of.values())
        apart = {name: float(n @ differs[name]) for name, n in of.items()}
        told = {name: of_part[name](times[where[name]][differs[name]]) for name in of_part if apart[name] > 0}
        heard = sum(apart[name] for name in told)
        differ = sum(apart.values()) / every
        agree = alike * (1 - differ)
        if not heard:
            return agree, agree
        one, other = (sum(apart[name] * said[k] for name, said in told.items()) / heard for k in (0, 1))
        return agree + differ * one, agree + differ * other

    return len(texts), accuracies


def _accuracy_alike(stratum: _Stratum, served_if_right: float) -> float:
    """How often both models are right where they say the same: by what served of their answers, and by what was said
    instead of others'."""
    right, turns = 0.0, 0
    for name, part in stratum.items():
        alike = [w for w in part.values() if not w.differs]
        n = sum(w.turns for w in alike)
        if not n:
            continue
        unserved = sum(w.unserved for w in alike)
        if name == _NEITHER:
            sums = np.sum([w.champion for w in alike], axis=0)
            share = _BETWEEN * float(np.clip(sum(_line(sums)), 0, 1)) * unserved / n
        else:
            share = min((1 - unserved / n) / served_if_right, 1.0)
        right, turns = right + share * n, turns + n
    return right / max(turns, 1)


def _line(sums: Floats, doubted: float = _DOUBTED) -> tuple[float, float]:
    """What is seen of tries as a line over their weight, by least squares: at 0, and its slope. Args: as `_sums`, and
    tries of weight 1 in which it was not seen that are believed beforehand."""
    n, weight, square = (float(x) + doubted for x in sums[:3])
    seen, both = map(float, sums[3:])
    spread = n * square - weight**2
    slope = (n * both - weight * seen) / spread if spread > 1e-9 else both / max(square, 1e-9)
    return (seen - slope * weight) / max(n, 1e-9), slope


def _agreement(sums: Floats, doubted: float = _DOUBTED) -> float:
    """How often a model says the intent of a try that served and meant the same, 0 to 1.

    Args:
        sums: of tries, `_sums` of whether the model says their intent.
        doubted: as `_line`.

    A try of weight w is such a try with probability w; of one that is not the model says the intent at another rate.
    Both rates come from the line through all tries.
    """
    base, slope = _line(sums, doubted)
    if base < 0:
        base, slope = 0.0, float(sums[4]) / (float(sums[2]) + doubted)
    return float(np.clip(base + max(slope, 0.0), 0.0, 1.0))


def _of_answered(apart: Sequence[_Turns], part: str, served_if_right: float) -> _Accuracies:
    """Both models' accuracy on wordings on which they differ and one of them had answered."""
    turns = np.array([w.turns for w in apart], dtype=np.float64)
    before, after = (
        np.array([np.mean(x) for x in column]) for column in zip(*((w.expected, w.found) for w in apart), strict=True)
    )
    share = 1 / (1 + np.exp(-(before[:, None] + _SHIFTS)))
    likelihood = np.log1p(share * np.expm1(after - before)[:, None])  # of a wording, by the shift
    served = turns[:, None] / (1 + np.exp(-(after[:, None] + _SHIFTS)))
    believed = _SHIFTS**2 / (2 * _SPREAD**2)
    instead = np.array([w.challenger if part == _CHAMPION else w.champion for w in apart])

    def accuracies(times: Floats) -> tuple[float, float]:
        n = float(times @ turns)
        best = int(np.argmax(times @ likelihood - believed))
        right = min(float(times @ served[:, best]) / n / served_if_right, 1.0)
        tries, left = times @ instead, 1 - right
        if part == _CHALLENGER:  # doubt is in the champion's favour
            return _RETURNING * left * (_agreement(tries, 0.0) if tries[1] > 0 else 1.0), right
        agreed = _agreement(tries)
        least, most = agreed * min(float(tries[1]) / n, left), agreed * left
        return right, least + _BETWEEN * (most - least)

    return accuracies


def _of_neither(apart: Sequence[_Turns]) -> _Accuracies:
    """The same where they got no answer, or one that neither gives: how often each model says the intent of what was
    said instead and served, where the answer did not serve."""
    turns = np.array([w.turns for w in apart], dtype=np.float64)
    unserved = np.array([w.unserved for w in apart])
    champion, challenger = (np.array([getattr(w, name) for w in apart]) for name in ("champion", "challenger"))
    ahead = champion.copy()
    ahead[:, 3:] = (challenger - champion)[:, 3:]

    def accuracies(times: Floats) -> tuple[float, float]:
        open_ = _BETWEEN * float(times @ unserved) / float(times @ turns)
        # What did not serve is rather the champion's own mistake again: its line may fall.
        one = open_ * float(np.clip(sum(_line(times @ champion)), 0, 1))
        return one, one + open_ * float(np.clip(sum(_line(times @ ahead)), -1, 1))

    return accuracies
