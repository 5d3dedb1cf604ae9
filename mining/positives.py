"""What the embedded encoder learns from: pairs that mean the same, each with a near text that means something else.

Near texts of another intent ("turn the light off" beside "turn the light on") are the hard negatives of dense
retrieval (Karpukhin et al., "Dense passage retrieval", EMNLP 2020), found by tf-idf instead of BM25. Plain wordings
teach without any annotation: what is said in one breath belongs together (`halves`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from schemas.annotated import Annotated
from schemas.normalise import normalise, words

_AT_ONCE = 4_000_000  # similarities held at a time
_CUT = 4  # tokens of a text that is worth halving
_LEAST = 0.2  # tf-idf cosine below which a text is no hard negative


class Positive(NamedTuple):
    """Two texts that mean the same, and one that is near to `left` and does not ("": none is known).

    Texts of one `group` are not contrasted; -1 stands alone.
    """

    left: str
    right: str
    group: int = -1
    negative: str = ""


def hard_negatives(intents: Mapping[str, str]) -> dict[str, str]:
    """For each text the text of another intent that shares most with it, where one shares enough (tf-idf cosine 0.2).

    Args:
        intents: intent of each text of one locale.

    Ties go to the text that sorts first. O(texts^2) time on sparse rows, 4 million similarities at a time.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = sorted(text for text in intents if words(text))
    if len(texts) < 2:
        return {}
    rows = TfidfVectorizer(analyzer=words, sublinear_tf=True).fit_transform(texts)
    number = {intent: i for i, intent in enumerate(sorted(set(intents.values())))}
    meaning = np.array([number[intents[text]] for text in texts])
    found, step = {}, max(_AT_ONCE // len(texts), 1)
    for start in range(0, len(texts), step):
        near = (rows[start : start + step] @ rows.T).toarray()
        near[meaning[start : start + step, None] == meaning[None, :]] = 0.0
        for row, other in enumerate(near.argmax(axis=1)):
            if near[row, other] >= _LEAST:
                found[texts[start + row]] = texts[other]
    return found


def halves(texts: Iterable[str], *, seed: int, most: int = 1_000_000) -> list[Positive]:
    """Each text of at least four tokens as two texts: some of its tokens, drawn at random, and the others, in order.

    Where no spaces are written tokens are single characters, which mean little without those beside them: such a text
    is cut at one place.

    Cropping of Izacard et al. ("Unsupervised dense information retrieval with contrastive learning", TMLR 2022), but
    without overlap: a mean of token vectors would learn nothing from what both halves share. It gives the words of a
    language without annotations a place beside each other. O(texts).
    """
    rng, pairs = np.random.default_rng(seed), []
    plain = sorted({normalise(text) for text in texts})
    if len(plain) > most:
        plain = [plain[i] for i in sorted(rng.choice(len(plain), most, replace=False))]
    for text in plain:
        tokens = words(text)
        if len(tokens) < _CUT:
            continue
        order = rng.permutation(len(tokens)) if " " in text else np.arange(len(tokens))
        drawn = order < rng.integers(1, len(tokens))
        left, right = (
            normalise(" ".join(token for token, mine in zip(tokens, half, strict=True) if mine))
            for half in (drawn, ~drawn)
        )
        pairs.append(Positive(left, right))
    return pairs


def signature_positives(groups: Iterable[Sequence[str]], *, most: int, seed: int) -> list[Positive]:
    """Positive pairs within groups of texts that share a signature: each text with one other of its group."""
    rng, pairs = np.random.default_rng(seed), []
    for number, group in enumerate(groups):
        texts = sorted(set(group))
        if len(texts) < 2:
            continue
        order = rng.permutation(len(texts))
        pairs += [Positive(texts[a], texts[b], number) for a, b in zip(order, np.roll(order, 1), strict=True)]
    if len(pairs) > most:
        pairs = [pairs[i] for i in sorted(rng.choice(len(pairs), most, replace=False))]
    return pairs


def gold_positives(rows: Iterable[Annotated], *, seed: int, most: int = 1_000_000) -> list[Positive]:
    """Positive pairs of annotated utterances with one locale and one signature (`signature_positives`).

    Each has the nearest text of its locale with another intent beside it (`hard_negatives`, whose cost this has).
    """
    groups: dict[tuple[str, tuple[str, tuple[str, ...]]], list[str]] = {}
    intents: dict[str, dict[str, str]] = {}
    for row in rows:
        text = normalise(row.utterance)
        groups.setdefault((row.locale, row.signature), []).append(text)
        intents.setdefault(row.locale, {}).setdefault(text, row.interpretation.intent)
    locales = [locale for locale, _ in groups]
    negatives = {locale: hard_negatives(intents[locale]) for locale in intents}
    return [
        pair._replace(negative=negatives[locales[pair.group]].get(pair.left, ""))
        for pair in signature_positives(groups.values(), most=most, seed=seed)
    ]
