"""What the tokens of a locale tell: how rare they are, which of them are values, and how two texts share them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz
from rapidfuzz.process import cpdist

from schemas.normalise import normalise, words

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SPELT_ALIKE = 60.0  # fuzz.ratio, 0 to 100: above it two words may be one, misheard
FILLER_SHARE = 0.5  # of a token's formulations where it stands in a slot: from there on it is taken for a value

spelt = lru_cache(maxsize=1 << 16)(normalise)  # of slot values, which recur


@dataclass(frozen=True)
class TokenWeights:
    """Inverse formulation frequency of tokens in one locale: a shared rare token says more than a shared "the".

    Args:
        formulations: of the locale.
        counts: in how many of them each token stands.
        values: tokens that are taken for (part of) a value wherever they stand; see `value_tokens`.
    """

    formulations: int
    counts: Mapping[str, int]
    values: frozenset[str] = frozenset()

    def __call__(self, token: str) -> float:
        """Square of log (formulations / formulations with the token), as in a tf-idf product; at least 0.01."""
        return max(log((1 + self.formulations) / (1 + self.counts.get(token, 0))), 0.1) ** 2


def token_counts(texts: Iterable[str]) -> Counter[str]:
    """In how many of the normalised texts each token stands."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(set(words(text)))
    return counts


def slot_token_counts(texts: Iterable[str], values: Iterable[str | None]) -> tuple[Counter[str], Counter[str]]:
    """In how many understood texts each token stands, and in how many of them in a slot.

    Args:
        texts: normalised.
        values: the slot values of each text, parted by spaces; None where it was never understood.
    """
    there: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    for text, said in zip(texts, values, strict=True):
        if said is not None:
            tokens = set(words(text))
            there.update(tokens)
            inside.update(tokens.intersection(words(spelt(said))))
    return there, inside


def value_tokens(there: Mapping[str, int], inside: Mapping[str, int]) -> frozenset[str]:
    """Tokens in at least three understood formulations, and in a slot in at least `FILLER_SHARE` of them."""
    return frozenset(t for t, n in inside.items() if there[t] >= 3 and n >= FILLER_SHARE * there[t])


@dataclass(frozen=True)
class TokenBags:
    """The distinct tokens of each text, as numbers in a matrix: texts x the most tokens of one, padded with -1."""

    names: list[str]
    tokens: Ints
    weights: Floats  # of each token, 0 where padded

    @classmethod
    def of(cls, texts: Sequence[str], locales: Sequence[str], weights: Mapping[str, TokenWeights]) -> TokenBags:
        """The bags of normalised texts. O(tokens) time; O(texts x the most tokens of one) memory."""
        numbers: dict[str, int] = {}
        bags = [list(dict.fromkeys(words(text))) for text in texts]
        size = np.array([len(bag) for bag in bags], dtype=np.int64)
        there = np.arange(max(size.max(initial=0), 1)) < size[:, None]
        tokens, weight = np.full(there.shape, -1, dtype=np.int64), np.zeros(there.shape)
        tokens[there] = [numbers.setdefault(token, len(numbers)) for bag in bags for token in bag]
        known: dict[tuple[str, str], float] = {}
        flat = [(locale, token) for locale, bag in zip(locales, bags, strict=True) for token in bag]
        weight[there] = [known.get(key) or known.setdefault(key, weights[key[0]](key[1])) for key in flat]
        return cls(list(numbers), tokens, weight)

    def compare(self, left: Ints, right: Ints, at_once: int = 1 << 22) -> tuple[Floats, NDArray[np.bool_]]:
        """Of each pair of texts (row numbers): the overlap, and whether a word or two were exchanged.

        The overlap is the weight of the shared tokens over the weight of the lighter bag's tokens. Exchanged: one or
        two words for others that are spelt otherwise, in a sentence that stays ("seven" -> "eight").

        O(pairs x tokens squared) time; `at_once` bounds the matrix cells held at a time.
        """
        shared, swapped = np.zeros(len(left)), np.zeros(len(left), dtype=bool)
        size = (self.tokens >= 0).sum(axis=1)
        width = np.maximum(size[left], size[right])
        order, start = np.argsort(width, kind="stable"), 0  # so that one long text does not widen every comparison
        while start < len(order):
            widest = int(width[order[min(start + 8192, len(order)) - 1]])
            part = order[start : start + min(max(at_once // max(widest, 1) ** 2, 1), 8192)]
            shared[part], swapped[part] = self._compare(left[part], right[part], widest)
            start += len(part)
        return shared, swapped

    def _compare(self, left: Ints, right: Ints, width: int) -> tuple[Floats, NDArray[np.bool_]]:
        one, other = self.tokens[left, :width], self.tokens[right, :width]
        weight, heft = self.weights[left, :width], self.weights[right, :width]
        equal = (one[:, :, None] == other[:, None, :]) & (one >= 0)[:, :, None]
        kept, known = equal.any(axis=2), equal.any(axis=1)
        lighter = np.minimum(_total(weight), _total(heft))
        overlap = np.divide(_total(weight * kept), lighter, out=np.zeros(len(left)), where=lighter > 0)
        gone, come = (one >= 0) & ~kept, (other >= 0) & ~known
        lost, new = gone.sum(axis=1), come.sum(axis=1)
        few = (lost > 0) & (lost <= 2) & (new > 0) & (new <= 2) & (kept.sum(axis=1) >= 2)
        rows = np.flatnonzero(few)
        changed = [
            [
                " ".join(self.names[t] for t in tokens[mask])
                for tokens, mask in zip(side[rows], which[rows], strict=True)
            ]
            for side, which in ((one, gone), (other, come))
        ]
        few[rows] = cpdist(changed[0], changed[1], scorer=fuzz.ratio, dtype=np.float64) < SPELT_ALIKE
        return overlap, few


def _total(weights: Floats) -> Floats:
    """Row sums from left to right: numpy's own order depends on the width, and with it the last digit."""
    total = np.zeros(len(weights))
    for column in weights.T:
        total += column
    return total
