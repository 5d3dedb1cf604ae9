"""A bilingual lexicon from parallel sentences: how each word of the mature language may be said in the launch language.

Sources: Brown et al. 1993, "The Mathematics of Statistical Machine Translation" (Model 1, by EM); Dyer et al. 2013, "A
Simple, Fast, and Effective Reparameterization of IBM Model 2" (words of a pair stand near the diagonal); Liang et al.
2006, "Alignment by Agreement" (both directions must agree).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from schemas.normalise import words
from schemas.parallel import read_translated
from schemas.segmentation import Segmenter

_MOST_PAIRS = 200_000  # sentences that are aligned, the first ones
_MOST_WORDS = 40  # of a sentence: longer ones align badly and cost most
_ITERATIONS = 8
_DIAGONAL = 4.0  # how much nearer the diagonal is likelier
_NOTHING = 0.2  # probability that a word translates nothing
_LEAST = 0.2  # geometric mean of both directions' probabilities below which two words are no translations
_MOST = 4  # translations kept of a word, the likeliest

Sentences = Sequence[tuple[Sequence[str], Sequence[str]]]


@dataclass(frozen=True)
class BilingualLexicon:
    """Translations of normalised words, likeliest first, with their shares, which sum to 1."""

    entries: Mapping[str, tuple[tuple[str, float], ...]]
    # Of the pairs of sentences: aligned, among them shortened; left out as empty, or as more than are read.
    counts: Mapping[str, int] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.entries)

    def revised(self, mined: Mapping[str, Sequence[tuple[str, float]]]) -> BilingualLexicon:
        """This lexicon with what a log says of words in place of its own.

        Args:
            mined: translations of normalised words, likeliest first, with weights (`training_translations`).
        """
        shares = {}
        for word, ways in mined.items():
            total = sum(weight for _, weight in ways)
            shares[word] = tuple((other, round(weight / total, 9)) for other, weight in ways)
        return BilingualLexicon(dict(sorted({**self.entries, **shares}.items())), self.counts)

    @cached_property
    def target_words(self) -> tuple[str, ...]:
        """The launch language's words, each once, sorted."""
        return tuple(sorted({word for found in self.entries.values() for word, _ in found}))

    @property
    def fingerprint(self) -> str:
        """16 hex digits of the entries."""
        said = repr(sorted((word, found) for word, found in self.entries.items()))
        return hashlib.blake2b(said.encode(), digest_size=8).hexdigest()


def learn_lexicon(sentences: Sentences) -> BilingualLexicon:
    """Align sentences with their translations, in both directions.

    Args:
        sentences: (words of the mature language, words of the launch language).

    Cost: O(sum of both lengths' product) time and memory: of pairs of ten words a thousand take 0.2 s, 20,000 6 s and
    0.4 GB, 200,000, the most that are read, a minute and 3 GB.
    """
    whole = [(one, other) for one, other in sentences[:_MOST_PAIRS] if one and other]
    kept = [(list(one[:_MOST_WORDS]), list(other[:_MOST_WORDS])) for one, other in whole]
    counts = {
        "aligned": len(kept),
        "shortened": sum(max(len(one), len(other)) > _MOST_WORDS for one, other in whole),
        "empty": min(len(sentences), _MOST_PAIRS) - len(kept),
        "too_many": max(0, len(sentences) - _MOST_PAIRS),
    }
    if not kept:
        return BilingualLexicon({}, counts)
    forth = _model_1(kept)
    back = _model_1([(other, one) for one, other in kept])
    found: dict[str, list[tuple[str, float]]] = {}
    for (source, target), probability in forth.items():
        agreed = float(np.sqrt(probability * back.get((target, source), 0.0)))
        if agreed >= _LEAST:
            found.setdefault(source, []).append((target, agreed))
    entries = {}
    for source, ways in sorted(found.items()):
        best = sorted(ways, key=lambda way: (-round(way[1], 9), way[0]))[:_MOST]
        total = sum(share for _, share in best)
        entries[source] = tuple((word, round(share / total, 9)) for word, share in best)
    return BilingualLexicon(entries, counts)


def _model_1(pairs: Sentences) -> dict[tuple[str, str], float]:
    """p(target | source) of words that stand in one pair, where it may suffice; "" is no source."""
    sources = {"": 0} | {w: i for i, w in enumerate(sorted({w for one, _ in pairs for w in one}), start=1)}
    targets = {w: i for i, w in enumerate(sorted({w for _, other in pairs for w in other}))}
    # One row for each target word of each pair and each source word that it may translate.
    link_source, link_target, prior, lengths = [], [], [], []
    for one, other in pairs:
        n, m = len(one), len(other)
        away = np.abs((np.arange(n) + 0.5)[None, :] / n - (np.arange(m) + 0.5)[:, None] / m)
        near = np.exp(-_DIAGONAL * away)
        near *= (1 - _NOTHING) / near.sum(1, keepdims=True)
        prior.append(np.concatenate([np.full((m, 1), _NOTHING), near], 1).ravel())
        link_source.append(np.tile([0, *(sources[w] for w in one)], m))
        link_target.append(np.repeat([targets[w] for w in other], n + 1))
        lengths.append(np.full(m, n + 1))
    of_source, of_target, likely = (np.concatenate(part) for part in (link_source, link_target, prior))
    counted = np.concatenate(lengths)
    word = np.repeat(np.arange(len(counted)), counted)
    known, pair = np.unique(of_source * len(targets) + of_target, return_inverse=True)
    source_of = known // len(targets)
    probability = np.ones(len(known))
    for _ in range(_ITERATIONS):
        weight = likely * probability[pair]
        weight /= np.bincount(word, weight)[word]
        counts = np.bincount(pair, weight, len(known))
        probability = counts / np.bincount(source_of, counts)[source_of]
    names, others = list(sources), list(targets)
    # The other direction gives at most 1: what is less than this here cannot reach `_LEAST` with it.
    likely_enough = np.flatnonzero((source_of > 0) & (probability >= _LEAST**2))
    return {
        (names[known[i] // len(targets)], others[known[i] % len(targets)]): float(probability[i]) for i in likely_enough
    }


def read_lexicon(files: Iterable[Path], locale: str, mature: Iterable[str]) -> BilingualLexicon:
    """The lexicon of all parallel text that is given for a launch locale; empty without any.

    Args:
        files: as `encoder.parallel`; of a folder the launch locale's language alone.
        mature: utterances of the mature language: the side of a file that shares more words with them is its side.

    Raises:
        InputError: a file is missing or not in the format.
    """
    pairs = read_translated(files, locale, mature)
    said = [target for _, target in pairs]
    return learn_lexicon([*zip((words(source) for source, _ in pairs), Segmenter.learn(said).words(said), strict=True)])
