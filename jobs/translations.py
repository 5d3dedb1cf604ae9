"""What the words of a launch language are learnt from beside its log: annotated utterances of the mature language, and
parallel text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jobs.lake import Run
from mining.neighbours import Ints
from mining.slot_evidence import Sighting, annotated, words
from mining.translated_intents import TranslatedIntents
from mining.translated_tags import joined
from mining.translations import Worded
from schemas.annotated import Annotated
from schemas.normalise import normalise
from schemas.parallel import read_translated
from schemas.segmentation import Segmenter
from schemas.settings import Settings

# Annotated utterances of a language, and parallel sentences, that teach translations.
_MOST_ANNOTATED, _MOST_PARALLEL = 12_000, 20_000

Pairs = list[tuple[Sequence[str], Sequence[str]]]


@dataclass(frozen=True)
class Mature:
    """What is known of the mature language.

    Args:
        utterances: annotated ones, each with its tags.
        parallel: of each other locale of the log, pairs of normalised sentences: mature language, its own.
        taught: of each other locale, its own annotated utterances, if any.
    """

    utterances: tuple[Sighting, ...]
    parallel: Mapping[str, tuple[tuple[str, str], ...]]
    taught: Mapping[str, tuple[Sighting, ...]] = field(default_factory=dict)

    @property
    def worded(self) -> list[Worded]:
        """The utterances in words."""
        return [Worded(s.tokens, s.intent) for s in self.utterances]

    def cut(self, locale: str, texts: Sequence[str]) -> tuple[Segmenter, Pairs]:
        """What cuts texts of the locale into words, learnt of these normalised ones and the parallel text, and that
        text in words."""
        others = [other for _, other in self.parallel[locale]]
        segmenter = Segmenter.learn([*texts, *others])
        pairs = zip((words(one)[1] for one, _ in self.parallel[locale]), segmenter.words(others), strict=True)
        return segmenter, list(pairs)

    def translating(
        self, locale: str, utterances: Sequence[str], intents: Sequence[str], spoken: tuple[Ints, Ints]
    ) -> TranslatedIntents | None:
        """What tells of a locale's wordings by translations of their words; None where none are learnt.

        Args:
            utterances: wordings as logged.
            intents, spoken: as for `TranslatedIntents`.
        """
        if locale not in self.parallel:
            return None
        texts, taught = [normalise(text) for text in utterances], self.taught.get(locale, ())
        of_taught = [joined(s.tokens) for s in taught]
        segmenter, pairs = self.cut(locale, [*texts, *of_taught])
        said = zip(segmenter.words(of_taught), (s.intent for s in taught), strict=True)
        annotated = [Worded(words, intent) for words, intent in said]
        return TranslatedIntents(self.worded, pairs, segmenter.words(texts), intents, spoken, annotated)


def sighted(gold: Sequence[Annotated], locale: str) -> list[Sighting]:
    """The annotated utterances of a locale as formulations whose tags are known."""
    mine = [row for row in gold if row.locale == locale]
    return [annotated(row.utterance, row.interpretation.intent, row.interpretation.slots) for row in mine]


def parallel_of(settings: Settings, locale: str) -> list[Path]:
    """What `encoder.parallel` may have of a locale of the log: a TSV file does not say of which language it is, and is
    taken to be of the launch's."""
    return [p for p in settings.encoder.parallel if p.is_dir() or settings.locale in (None, locale)]


def mature_of(run: Run, gold: Sequence[Annotated]) -> Mature:
    """What this run may learn translations from: nothing for any locale where `labels.translations` is off, or where
    the source locale has no annotated utterances.

    Args:
        gold: annotated train utterances of all locales.

    Raises:
        InputError: parallel text is missing or not in the format.
    """
    settings = run.settings
    source = settings.training.source_locale
    every, left_out = _drawn(sorted(sighted(gold, source), key=lambda s: (s.tokens, s.intent)), settings.seed)
    if not settings.labels.translations or not every:
        return Mature((), {})
    run.count(mature_left_out=left_out)
    spoken = [joined(s.tokens) for s in every]
    found, taught = {}, {}
    for (locale,) in sorted(run.tally("utterances", "locale")):
        if locale != source:
            pairs = read_translated(parallel_of(settings, locale), locale, spoken)
            run.count(parallel_left_out=max(0, len(pairs) - _MOST_PARALLEL))
            found[locale] = tuple(pairs[:_MOST_PARALLEL])
            taught[locale], left_out = _drawn(sighted(gold, locale), settings.seed)
            run.count(taught_left_out=left_out)
    return Mature(every, found, taught)


def _drawn(every: Sequence[Sighting], seed: int) -> tuple[tuple[Sighting, ...], int]:
    """At most `_MOST_ANNOTATED` of them, drawn at random, in their order; and how many are left out."""
    if len(every) <= _MOST_ANNOTATED:
        return tuple(every), 0
    drawn = np.sort(np.random.default_rng(seed).choice(len(every), _MOST_ANNOTATED, replace=False))
    return tuple(every[i] for i in drawn.tolist()), len(every) - _MOST_ANNOTATED
