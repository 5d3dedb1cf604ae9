"""What translations say of slots: a word of the launch language is of the slot type that its translations are of in
annotated utterances of the mature language.

"Kesho" says "tomorrow", which is a date in 99 of 100 utterances that have it: so is "kesho", whatever stands around it
and in whatever order. Words are looked up one by one under the wording's intent, and under all intents where that has
few; projection along the words of one paired sentence was right half as often (docs/labels.md).

Source: Yarowsky, Ngai & Wicentowski 2001, "Inducing Multilingual Text Analysis Tools via Robust Projection across
Aligned Corpora" (types of words, rather than single projected tags, are what is robust).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mining.slot_evidence import OUTSIDE, Sighting, Tagging
from mining.translations import Translations
from schemas.normalise import is_unspaced
from schemas.segmentation import Segmenter

SURE, UNSURE = "translated", "perhaps translated"  # sources of taggings
_SURE, _UNSURE = 0.9, 0.5  # share of its translations' uses that a tag must have, to be told of as sure or not
_BEHIND = 1.0  # uses in other intents that stand behind those in the intent


@dataclass(frozen=True)
class TranslatedTags:
    """The slot types of words of one launch language.

    Args:
        back: translations of each word with how far both directions agree.
        uses: how often each word of the mature language is of each type in annotated utterances, by word and intent.
        usual: the same by word alone, as shares.
        allowed: the types of each intent.
        segmenter: of the launch language.
    """

    back: Mapping[str, Sequence[tuple[str, float]]]
    uses: Mapping[tuple[str, str], Mapping[str, int]]
    usual: Mapping[str, Mapping[str, float]]
    allowed: Mapping[str, frozenset[str]]
    segmenter: Segmenter

    @classmethod
    def of(cls, translations: Translations, annotated: Iterable[Sighting], segmenter: Segmenter) -> TranslatedTags:
        """Args: annotated: utterances of the mature language, with `gold`."""
        uses: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        usual: dict[str, Counter[str]] = defaultdict(Counter)
        allowed: dict[str, set[str]] = defaultdict(set)
        for s in annotated:
            for word, tag in zip(s.tokens, s.gold or (), strict=True):
                kind = OUTSIDE if tag is None or tag == OUTSIDE else tag[2:]
                uses[word, s.intent][kind] += 1
                usual[word][kind] += 1
                allowed[s.intent].add(kind)
        shares = {word: {k: n / sum(kinds.values()) for k, n in kinds.items()} for word, kinds in usual.items()}
        kinds = {intent: frozenset(found - {OUTSIDE}) for intent, found in allowed.items()}
        return cls(translations.back, {key: dict(n) for key, n in uses.items()}, shares, kinds, segmenter)

    def types(self, word: str, intent: str) -> dict[str, float]:
        """The probability that a word of the launch language is of each type, or of none (`OUTSIDE`); empty where it
        has no translation that says something. O(translations x types)."""
        found: dict[str, float] = defaultdict(float)
        may = self.allowed.get(intent, frozenset()) | {OUTSIDE}
        for other, agreed in self.back.get(word, ()):
            here, usual = self.uses.get((other, intent), {}), self.usual.get(other, {})
            many = sum(here.values()) + _BEHIND
            for kind in sorted((set(here) | set(usual)) & may):
                found[kind] += agreed * (here.get(kind, 0) + _BEHIND * usual.get(kind, 0.0)) / many
        total = sum(found.values())
        return {kind: share / total for kind, share in found.items()} if total else {}

    def taggings(self, tokens: Sequence[str], intent: str) -> tuple[Tagging, ...]:
        """What the translations of a wording's words say of its tokens: what is sure and what is not are two sources.

        Args:
            tokens: normalised words, as of a `Sighting`.

        O(words x translations x types).
        """
        tags: dict[str, list[str | None]] = {SURE: [None] * len(tokens), UNSURE: [None] * len(tokens)}
        at, before = 0, OUTSIDE
        for word, many in self.segmenter.counted([joined(tokens)])[0]:
            types = self.types(word, intent)
            kind, share = max(types.items(), key=lambda item: (item[1], item[0])) if types else (None, 0.0)
            if kind is not None and share >= _UNSURE:
                told = tags[SURE if share >= _SURE else UNSURE]
                for i in range(at, at + many):
                    told[i] = OUTSIDE if kind == OUTSIDE else f"{'I' if kind == before else 'B'}-{kind}"
                    before = kind
            else:
                before = OUTSIDE
            at += many
        return tuple(Tagging(name, tuple(told), 1.0) for name, told in tags.items() if any(told))


def joined(tokens: Sequence[str]) -> str:
    """The normalised text that these tokens are of (`schemas.normalise.normalise`)."""
    parts: list[str] = []
    for i, token in enumerate(tokens):
        if i and not (is_unspaced(tokens[i - 1][0]) and is_unspaced(token[0])):
            parts.append(" ")
        parts.append(token)
    return "".join(parts)
