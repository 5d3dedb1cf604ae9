"""What the tokens of a locale tell: how rare they are, which of them are values, and how two texts share them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz
from rapidfuzz.process import cpdist

from schemas.normalise import normalise, words

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SPELT_OTHERWISE = 50.0  # fuzz.ratio, 0 to 100: an unknown word that resembles a value may be that value, misheard
RARE = 3  # formulations; a word that fewer have said may be a value misheard, a word of the language is what it is
SPELT_ALIKE = 60.0  # fuzz.ratio, 0 to 100: above it two words may be one, misheard

spelt = lru_cache(maxsize=1 << 16)(normalise)  # of slot values, which recur


@dataclass(frozen=True)
class TokenWeights:
    """Inverse formulation frequency of tokens in one locale: a shared rare token says more than a shared "the".

    Args:
        formulations: of the locale.
        counts: in how many of them each token stands.
        values: tokens that are taken for (part of) a value wherever they stand; see `mining.value_words`.
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


class Compared(NamedTuple):
    """Of pairs of texts, the one and the other."""

    overlap: Floats  # weight of the shared tokens over the weight of the lighter bag's tokens
    swapped: NDArray[np.bool_]  # a word or two are exchanged for others that are spelt otherwise
    values: Ints  # pairs x 2: the values in each
    missing: Ints  # pairs x 2: those of them that the other has not, nor any rare word that resembles them


@dataclass(frozen=True)
class TokenBags:
    """The distinct tokens of each text, as numbers in a matrix: texts x the most tokens of one, padded with -1.

    A token has a number in each locale, so texts of two locales share none.
    """

    names: list[str]
    tokens: NDArray[np.int32]
    weights: Floats  # of each token, 0 where padded
    values: NDArray[np.bool_]  # tokens that are taken for values
    rare: NDArray[np.bool_]  # tokens that few have said: a value misheard, perhaps

    @classmethod
    def of(cls, texts: Sequence[str], locales: Sequence[str], weights: Mapping[str, TokenWeights]) -> TokenBags:
        """The bags of normalised texts. O(tokens) time; O(texts x the most tokens of one) memory."""
        numbers: dict[str, dict[str, int]] = {locale: {} for locale in weights}
        names: list[str] = []
        flat: list[int] = []
        facts: list[tuple[float, bool, bool]] = []
        size = np.zeros(len(texts), dtype=np.int64)
        for row, (text, locale) in enumerate(zip(texts, locales, strict=True)):
            known, start = numbers[locale], len(flat)
            for token in dict.fromkeys(words(text)):
                number = known.get(token)
                if number is None:
                    known[token] = number = len(names)
                    names.append(token)
                    weigh = weights[locale]
                    facts.append((weigh(token), token in weigh.values, weigh.counts.get(token, 0) < RARE))
                flat.append(number)
            size[row] = len(flat) - start
        there = np.arange(max(size.max(initial=0), 1)) < size[:, None]
        tokens = np.full(there.shape, -1, dtype=np.int32)
        tokens[there] = flat
        weight, value, rare = (np.array(column) for column in zip(*facts, strict=True)) if facts else np.zeros((3, 1))
        return cls(names, tokens, weight[tokens] * there, (value[tokens] != 0) & there, (rare[tokens] != 0) & there)

    def compare(self, left: Ints, right: Ints, at_once: int = 1 << 22) -> Compared:
        """Pairs of texts, given by their row numbers.

        Exchanged are one or two words for others, in a sentence that stays ("seven" -> "eight").

        O(pairs x tokens squared) time; `at_once` bounds the matrix cells held at a time.
        """
        pairs = len(left)
        made = Compared(np.zeros(pairs), np.zeros(pairs, bool), np.zeros((pairs, 2), int), np.zeros((pairs, 2), int))
        size = (self.tokens >= 0).sum(axis=1)
        width = np.maximum(size[left], size[right])
        order, start = np.argsort(width, kind="stable"), 0  # so that one long text does not widen every comparison
        while start < len(order):
            widest = int(width[order[min(start + 8192, len(order)) - 1]])
            part = order[start : start + min(max(at_once // max(widest, 1) ** 2, 1), 8192)]
            for whole, found in zip(made, self._compare(left[part], right[part], widest), strict=True):
                whole[part] = found
            start += len(part)
        return made

    def _compare(self, left: Ints, right: Ints, width: int) -> Compared:
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
        values = [self.values[side, :width] for side in (left, right)]
        rare = [self.rare[side, :width] for side in (left, right)]
        missing = [self._missing(one, values[0] & gone, other, rare[1] & come),
                   self._missing(other, values[1] & come, one, rare[0] & gone)]  # fmt: skip
        there = np.stack([value.sum(axis=1) for value in values], axis=1)
        return Compared(overlap, few, there, np.stack(missing, axis=1))

    def _missing(
        self, one: NDArray[np.int32], values: NDArray[np.bool_], other: NDArray[np.int32], unknown: NDArray[np.bool_]
    ) -> Ints:
        """How many of the marked values of each row none of the marked words of the other side resembles."""
        missing = np.asarray(values.sum(axis=1), dtype=np.int64)
        for row in np.flatnonzero((missing > 0) & unknown.any(axis=1)).tolist():
            words_ = [self.names[t] for t in other[row][unknown[row]]]
            for value in one[row][values[row]]:
                name = self.names[value]
                missing[row] -= any(fuzz.ratio(name, word) >= SPELT_OTHERWISE for word in words_)
        return missing


def _total(weights: Floats) -> Floats:
    """Row sums from left to right: numpy's own order depends on the width, and with it the last digit."""
    total = np.zeros(len(weights))
    for column in weights.T:
        total += column
    return total
