"""Wishes: communities of wordings that mean one thing, and what each of them means.

Who says it again means the same, and what is nearest by embedding mostly does. On simulated logs of 14,000 users
(sw-KE, with and without seed labels) 99% of the pairs of wordings that users said instead of each other are of one
intent, and as many of the closer half of near pairs. So the graph of both falls into communities of one intent (94 to
97% of their wordings), whether the assistant understands them or not. What a community means is asked of all it has: a
champion that is right on one wording in five is right oftener than chance on a hundred of them, once what it says
everywhere is taken off, and what served somebody anywhere in it speaks for all of it. Where the words of other wishes
are known by their translations, they tell of wishes that no model has understood yet.

Leiden: Traag, Waltman & van Eck, "From Louvain to Leiden", Scientific Reports 2019, with modularity, by
graspologic-native. One partition is as good as the next and a few wordings more give another, so what is told is the
mean over several: Lancichinetti & Fortunato 2012, "Consensus clustering in complex networks". Clusters of
reformulation graphs: Ponnusamy et al. 2020, "Feedback-based self-learning in large-scale conversational AI agents",
AAAI (there an absorbing Markov chain leads to one rewrite). Naming a cluster by what is said in it oftener than
elsewhere: Manning, Raghavan & Schuetze 2008, "Introduction to Information Retrieval", section 17.7 (differential
cluster labelling).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.neighbours import Floats, Ints

_RESOLUTION = 5.0  # of modularity: 1 joins wishes where much is served, 20 leaves communities too small to be named
_PARTITIONS = 5  # that are averaged; the seed of each is its number
_NEAR = 0.35  # weight of a near pair; a rephrase of all users of both of its wordings weighs 1.94
_LARGE = 20  # wordings from which a community is named
_OF_ONE = 1.0  # wordings of one user that count in full in one community
# Powers, chosen on four logs: of how frequent an intent is, of what the champion says here oftener than elsewhere, of
# what near annotated utterances and words' translations say so, of the share of answers that users took.
_FREQUENT, _GUESSED, _ANNOTATED, _TRANSLATED, _SERVED = 0.65, 1.0, 0.8, 3.0, 4.0
_UNSAID = 0.003  # what near annotated utterances, and translations, leave to any intent


@dataclass(frozen=True)
class Wishes:
    """The communities that are large enough to be named, and what rows are told by them.

    Args:
        of: the community of each row in the first partition, -1 where it is in none or most partitions have it in none.
        told: n x intents, what the row's communities mean, the mean over partitions; zeros where `of` is -1.
        wordings, users: how many each community has; users as far as they were given.
    """

    of: Ints
    told: Floats
    wordings: Ints
    users: Ints


def communities(rows: int, left: Ints, right: Ints, weight: Floats, seed: int = 0) -> Ints:
    """The community of each row, numbered from 0; a row without links is one by itself.

    Args:
        rows: how many rows there are.
        left, right: row numbers of linked rows; of a pair that is there twice the weights add up.
        weight: of each link, positive.
        seed: of Leiden's order.

    Cost: near linear in the links, 6 s for 650,000 on one core; some 300 bytes a link, as strings.
    """
    import graspologic_native

    label = np.full(rows, -1, dtype=np.int64)
    if len(left):
        order = np.lexsort((right, left))  # Leiden's outcome depends on the order of its edges
        ends = zip(left[order].tolist(), right[order].tolist(), weight[order].tolist(), strict=True)
        _, found = graspologic_native.leiden(
            edges=[(str(one), str(other), w) for one, other, w in ends],
            starting_communities=None,
            resolution=_RESOLUTION,
            randomness=0.001,
            iterations=2,
            use_modularity=True,
            seed=seed,
            trials=1,
        )
        label[np.fromiter(map(int, found), np.int64, len(found))] = np.fromiter(found.values(), np.int64, len(found))
    alone = label < 0
    label[alone] = label.max(initial=-1) + 1 + np.arange(alone.sum())
    return np.asarray(np.unique(label, return_inverse=True)[1], dtype=np.int64)


def voices(label: Ints, spoken: tuple[Ints, Ints]) -> Floats:
    """What each row counts for in its community, 0 to 1: the mean over those who said it, each of whom counts in full
    for `_OF_ONE` rows of a community and is divided among more, so that nobody owns one by saying many things.

    Args:
        label: community of each row.
        spoken: row and user number, each pair once; rows of which nobody is given count in full.
    """
    row, user = spoken
    if not len(row):
        return np.ones(len(label))
    pair = label[row] * (int(user.max()) + 1) + user
    _, which, many = np.unique(pair, return_inverse=True, return_counts=True)
    share = np.minimum(1.0, _OF_ONE / many[which])
    said = np.bincount(row, minlength=len(label))
    total = np.bincount(row, weights=share, minlength=len(label))
    return np.where(said > 0, total / np.maximum(said, 1), 1.0)


def _summed(label: Ints, rows: Floats) -> Floats:
    total = np.zeros((int(label.max(initial=-1)) + 1, rows.shape[1]))
    np.add.at(total, label, rows)
    return total


def named(
    label: Ints,
    voice: Floats,
    acts: Floats,
    guesses: Floats,
    annotated: Floats | None,
    share: Floats,
    translated: Floats | None = None,
) -> Floats:
    """What each community means: communities x intents, rows summing to 1.

    Args:
        label: community of each row, numbered from 0.
        voice: what each row counts for (`voices`).
        acts: n x intents, log odds by what users did with what each row was answered with.
        guesses: n x intents, the champion's probabilities, rows summing to 1.
        annotated: n x intents, what near annotated utterances say; rows of zeros, and None, say nothing.
        share: of each intent in the guesses of all rows, summing to 1.
        translated: n x intents, what the translations of each row's words say (`mining.translated_intents`); likewise.

    Cost: O(n x intents) time, memory of one such table.
    """
    size = np.bincount(label, weights=voice)[:, None]
    guessed = np.log((_summed(label, guesses * voice[:, None]) + 1) / (share * size + 1))
    served = _summed(label, np.maximum(acts, 0) * voice[:, None])
    refused = _summed(label, np.maximum(-acts, 0) * voice[:, None])
    score = _FREQUENT * np.log(share) + _GUESSED * guessed + _SERVED * served / (served + refused + 1)
    for told, power in ((annotated, _ANNOTATED), (translated, _TRANSLATED)):
        if told is None:
            continue
        near = _summed(label, told * voice[:, None])
        usual = (near.sum(axis=0) + 1) / (near.sum() + near.shape[1])
        near = (near + 1e-3 * usual) / (near.sum(axis=1, keepdims=True) + 1e-3)
        score += power * np.log((near + _UNSAID) / (usual + _UNSAID))
    powers = np.exp(score - score.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _large(label: Ints) -> tuple[Ints, Ints]:
    """Communities of at least `_LARGE` rows, and each row's number among them (-1)."""
    size = np.bincount(label, minlength=1)
    large = np.flatnonzero(size >= _LARGE)
    number = np.full(len(size), -1, dtype=np.int64)
    number[large] = np.arange(len(large))
    return large, number[label]


