"""Translations that nobody gave: which words of the launch language say which words of the mature one, from wordings
whose intent is believed.

An annotated utterance of the mature language and a wording of the launch language that mean the same intent may well
be translations of each other; which are, nobody knows. So which utterance a wording says is a hidden variable, beside
which word says which: a wording is made from one of the utterances of its intent, chosen at random, word by word as in
IBM Model 1. Expectation-maximisation finds both: words of an intent meet words of that intent, words that every intent
has explain each other, and once "tomorrow" is known the wordings that have it meet the utterances that have it.
Parallel sentences, where there are any, are pairs that are known; words that are spelt alike may be the same. It is
done in both directions, and what both agree on is kept.

Sources: Brown et al. 1993, "The Mathematics of Statistical Machine Translation" (Model 1); Liang et al. 2006,
"Alignment by Agreement". Lexicons from text that is not parallel: Rapp 1995, "Identifying Word Translations in
Non-Parallel Texts"; Munteanu & Marcu 2005, "Improving Machine Translation Performance by Exploiting Non-Parallel
Corpora". Here intents stand in the place of topics and dates.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
_Links = tuple[Ints, Ints, Ints]  # template word, generated word, and the place that they explain

_ITERATIONS = 8
_FIRST = 5  # iterations on what is known alone, before wordings are looked at
_SOFTLY, _STEP = 0.3, 0.1  # exponent of what pairs utterances at first, and by how much it grows: wrong pairs stick
_PARALLEL = 5.0  # what a known pair of sentences counts for, in wordings
_ALIKE = 1.0  # what a word that is spelt alike in both languages counts for, in times that one says the other
_UNSEEN = 0.1  # share of a word's first sightings that stand for words it has not been seen with
LENGTHS = 0.4  # standard deviation of the difference of both lengths' logarithms
_MOST_WORDS = 6_000  # of each language, the most frequent: the tables are dense
_MOST_LENGTH = 40  # words of an utterance that count
_LEAST = 0.1  # geometric mean of both directions' probabilities below which words are no translations
_MOST = 4  # translations kept of a word, the likeliest
_TINY = 1e-12


@dataclass(frozen=True)
class Worded:
    """An utterance in words, with the intent that it is believed to have and what it counts for."""

    words: tuple[str, ...]
    intent: str
    weight: float = 1.0


@dataclass(frozen=True)
class Translations:
    """What words of the mature language are in the launch language: of each its translations with how far both
    directions agree on them, 0 to 1, the likeliest first."""

    entries: Mapping[str, tuple[tuple[str, float], ...]]

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def back(self) -> dict[str, tuple[tuple[str, float], ...]]:
        """The same from words of the launch language."""
        found: dict[str, list[tuple[str, float]]] = defaultdict(list)
        for word, ways in self.entries.items():
            for other, agreed in ways:
                found[other].append((word, agreed))
        return {other: tuple(sorted(ways, key=lambda way: (-way[1], way[0]))) for other, ways in sorted(found.items())}


@dataclass(frozen=True)
class Side:
    """The utterances of one language: N of them, V words of which the first is none."""

    names: tuple[str, ...]
    bags: sparse.csr_array  # (N, V), without the word that is none
    lengths: Floats
    weights: Floats
    rows: Mapping[str, Ints]  # of each intent

    @cached_property
    def usual(self) -> Floats:
        """How often each word is said, as shares; every word a little, and none never."""
        counts = np.asarray(self.bags.sum(axis=0), np.float32).ravel() + np.float32(0.1)
        counts[0] = 0
        return np.asarray(counts / counts.sum(), np.float32)

    def shares(self, of: Ints) -> Floats:
        """What each word has of an utterance, beside the word that is none: rows summing to 1."""
        words = self.bags[of].toarray()
        words[:, 0] = 1
        return np.asarray(words / words.sum(axis=1, keepdims=True), np.float32)

    @classmethod
    def of(cls, said: Sequence[Worded], others: Iterable[Sequence[str]]) -> Side:
        """Args: others: sentences whose words are known as well, after those of the utterances."""
        counted = Counter(word for one in said for word in one.words)
        beside = Counter(word for words in others for word in words if word not in counted)
        ranked = sorted(counted, key=lambda w: (-counted[w], w)) + sorted(beside, key=lambda w: (-beside[w], w))
        names = ("", *ranked[:_MOST_WORDS])
        number = {word: i for i, word in enumerate(names)}
        row, column = [], []
        by_intent: dict[str, list[int]] = defaultdict(list)
        for i, one in enumerate(said):
            by_intent[one.intent].append(i)
            for word in one.words[:_MOST_LENGTH]:
                if word in number:
                    row.append(i)
                    column.append(number[word])
        bags = sparse.csr_array((np.ones(len(row), np.float32), (row, column)), shape=(len(said), len(names)))
        lengths = np.array([min(max(len(one.words), 1), _MOST_LENGTH) for one in said], np.float32)
        weights = np.array([one.weight for one in said], np.float32)
        return cls(names, bags, lengths, weights, {k: np.array(v, np.int64) for k, v in sorted(by_intent.items())})


def learn_translations(
    mature: Sequence[Worded], launch: Sequence[Worded], parallel: Sequence[tuple[Sequence[str], Sequence[str]]] = ()
) -> Translations:
    """Learn which words say which.

    Args:
        mature: annotated utterances of the mature language.
        launch: wordings of the launch language with the intents that are believed.
        parallel: (words of the mature language, words of the launch language) of sentences that say the same.

    Cost: O(intents x utterances x wordings of each x words) time in matrix products: 4,000 utterances and 4,000
    wordings take 6 s of one core, 20,000 wordings half a minute; memory of four tables of `_MOST_WORDS` squared
    """
    known = shortened(parallel)
    sources, targets = Side.of(mature, (one for one, _ in known)), Side.of(launch, (other for _, other in known))
    if len(sources.names) == 1 or len(targets.names) == 1:
        return Translations({})
    forth = said_as(sources, targets, known)
    back = said_as(targets, sources, [(other, one) for one, other in known])
    agreed = np.sqrt(forth[1:, 1:] * back[1:, 1:].T)
    entries = {}
    for i in np.argsort(np.array(sources.names[1:], dtype=object)).tolist():
        best = sorted(
            ((targets.names[1 + j], round(float(agreed[i, j]), 4)) for j in np.flatnonzero(agreed[i] >= _LEAST)),
            key=lambda way: (-way[1], way[0]),
        )
        if best:
            entries[sources.names[1 + i]] = tuple(best[:_MOST])
    return Translations(entries)


def shortened(parallel: Iterable[tuple[Sequence[str], Sequence[str]]]) -> list[tuple[Sequence[str], Sequence[str]]]:
    """Pairs of sentences as far as they are looked at, without empty ones."""
    return [(one[:_MOST_LENGTH], other[:_MOST_LENGTH]) for one, other in parallel if one and other]


def said_as(templates: Side, made: Side, known: Sequence[tuple[Sequence[str], Sequence[str]]]) -> Floats:
    """Expected share of each template word's sayings that each made word has, (V, V'); row 0 says nothing of a
    template. The half of `learn_translations` that is one direction, with half its cost."""
    shape = (len(templates.names), len(made.names))
    usual = made.usual
    links = _links(known, templates.names, made.names)
    alike = _alike(templates.names, made.names)
    said = np.tile(usual, (shape[0], 1))
    for _ in range(_FIRST):
        said = _shares(_told(said, links, alike), usual)
    for iteration in range(_ITERATIONS):
        counts = _told(said, links, alike)
        for intent in sorted(set(templates.rows) & set(made.rows)):
            expect(said, counts, templates, made, intent, min(1.0, _SOFTLY + _STEP * iteration))
        said = _shares(counts, usual)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), _TINY))


def expect(said: Floats, counts: Floats, templates: Side, made: Side, intent: str, power: float) -> None:
    """Add to `counts` how often each template word is expected to be said by each made word in one intent.

    Args:
        said: (V, V') probability that a template word is said so.
        power: exponent of the likelihood that an utterance was made from a template.
    """
    of, here = templates.rows[intent], made.rows[intent]
    bags, texts = templates.bags[of], made.bags[here]
    rows = np.concatenate([[0], np.unique(bags.indices)])  # the word that is none stands in every template
    columns = np.unique(texts.indices)
    words = bags[:, rows].toarray()
    words[:, 0] = 1
    words /= words.sum(axis=1, keepdims=True)
    texts = texts[:, columns]
    block = said[np.ix_(rows, columns)]
    likely = np.maximum(words @ block, np.float32(_TINY))  # of each made word under each template
    score = texts @ np.log(likely).T
    away = np.log(made.lengths[here])[:, None] - np.log(templates.lengths[of])[None, :]
    score = power * (score - 0.5 * (away / LENGTHS) ** 2)
    pair = np.exp(score - score.max(axis=1, keepdims=True))
    pair *= made.weights[here][:, None] / pair.sum(axis=1, keepdims=True)
    counts[np.ix_(rows, columns)] += block * (words.T @ ((texts.T @ pair).T / likely))


def _shares(counts: Floats, usual: Floats) -> Floats:
    """Probabilities from expected counts: what a word has not been seen with has the share of its first sightings."""
    first = np.maximum(_UNSEEN * np.minimum(counts, 1).sum(axis=1, keepdims=True), 1)
    return np.asarray((counts + first * usual) / (counts.sum(axis=1, keepdims=True) + first), np.float32)


def _told(said: Floats, links: _Links, alike: tuple[Ints, Ints]) -> Floats:
    """Expected counts of what is known: parallel sentences, and words that are spelt alike."""
    counts = np.zeros_like(said)
    counts[alike] = _ALIKE
    one, other, place = links
    if len(place):
        weight = said[one, other].astype(np.float64)
        weight /= np.maximum(np.bincount(place, weight)[place], _TINY)
        np.add.at(counts, (one, other), (_PARALLEL * weight).astype(np.float32))
    return counts


def _links(known: Sequence[tuple[Sequence[str], Sequence[str]]], names: Sequence[str], others: Sequence[str]) -> _Links:
    """One row for each word of a sentence and each word of its translation, or none, that it may say."""
    number, other_number = ({word: i for i, word in enumerate(side)} for side in (names, others))
    one, other, place = list[int](), list[int](), list[int]()
    at = 0
    for source, target in known:
        sources = [0, *(number[word] for word in source if word in number)]
        for word in target:
            if word in other_number:
                one += sources
                other += [other_number[word]] * len(sources)
                place += [at] * len(sources)
                at += 1
    return np.array(one, np.int64), np.array(other, np.int64), np.array(place, np.int64)


def _alike(names: Sequence[str], others: Sequence[str]) -> tuple[Ints, Ints]:
    """Words that both languages spell alike, of three characters or a number."""
    number = {word: i for i, word in enumerate(others)}
    same = [(i, number[w]) for i, w in enumerate(names) if w in number and (len(w) > 2 or w.isdigit())]
    return np.array([i for i, _ in same], np.int64), np.array([j for _, j in same], np.int64)
