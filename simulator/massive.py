"""Any folder in MASSIVE's format as a catalogue: real utterances, regrouped by what they ask for.

Rows of two locales are parallel by id in MASSIVE. That alignment is a hidden label of the target language, so
it is never read, and samples of two locales come from streams of their own: row numbers do not align either.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from schemas.annotated import PARTITIONS, Annotated, massive_file, read_annotated
from schemas.errors import InputError
from schemas.normalise import normalise
from simulator.catalogue import Catalogue, Wording, group_by_signature


class MassiveCatalogue(Catalogue):
    """Users speak the train partition of the target locale; its test partition is for reporting only.

    Args:
        folder: holds `<locale>.jsonl` or `.jsonl.gz` of both locales.
        source: the mature locale, of which there is gold.
        target: the locale that users speak.
        sample: how many train utterances of each locale to keep (None: all): fewer give more repetition.
        seed: draws the sample and the order of equally popular things.

    Raises:
        InputError: a file is missing or not in the format, or `sample` is more than there is.

    Reading costs about half a second a locale; memory is that of the rows.

    A signature is taken for a goal. That holds where slots say what is wanted; for intents that gather
    unrelated questions (`general_quirky`, `qa_factoid`) another wording is another question, so those
    rephrases are noisier than people's.
    """

    def __init__(self, folder: Path | str, source: str, target: str, sample: int | None = None, seed: int = 0) -> None:
        self.seed = seed
        self._rows: dict[tuple[str, str], list[Annotated]] = {}
        self._train_texts: dict[str, list[str]] = {}  # all, sampled or not: test must hold none of them
        for locale in dict.fromkeys((source, target)):
            rows = read_annotated(massive_file(folder, locale))
            for partition in PARTITIONS:
                self._rows[(locale, partition)] = [r for r in rows if r.partition == partition and r.utterance]
            train = self._rows[(locale, "train")]
            self._train_texts[locale] = [r.utterance for r in train]
            if sample is not None:
                if not 1 <= sample <= len(train):
                    raise InputError(f"a sample of {sample} asked of {len(train)} train utterances of {locale}")
                chosen = self._rng(locale, 1).choice(len(train), size=sample, replace=False)
                self._rows[(locale, "train")] = [train[i] for i in sorted(chosen.tolist())]
        rng, train = self._rng(target, 2), self._rows[(target, "train")]
        grouped = group_by_signature(Wording.of(train[i]) for i in rng.permutation(len(train)))
        # What is asked more often in the data is more popular with our users; ties stay as shuffled.
        asked = Counter(Wording.of(r).signature for r in train)
        wordings = dict(sorted(grouped.items(), key=lambda item: -asked[item[0]]))
        said: dict[tuple[str, str], Counter[str]] = {}
        for row in train:
            for slot in row.interpretation.slots:
                said.setdefault((row.interpretation.intent, slot.name), Counter())[slot.value] += 1
        values = {key: [value for value, _ in counts.most_common()] for key, counts in said.items()}
        super().__init__(target, source, wordings, values)

    def _rng(self, locale: str, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose, *locale.encode()])

    def gold(self, locale: str, partition: str = "train") -> list[Annotated]:
        """See `Catalogue.gold`. `test` leaves out texts that, normalised, also occur in train."""
        if (locale, partition) not in self._rows:
            raise InputError(
                f"no {partition} gold of {locale}: locales are {self.source_locale}, {self.locale}, "
                f"partitions {', '.join(PARTITIONS)}"
            )
        rows = self._rows[(locale, partition)]
        if partition == "test":
            trained = {normalise(text) for text in self._train_texts[locale]}
            return [r for r in rows if normalise(r.utterance) not in trained]
        return list(rows)