@dataclass(frozen=True)
class Partitions:
    """Several partitions of one locale's wordings into communities.

    Args:
        labels: community of each row, of each partition.
        heard: rows that somebody said who is heard.
        close: left and right of the near pairs that count.
    """

    labels: tuple[Ints, ...]
    heard: NDArray[np.bool_]
    close: tuple[Ints, Ints]


def partitioned(
    rows: int, rephrases: tuple[Ints, Ints, Floats], near: tuple[Ints, Ints, Floats], spoken: tuple[Ints, Ints]
) -> Partitions:
    """The communities of one locale.

    Args:
        rephrases: left, right and weight of wordings that users said instead of each other.
        near: left, right and cosine of near wordings; the closer half of them counts, whatever the encoder's scale.
        spoken: row and user number, as for `voices`. Rows that nobody said who is heard bend no community. Where it is
            empty, everybody is heard.

    Cost: five times that of `communities`.
    """
    heard = np.ones(rows, dtype=bool)
    if len(spoken[0]):
        heard = np.bincount(spoken[0], minlength=rows) > 0
    left, right, cosine = near
    among = heard[left] & heard[right]
    close = cosine >= np.median(cosine[among] if among.any() else cosine) if len(cosine) else among
    said, alike = heard[rephrases[0]] & heard[rephrases[1]], close & among
    ends = [np.concatenate([rephrases[i][said], near[i][alike]]) for i in (0, 1)]
    weight = np.concatenate([rephrases[2][said], np.full(int(alike.sum()), _NEAR)])
    labels = tuple(communities(rows, ends[0], ends[1], weight, seed) for seed in range(_PARTITIONS))
    return Partitions(labels, heard, (left[close], right[close]))


def wishes(
    partitions: Partitions,
    acts: Floats,
    guesses: Floats,
    annotated: Floats | None,
    share: Floats,
    spoken: tuple[Ints, Ints],
    translated: Floats | None = None,
) -> Wishes:
    """What the communities of one locale mean. Rows that nobody said who is heard are told by the near ones that are in
    one.

    Args:
        acts, guesses, annotated, share, translated: as for `named`.
        spoken: row and user number, as for `voices`.

    Cost: five times that of `named`; memory of two n x intents tables.
    """
    told, times = np.zeros_like(acts), np.zeros(len(acts))
    for number, label in enumerate(partitions.labels):
        large, of_partition = _large(label)
        inside = of_partition >= 0
        if len(large):
            belief = named(label, voices(label, spoken), acts, guesses, annotated, share, translated)[large]
            told[inside] += belief[of_partition[inside]]
        times += inside
        if not number:
            of, many = of_partition, len(large)
    of = np.where(2 * times >= len(partitions.labels), of, -1)
    told[of >= 0] /= times[of >= 0, None]
    told[of < 0] = 0
    _join(of, told, partitions.heard, *partitions.close)
    row, user = spoken
    of_one = of[row] >= 0
    pairs = np.unique(np.stack([of[row[of_one]], user[of_one]]), axis=1)
    return Wishes(of, told, *(np.bincount(who[who >= 0], minlength=many) for who in (of, pairs[0])))


def _join(of: Ints, told: Floats, heard: NDArray[np.bool_], left: Ints, right: Ints) -> None:
    """Tell rows that nobody said who is heard what the close ones mean that are in a community: the mean, and the
    community of the first of them (in place)."""
    row, other = np.concatenate([left, right]), np.concatenate([right, left])
    joins = ~heard[row] & heard[other] & (of[other] >= 0)
    row, other = row[joins], other[joins]
    order = np.lexsort((other, row))
    row, other = row[order], other[order]
    rows, first = np.unique(row, return_index=True)
    np.add.at(told, row, told[other])
    told[rows] /= told[rows].sum(axis=1, keepdims=True)
    of[rows] = of[other[first]]
