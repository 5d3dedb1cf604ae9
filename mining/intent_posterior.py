"""What each wording probably means: the champion's guesses, what users did, and what near wordings turned out to mean.

Most wordings are said by one user, whose silence says little. What the champion held for likely, what the user said
instead, and what near wordings turned out to mean say more. All of it is combined by Bayes' rule, one wording to one
hidden intent:

- users: what they did after an answer is so much likelier where its intent was right (`served`);
- rephrases: the other wording means the same with the probability that the pair is one, so what its users did counts
  here too;
- absorption: with which intents tries of wordings of its variant cluster end well, over all users
  (`mining.absorption`), oftener than tries of all wordings do, to a power that was chosen on logs (`_ABSORBED`);
- wishes: large communities of wordings that were said instead of each other or are near (`mining.wishes`) mean one
  thing, and what the community means, by all that is known of its wordings, is what each of them means with the
  probability `_MEMBER`, in the end to a power, since names are surer than right (`_NAMED`). For a wording of no large
  community stand, in the community's place,
- near wordings: as rephrases, with the probability that wordings so near agree, which is fitted to pairs of sure ones;
- annotated utterances that are near, in any language, to a power that was chosen on logs (`_ANNOTATED`);
- the translations of its words, which are learnt of the surest wordings of other communities, as often as `_PASSES`
  (`mining.translated_intents`), to such a power (`_TRANSLATED`);
- the champion's guesses and the near wordings, both of them one model's and one encoder's view of many wordings alike,
  to a power that was chosen on logs, too (`_VIEW`; `_OWN_VIEW` of a wording's own guesses beside its community's).

After Zhu and Ghahramani 2002, "Learning from labeled and unlabeled data with label propagation", in one step: further
steps bring a wording's own guess back to it, and were measured to make the posterior surer than it is right. So was the
power of the view fitted to what users did with what they were served (docs/labels.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mining.neighbours import Floats, Ints
from mining.wishes import Wishes, partitioned, wishes

_GUESS = 0.25  # power of a near wording's guesses in what it tells: near wordings are misunderstood alike
_BINS = 20  # of cosine, per unit
_SURE = 0.7  # probability from which two wordings are asked whether they agree
_BELIEF = 5.0, 0.5  # pairs and their agreement that each bin begins with
_RANGE = 0.05, 0.97  # agreement
_MOST = 8.0  # near wordings, weighted by agreement, that count in full
_VIEW = 0.4  # power of the champion's guesses and of near wordings: one view of many wordings errs alike
_ANNOTATED, _UNSAID = 0.3, 0.01  # power of what near annotated utterances say; what they leave to any other intent
_TRANSLATED, _PASSES = 0.5, 3  # power of what translations say, and how often they are learnt anew
_PARTS = 4  # of the wordings, which teach each other translations
# Power of where tries of a wording's cluster end; users who are believed beforehand to end as usual; what is
# left to any intent.
_ABSORBED, _USUALLY, _UNENDED = 0.3, 1.0, 0.01
_MEMBER = 0.9  # probability that a wording means what its community does
_NAMED = 0.6  # power of what communities are named, in what is told in the end: names are surer than right
_OWN_VIEW = 0.2  # power of a wording's own guesses beside its community's, in which they are
_CHUNK = 100_000  # edges at once
_NOBODY = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class IntentPosterior:
    """What was found.

    Args:
        probability: n x intents, each row summing to 1.
        agreement: of near wordings, by cosine.
        wishes: the communities, and what they mean.
    """

    probability: Floats
    agreement: dict[float, float]
    wishes: Wishes


@dataclass(frozen=True)
class Links:
    """Wordings that speak for each other: row numbers of both, each pair once.

    Args:
        forth, back: probability that what the right one means is what the left one means, and the other way round.
    """

    left: Ints
    right: Ints
    forth: Floats
    back: Floats


def _agreement(belief: Floats, near: tuple[Ints, Ints, Floats]) -> tuple[Floats, dict[float, float]]:
    """For each edge, how often two sure wordings so near agree. (Fitted by likelihood to all of them it comes out near
    one for any cosine: near wordings fail alike, whether they mean the same or not.)"""
    left, right, cosine = near
    best, sure = belief.argmax(axis=1), belief.max(axis=1) >= _SURE
    level = np.floor(np.round(cosine * _BINS, 6)).astype(np.int64)
    both = sure[left] & sure[right]
    low = int(level.min())
    pairs = np.bincount(level[both] - low, minlength=int(level.max()) - low + 1)
    same = np.bincount((level - low)[both & (best[left] == best[right])], minlength=len(pairs))
    count, share = _BELIEF
    rate = np.clip((same + count * share) / (pairs + count), *_RANGE)
    told = {round(float(low + i) / _BINS, 2): round(float(rate[i]), 4) for i in np.flatnonzero(pairs).tolist()}
    return rate[level - low], told


def _heard(belief: Floats, share: Floats, links: Links, most: float = np.inf) -> Floats:
    """Sum over its links of log(weight x their belief / share of the intent + 1 - weight): n x intents. What a wording
    hears from links of more than `most` in weight is scaled down to that."""
    total, mass = np.zeros_like(belief), np.zeros(len(belief))
    ends, others = np.concatenate([links.left, links.right]), np.concatenate([links.right, links.left])
    weights = np.concatenate([links.forth, links.back])
    order = np.lexsort((others, ends))
    ends, others, weights = ends[order], others[order], weights[order]
    for first in range(0, len(ends), _CHUNK):
        part = slice(first, first + _CHUNK)
        w = weights[part, None]
        said = np.log(w * belief[others[part]] / share + 1 - w)
        start = np.flatnonzero(np.diff(ends[part], prepend=-1))
        total[ends[part][start]] += np.add.reduceat(said, start)
    np.add.at(mass, ends, weights)
    return np.asarray(total * np.minimum(1, most / np.maximum(mass, 1e-9))[:, None])


def _softmax(scores: Floats) -> Floats:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _tempered(told: Floats, power: float) -> Floats:
    """Rows to a power, summing to 1 again; rows of zeros stay (Guo et al. 2017, "On Calibration of Modern Neural
    Networks": one temperature, which changes no row's order)."""
    powers = told**power
    total = powers.sum(axis=1, keepdims=True)
    return np.asarray(powers / np.where(total > 0, total, 1.0))


def _ended(absorbed: Floats) -> Floats:
    """By how much tries end well with each intent oftener than usual, as log odds; 0 where none does."""
    usual = absorbed.sum(axis=0) / max(float(absorbed.sum()), 1e-9)
    share = (absorbed + _USUALLY * usual) / (absorbed.sum(axis=1, keepdims=True) + _USUALLY)
    return np.asarray(np.log((share + _UNENDED) / (usual + _UNENDED)))


def _parts(label: Ints) -> Ints:
    """Rows in `_PARTS` parts of about one size, no community in two of them: the largest communities first, each to
    the part that has least. O(rows) time."""
    size = np.bincount(label)
    part, filled = np.zeros(len(size), dtype=np.int64), np.zeros(_PARTS)
    for one in np.argsort(-size, kind="stable").tolist():
        part[one] = int(filled.argmin())
        filled[part[one]] += size[one]
    return part[label]


def intent_posterior(
    guesses: Floats,
    served: tuple[Sequence[int] | Ints, Sequence[int] | Ints, Sequence[float] | Floats],
    rephrases: Links,
    near: tuple[Ints, Ints, Floats],
    annotated: Floats | None = None,
    spoken: tuple[Ints, Ints] = (_NOBODY, _NOBODY),
    translate: Callable[[Floats, Ints], Floats | None] | None = None,
    absorbed: Floats | None = None,
) -> IntentPosterior:
    """The posterior of every wording of one locale.

    Args:
        guesses: n x intents, the champion's probabilities, rows summing to at most 1; what is missing is on any intent.
        served: row, intent that it was answered with, and how much likelier what its users did is where that intent is
            right than where it is wrong (positive).
        rephrases: wordings that users said instead of each other.
        near: left, right and cosine of near wordings (row numbers, each pair once).
        annotated: n x intents, what near annotated utterances say (`mining.gold_neighbours`); a row of zeros says
            nothing, and so does None.
        spoken: row and number of a user who said it, each pair once: nobody owns a community (`mining.wishes.voices`).
        translate: gives of a posterior, and of each row's part, what translations say that the other parts' surest rows
            teach, n x intents; a row of zeros says nothing, and so does None.
        absorbed: n x intents, of how many users tries of a wording of the row's variant cluster end accepted with each
            intent; a row of zeros says nothing, and so does None.

    Cost: O(links x intents) time, in numpy; memory of ten n x intents tables of doubles (5 GB a million rows at 60).
    """
    n, many = guesses.shape
    if not n or not many:
        none = Wishes(np.full(n, -1, dtype=np.int64), np.zeros((n, many)), _NOBODY, _NOBODY)
        return IntentPosterior(guesses, {}, none)
    missing = np.maximum(1 - guesses.sum(axis=1, keepdims=True), 0)
    base = guesses + (missing + 1e-6) / many
    base /= base.sum(axis=1, keepdims=True)
    share = base.mean(axis=0) + 1e-9
    rows, intents, odds = (np.asarray(part) for part in served)
    rows, intents = rows.astype(np.int64), intents.astype(np.int64)
    acts = np.zeros((n, many))
    np.add.at(acts, (rows, intents), np.log(odds))
    said = rephrases.left, rephrases.right, rephrases.forth + rephrases.back
    partitions = partitioned(n, said, near, spoken)
    told = acts + _heard(_softmax(acts + np.log(share)), share, rephrases)
    own, agreement = np.log(base), dict[float, float]()
    view = own
    if len(near[0]):
        belief = _softmax(told + _GUESS * own + (1 - _GUESS) * np.log(share))
        weight, agreement = _agreement(belief, near)
        view = own + _heard(belief, share, Links(near[0], near[1], weight, weight), _MOST)
    if absorbed is not None:
        told += _ABSORBED * _ended(absorbed)
    alone = _VIEW * view + told
    if annotated is not None:
        alone += _ANNOTATED * np.log(annotated + _UNSAID)

    def believed(translated: Floats | None, power: float = 1.0) -> IntentPosterior:
        found = wishes(partitions, acts, base, annotated, share / share.sum(), spoken, translated)
        found = replace(found, told=_tempered(found.told, power))
        score = alone.copy() if translated is None else alone + _TRANSLATED * np.log(translated + _UNSAID)
        inside = np.flatnonzero(found.of >= 0)
        of_wish = np.log(_MEMBER * found.told[inside] / share + 1 - _MEMBER)
        score[inside] = _OWN_VIEW * own[inside] + (1 - _OWN_VIEW) * np.log(share) + told[inside] + of_wish
        return IntentPosterior(_softmax(score), agreement, found)

    part, translated = _parts(partitions.labels[0]), None
    for _ in range(_PASSES):
        learnt = translate(believed(translated).probability, part) if translate else None
        if learnt is None:
            break
        translated = learnt
    return believed(translated, _NAMED)
