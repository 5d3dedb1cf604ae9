"""A label model to compare the posterior with: how reliable is each group of sources, and what follows for a label.

Sources that err together are pooled before they are treated as independent: what users did (accepted turns,
rephrases), what other texts say (cluster mates), what translations say. Each group is a witness of one reliability;
what it says counts for no more than a few votes, since a deterministic model errs the same way for every user of one
wording.

Source: Dawid and Skene 1979, in its one-coin form (Raykar et al. 2010; Li and Yu 2014): with sixty intents and few
votes a full confusion matrix cannot be learnt. Fitted by EM (Dempster et al. 1977) under a Beta prior, since at a
launch "better than chance" is no safe assumption.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Votes = Mapping[str, Mapping[str, float]]  # group -> intent -> votes

_PRIOR = (6.0, 4.0)  # right and wrong votes that a group's reliability begins with
_MOST = 3.0  # votes of one group on one item that count
_NEAR_ONE = 0.99


@dataclass(frozen=True)
class LabelModel:
    """Fitted reliabilities by group, and the intents' shares."""

    reliability: Mapping[str, float]
    shares: Mapping[str, float]

    def label(self, votes: Votes) -> list[tuple[str, float]]:
        """The distribution over the intents that somebody voted for, best first; the rest of the mass is on others.

        O(votes).
        """
        named = sorted({intent for said in votes.values() for intent in said})
        if not named:
            return []
        others = max(len(self.shares) - 1, 1)
        scores = np.zeros(len(named) + 1)  # the last: something that nobody named
        scores[:-1] = [np.log(self.shares.get(intent, 1e-6)) for intent in named]
        scores[-1] = np.log(max(1 - sum(self.shares.get(intent, 0.0) for intent in named), 1e-6))
        for group, said in votes.items():
            whole = sum(said.values())
            if whole <= 0:
                continue
            scale = min(1.0, _MOST / whole)
            right = self.reliability.get(group, 0.5)
            wrong = (1 - right) / others
            for k, intent in enumerate([*named, None]):
                agreed = said.get(intent, 0.0) if intent is not None else 0.0
                scores[k] += scale * (agreed * np.log(right) + (whole - agreed) * np.log(wrong))
        likely = np.exp(scores - scores.max())
        likely /= likely.sum()
        found = [(intent, round(float(p), 9)) for intent, p in zip(named, likely[:-1], strict=True)]
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))


def fit_label_model(items: Sequence[Votes], *, iterations: int = 20) -> LabelModel:
    """Fit reliabilities and shares by EM.

    Args:
        items: votes on each formulation, sources pooled into groups.
        iterations: of EM.

    Cost: O(iterations x votes) time.
    """
    intents = sorted({intent for votes in items for said in votes.values() for intent in said})
    groups = sorted({group for votes in items for group in votes})
    model = LabelModel(
        {group: _PRIOR[0] / sum(_PRIOR) for group in groups}, {i: 1 / max(len(intents), 1) for i in intents}
    )
    for _ in range(iterations):
        right = dict.fromkeys(groups, _PRIOR[0])
        whole = dict.fromkeys(groups, sum(_PRIOR))
        shares = dict.fromkeys(intents, 1.0)
        for votes in items:
            believed = dict(model.label(votes))
            for intent, p in believed.items():
                shares[intent] += p
            for group, said in votes.items():
                total = sum(said.values())
                if total <= 0:
                    continue
                scale = min(1.0, _MOST / total)
                right[group] += scale * sum(n * believed.get(intent, 0.0) for intent, n in said.items())
                whole[group] += scale * total
        mass = sum(shares.values())
        model = LabelModel(
            {group: min(right[group] / whole[group], _NEAR_ONE) for group in groups},
            {intent: n / mass for intent, n in shares.items()},
        )
    return model
