"""What the annotated utterances nearest to a wording say of its intent, in any language that the encoder knows.

k nearest neighbours, weighted by a softmax of cosines (Wu et al. 2018, "Unsupervised Feature Learning via
Non-Parametric Instance Discrimination", section 3.4). Neither users nor champions have a part in it, so it errs where
they are right and is right where they err.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mining.neighbours import Floats, Ints, Vectors, between

_NEAREST = 30
_SHARPNESS = 20.0  # of the softmax: a neighbour 0.05 further counts a third


def told_by_gold(vectors: Vectors, gold: Vectors | NDArray[np.int16], intents: Ints, many: int) -> Floats:
    """Probabilities of intents by the nearest annotated utterances: n x many, rows summing to 1 (0 without any).

    Args:
        vectors: unit vectors of wordings, n x dim.
        gold: unit vectors of annotated utterances, m x dim, in the same space; may be in fixed point (`fixed_point`).
        intents: of each of them, a number below `many`.

    Cost: O(n x m x dim) time, exact; 8 x n x many bytes beside both in fixed point.
    """
    near, cosine = between(vectors, gold, min(_NEAREST, len(gold)), exact_below=2**31)
    told = np.zeros((len(vectors), many))
    if near.size:
        weight = np.where(near >= 0, np.exp(_SHARPNESS * (cosine - 1)), 0.0)
        row = np.repeat(np.arange(len(near)), near.shape[1])
        np.add.at(told, (row, intents[near].ravel()), weight.ravel())
        told /= np.maximum(told.sum(axis=1, keepdims=True), 1e-300)
    return told
