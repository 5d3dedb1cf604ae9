"""Wishes: communities of wordings that users said instead of each other.

Who says it again means the same, so wordings that many users chose instead of each other hang together, and wordings
of another wish seldom hang on them. On a simulated log of 14,000 users (sw-KE, 300,000 such pairs, 98% of them of one
intent) communities of 50 wordings and more were of one intent in 94% of their wordings, whether the assistant
understood them or not. So what users did anywhere in a community speaks for all of it, which one step from
wording to wording (`mining.intent_posterior`) cannot bring along: most wordings of a wish that is misunderstood lead
only to others that were misunderstood too.

Leiden: Traag, Waltman & van Eck, "From Louvain to Leiden", Scientific Reports 2019, with modularity, by
graspologic-native. Clusters of reformulation graphs: Ponnusamy et al. 2020, "Feedback-based self-learning in
large-scale conversational AI agents", AAAI (there an absorbing Markov chain leads to one rewrite).
"""

from __future__ import annotations

import numpy as np

from mining.neighbours import Floats, Ints

_RESOLUTION = 1.0  # 20 gives purer communities that know less
_SEED = 17  # of Leiden's order: the same links make the same communities
_POWER = 0.5  # of what a community's users did, added up: its wordings are not as many independent witnesses


def communities(rows: int, left: Ints, right: Ints, weight: Floats) -> Ints:
    """The community of each row, numbered from 0; a row without links is one by itself.

    Args:
        rows: how many rows there are.
        left, right: row numbers of linked rows, each pair once.
        weight: of each link, positive.

    Cost: near linear in the links, 6 s for 300,000 on one core; some 300 bytes a link, as strings.
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
            seed=_SEED,
            trials=1,
        )
        label[np.fromiter(map(int, found), np.int64, len(found))] = np.fromiter(found.values(), np.int64, len(found))
    alone = label < 0
    label[alone] = label.max(initial=-1) + 1 + np.arange(alone.sum())
    return np.asarray(np.unique(label, return_inverse=True)[1], dtype=np.int64)


def told_by_others(label: Ints, acts: Floats, share: Floats) -> Floats:
    """What users did in the rest of each row's community, as a belief about its intent: n x intents, rows summing to 1.

    Args:
        label: community of each row.
        acts: n x intents, log odds by what users did with what each row was answered with.
        share: of each intent beforehand, summing to 1.

    A row's own acts are left out: they count for it already.
    """
    total = np.zeros((int(label.max(initial=-1)) + 1, acts.shape[1]))
    np.add.at(total, label, acts)
    score = _POWER * (total[label] - acts) + np.log(share)
    powers = np.exp(score - score.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
