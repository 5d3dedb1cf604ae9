"""Consistency between two wordings of one wish: the model should say the same of both, whatever it is.

A user who says a thing again in other words means the same, whether or not either wording has a label. So the intent
distributions of both are drawn together by their symmetric Kullback-Leibler divergence.

Sources: Xie et al. 2020, "Unsupervised Data Augmentation for Consistency Training" (UDA): divergence between an
unlabelled text and its paraphrase beside the labelled loss; here the paraphrase is the user's own. Jiang et al. 2020,
"SMART: Robust and Efficient Fine-Tuning for Pre-trained Natural Language Models through Principled Regularized
Optimization": the symmetrised divergence, there between a text and its perturbed embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from retrain.batches import Lexicon
from retrain.bio import tokens_of
from retrain.data import Pair
from retrain.model import Network

PAIRS_A_ROW = 0.5  # pairs of a step, at most, for each of its rows: bounds the time


def symmetric_divergence(left: Tensor, right: Tensor) -> Tensor:
    """Mean of KL(p || q) and KL(q || p), in nats, of the distributions behind two sets of logits: (P, I), (P, I) ->
    (P,). 0 where they agree."""
    p, q = log_softmax(left, -1), log_softmax(right, -1)
    return ((p.exp() - q.exp()) * (p - q)).sum(-1) / 2


def consistency_losses(left: Tensor, right: Tensor, left_weights: Tensor, right_weights: Tensor) -> Tensor:
    """The divergence of each pair, as often as the weights of its wordings say; each wording moves by its own weight
    and takes the other as it is. With equal weights the gradient is that of the divergence times the weight.

    Shapes: (P, I), (P, I), (P,), (P,) -> (P,).
    """
    moved = left_weights * symmetric_divergence(left, right.detach())
    return moved + right_weights * symmetric_divergence(left.detach(), right)


class EncodedPairs:
    """Pairs as indices of a lexicon, which their words are added to; given out in portions."""

    def __init__(self, pairs: Sequence[Pair], lexicon: Lexicon) -> None:
        texts = [pair.left for pair in pairs] + [pair.right for pair in pairs]
        words = [[token.text for token in tokens_of(text)] for text in texts]
        lexicon.add([word for said in words for word in said])
        coded = [lexicon.indices(said) for said in words]
        self._lexicon, self._left, self._right = lexicon, coded[: len(pairs)], coded[len(pairs) :]
        self._weights = torch.tensor([(p.left_weight, p.right_weight) for p in pairs], dtype=torch.float32)

    def portions(self, steps: int, most: int, random: np.random.Generator) -> Iterator[np.ndarray]:
        """An epoch's pairs in a drawn order, as evenly over its steps as they go; at most `most` a step."""
        order = random.permutation(len(self._left))[: steps * most]
        yield from np.array_split(order, steps)

    def losses(self, network: Network, chosen: np.ndarray, dropout: Tensor | None) -> Tensor:
        """The losses of the chosen pairs, (P,), of one pass over both their wordings."""
        said = [side[i] for side in (self._left, self._right) for i in chosen.tolist()]
        logits, _ = network(self._lexicon.batch(said), dropout)
        left, right = logits.chunk(2)
        return consistency_losses(left, right, *self._weights[torch.from_numpy(chosen)].unbind(1))
