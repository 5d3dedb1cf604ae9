"""Spans of labels whose intent is believed: a model of the whole locale, fitted on the driver to a bounded sample and
applied intent by intent, with the words that say what words of the mature language say (`mining.translations`)."""

from __future__ import annotations

import pickle
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.lake import Run
from jobs.translations import Mature, sighted
from mining.slot_evidence import OUTSIDE, Sighting, in_frames, spans_of, words
from mining.slot_fit import fit_slots
from mining.slot_model import SlotModel
from mining.slot_types import allowed_slots, heard_slots, rarely_bare
from mining.translated_tags import TranslatedTags, joined
from mining.translations import Translations, Worded, learn_translations
from schemas.annotated import Annotated
from schemas.settings import LabelSettings
from schemas.tables import PSEUDO_LABELS

LABELS = pa.schema([f for f in PSEUDO_LABELS.arrow if f.name != "run_id"])
# Between the two passes a row carries what was observed of its slots, pickled: it never leaves the run.
STAGED = LABELS.append(pa.field("sighting", pa.binary()))
_FITTED = 20_000  # formulations that the slot model of a locale is fitted to, the most spoken ones
_AT_ONCE = 20_000  # formulations of one intent that are decoded together
_MOST_ANSWERS = 5.0  # users that count of one answer to a clarification
_OTHER_LANGUAGE = 0.2  # weight of a filler of another language's gold: names and numbers are spelt alike


@dataclass(frozen=True)
class SlotLabels:
    """What settles the slots of one locale: the fitted model, the annotated utterances by intent, the intents of
    which an empty answer settles nothing, and the translations of words, with what they say of slots."""

    model: SlotModel
    gold: Mapping[str, list[Sighting]]
    never_empty: frozenset[str]
    translations: Translations
    translated: TranslatedTags | None


def by_group(
    keys: tuple[str, ...], work: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], schema: pa.Schema
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Rows in order of the keys, worked on group by group."""

    def kernel(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        stream = (row for batch in batches for row in batch.to_pylist())
        made: list[dict[str, Any]] = []
        for _, rows in groupby(stream, key=lambda row: tuple(row[key] for key in keys)):
            made += work(list(rows))
            if len(made) >= 5_000:
                yield from pa.Table.from_pylist(made, schema=schema).to_batches()
                made = []
        if made:
            yield from pa.Table.from_pylist(made, schema=schema).to_batches()

    return kernel


def settle(
    slots: Mapping[str, SlotLabels], settings: LabelSettings
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A kernel that gives accepted rows of `STAGED`, ordered by locale and intent, their spans or likely tags."""

    def settled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        of = slots.get(rows[0]["locale"])
        for row in rows:
            if row["sighting"] is not None:
                row["slots"] = row["slot_posterior"] = None
        for first in range(0, len(rows), _AT_ONCE):
            known = [row for row in rows[first : first + _AT_ONCE] if row["sighting"] is not None]
            if of is None or not known:
                continue
            gold = of.gold.get(known[0]["intent"], [])
            here = [_translated(pickle.loads(row["sighting"]), of.translated) for row in known]
            seen = in_frames(here + gold)[: len(known)]
            for row, found in zip(known, of.model.decode(seen, settings.tag_level), strict=True):
                if row["status"] != "accepted":
                    continue
                row["slot_posterior"] = round(found.posterior, 9)
                text = row["utterance"]
                spans = spans_of(text, words(text)[0], found.tags)
                bare = row["intent"] not in of.never_empty
                if row["slot_posterior"] >= settings.min_slot_posterior and (spans or bare):
                    row["slots"] = [vars(slot) for slot in spans]
                elif any(found.likely) and (bare or any(may != (OUTSIDE,) for may in found.likely)):
                    row["tags"] = found.likely
        return [{name: row[name] for name in LABELS.names} for row in rows]

    return by_group(("locale", "intent"), settled, LABELS)


def _translated(s: Sighting, translated: TranslatedTags | None) -> Sighting:
    return s if translated is None else replace(s, taggings=s.taggings + translated.taggings(s.tokens, s.intent))


def fit(
    run: Run, staged: DataFrame, answers: DataFrame, mature: Mature, gold: Sequence[Annotated]
) -> dict[str, SlotLabels]:
    """The slot model of each locale, and the translations that are learnt of it.

    Args:
        staged: rows of `STAGED`.
        answers: locale, slot, answer, user_id: what clarifications were answered with.
        mature: what translations are learnt from.
        gold: annotated train utterances of all locales.
    """
    ranked = Window.partitionBy("locale").orderBy(F.desc("events"), "formulation_id")
    sample = (
        staged.where("sighting is not null")
        .withColumn("rank", F.row_number().over(ranked))
        .where(F.col("rank") <= _FITTED)
        .orderBy("locale", "formulation_id")
        .select("locale", "sighting", "status", "posterior")
        .collect()
    )
    seen: dict[str, list[Sighting]] = defaultdict(list)
    believed: dict[str, list[tuple[Sighting, float]]] = defaultdict(list)
    for row in sample:
        observed: Sighting = pickle.loads(row["sighting"])
        seen[row["locale"]].append(observed)
        if row["status"] == "accepted":
            believed[row["locale"]].append((observed, row["posterior"]))
    given: dict[str, list[tuple[str, tuple[str, ...], float]]] = defaultdict(list)
    told = answers.groupBy("locale", "slot", "answer").agg(F.count_distinct("user_id").alias("users"))
    for row in told.orderBy("locale", "slot", "answer").collect():
        given[row["locale"]].append((row["slot"], words(row["answer"])[1], min(float(row["users"]), _MOST_ANSWERS)))
    made = {}
    for locale, sightings in sorted(seen.items()):
        taught = sighted(gold, locale)
        fillers = given[locale] + [
            (slot.name, words(slot.value)[1], _OTHER_LANGUAGE)
            for row in gold
            if row.locale != locale
            for slot in row.interpretation.slots
        ]
        known = allowed_slots(row.signature for row in gold)
        rates = heard_slots(sightings) | known
        translations, translated = _translations(run, locale, believed[locale], taught, mature)
        told = [_translated(s, translated) for s in sightings]
        model = fit_slots(in_frames(told + taught), rates, fillers, held=known)
        by_intent: dict[str, list[Sighting]] = defaultdict(list)
        for s in taught:
            by_intent[s.intent].append(s)
        never_empty = rarely_bare(row.signature for row in gold)
        made[locale] = SlotLabels(model, by_intent, never_empty, translations, translated)
    return made


def _translations(
    run: Run,
    locale: str,
    believed: Sequence[tuple[Sighting, float]],
    taught: Sequence[Sighting],
    mature: Mature,
) -> tuple[Translations, TranslatedTags | None]:
    """What words of the mature language are in the locale, and what that says of slots.

    Args:
        believed: accepted labels of the locale with their posterior.
        taught: annotated utterances of the locale.
    """
    if locale not in mature.parallel:
        return Translations({}), None
    said = [joined(s.tokens) for s, _ in believed] + [joined(s.tokens) for s in taught]
    segmenter, pairs = mature.cut(locale, said)
    weights = [posterior for _, posterior in believed] + [1.0] * len(taught)
    intents = [s.intent for s, _ in believed] + [s.intent for s in taught]
    launch = [Worded(*row) for row in zip(segmenter.words(said), intents, weights, strict=True)]
    found = learn_translations(mature.worded, launch, pairs)
    run.count(translated_words=len(found))
    return found, TranslatedTags.of(found, mature.utterances, segmenter)
