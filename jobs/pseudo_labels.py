"""turns, rephrase_pairs, variant_edges, variant_clusters, reformulations and gold files -> pseudo_labels: every
formulation's soft label, with its reason.

Intents first (`jobs.votes`, `mining.intent_posterior`), then slots (`jobs.slot_labels`), and with them the words of
the launch language that say words of the mature one.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

import jobs.gold_neighbours
import jobs.reformulations
import jobs.slot_labels
import jobs.taught
import jobs.translations
import jobs.voters
import jobs.votes
import mining.gold_neighbours
import mining.hidden_markov
import mining.intent_posterior
import mining.served_answers
import mining.slot_evidence
import mining.slot_fit
import mining.slot_model
import mining.slot_rates
import mining.slot_types
import mining.slots
import mining.translated_intents
import mining.translated_tags
import mining.translations
import mining.votes
import mining.wishes
from jobs.encoder import gold_stamp
from jobs.gold_neighbours import told_by_annotated
from jobs.lake import Run, Step, spark_schema
from jobs.slot_labels import STAGED, SlotLabels, fit, settle
from jobs.taught import mark, taught, teachers
from jobs.translations import mature_of
from jobs.voters import VOTERS
from jobs.votes import (
    absorbed_of,
    backers_of,
    evidence,
    guesses_of,
    intent_survival,
    posteriors_of,
    said_instead,
    served_of,
    speakers_of,
    values_of,
    votes_of,
)
from mining.served_answers import unheard
from mining.slot_evidence import Sighting, Vote, sighting
from mining.votes import Label, Member, label_formulation, tallied
from schemas.annotated import read_annotated
from schemas.lake import Lake
from schemas.settings import LabelSettings
from schemas.tables import PSEUDO_LABELS
from schemas.training_tables import SECOND_GUESSES, TRANSLATIONS

_MOST_ENDS = 3  # intents with which tries of a label's cluster end well, that are named in its sources
_MOST_PARTNERS = 30  # other wordings of a formulation that are looked at, the surest


def _row(label: Label, row: Mapping[str, Any], observed: Sighting | None) -> dict[str, Any]:
    intent, posterior = label.intents[0] if label.intents else (None, None)
    return vars(label) | {
        "locale": row["locale"],
        "cluster_id": row["cluster_id"],
        "wish_id": row["wish"] and row["wish"]["wish_id"],
        "intent": intent,
        "posterior": posterior,
        "intents": [{"intent": name, "probability": p} for name, p in label.intents],
        "slots": None if label.slots is None else [vars(slot) for slot in label.slots],
        "tags": None,
        "sources": [dict(zip(("source", "intent", "users", "weight"), s, strict=True)) for s in label.sources],
        "sighting": None if observed is None else pickle.dumps(observed),
    }


def _kernel(settings: LabelSettings) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def observed(label: Label, row: dict[str, Any]) -> Sighting | None:
        if settings.slots == "projection" or not label.intents or label.intents[0][1] < settings.min_posterior:
            return None
        votes = [
            Vote(v["source"], v["interpretation"]["intent"], values_of(v), v["right"], v["bits"], v["told_slots"])
            for v in sorted(row["votes"] or (), key=_order)
        ]
        partners = sorted((p["utterance"], p["posterior"]) for p in row["partners"] or ())
        answers = [(a["slot"], a["answer"], a["users"]) for a in row["answers"] or ()]
        intent, posterior = label.intents[0]
        odds = next((s["weight"] for s in row["served"] or () if s["intent"] == intent), 1.0)
        return sighting(label.utterance, intent, votes, partners, answers, unheard(posterior, odds))

    def labelled(row: dict[str, Any]) -> dict[str, Any]:
        name = row["formulation_id"]
        label = label_formulation(
            Member(name, row["utterance"], row["events"]),
            tallied(evidence(row["votes"] or (), name)),
            [(p["intent"], p["weight"]) for p in row["posterior"] or ()],
            {b["intent"]: b["users"] for b in row["backers"] or ()},
            settings,
        )
        label.sources += [("annotated", a["intent"], 0, a["weight"]) for a in row["annotated"] or ()]
        label.sources += [("absorption", a["intent"], 0, a["weight"]) for a in (row["absorbed"] or ())[:_MOST_ENDS]]
        if (wish := row["wish"]) is not None:
            label.sources.append(("wish", wish["intent"], wish["users"], wish["probability"]))
        return _row(label, row, observed(label, row))

    def kernel(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield from pa.Table.from_pylist([labelled(row) for row in batch.to_pylist()], schema=STAGED).to_batches()

    return kernel


def _order(vote: Mapping[str, Any]) -> tuple[str, str, str]:
    return vote["user_id"], vote["source"], str(vote["pair_id"])


def _words(slots: Mapping[str, SlotLabels]) -> pa.Table:
    """Translations as rows of their table."""
    rows = [
        {"locale": locale, "word": word, "translation": other, "agreement": agreed}
        for locale, of in sorted(slots.items())
        for word, ways in of.translations.entries.items()
        for other, agreed in ways
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema([f for f in TRANSLATIONS.arrow if f.name != "run_id"]))


def _spelling(turns: DataFrame) -> DataFrame:
    """The most frequent spelling of each formulation as logged, and how often the formulation was spoken."""
    counts = turns.groupBy("formulation_id", "utterance").agg(F.count("*").alias("n"))
    best = Window.partitionBy("formulation_id").orderBy(F.desc("n"), "utterance")
    every = Window.partitionBy("formulation_id")
    return (
        counts.withColumn("events", F.sum("n").over(every))
        .withColumn("rank", F.row_number().over(best))
        .where("rank = 1")
        .select("formulation_id", "utterance", "events")
    )


def _answers(turns: DataFrame) -> DataFrame:
    """Answers to clarifications: the asking turn's formulation, slot type, answer, user."""
    in_session = Window.partitionBy("session_id").orderBy("position")
    before = turns.select(
        "locale", "user_id", "interpretation", "utterance",
        F.lag("formulation_id").over(in_session).alias("formulation_id"),
        F.lag("requested_slot").over(in_session).alias("slot"),
    )  # fmt: skip
    filled = "exists(interpretation.slots, s -> s.name = slot and s.start = 0 and s.end = char_length(utterance))"
    found = before.where("slot is not null").where(f"coalesce({filled}, false)")
    return found.select("locale", "formulation_id", "user_id", "slot", F.col("utterance").alias("answer"))


def _partners(pairs: DataFrame) -> DataFrame:
    """For each formulation the other wordings that its users chose before or after it, the surest ones."""
    rephrased = pairs.where("kind = 'rephrase'")
    forth = rephrased.select(F.col("source_formulation").alias("f"), F.col("target_utterance").alias("u"), "posterior")
    back = rephrased.select(F.col("target_formulation").alias("f"), F.col("source_utterance").alias("u"), "posterior")
    best = forth.unionByName(back).groupBy("f", "u").agg(F.max("posterior").alias("p"))
    ranked = best.withColumn("rank", F.row_number().over(Window.partitionBy("f").orderBy(F.desc("p"), "u")))
    partner = F.struct(F.col("u").alias("utterance"), F.col("p").alias("posterior"))
    listed = ranked.where(F.col("rank") <= _MOST_PARTNERS).groupBy("f").agg(F.collect_list(partner).alias("partners"))
    return listed.withColumnRenamed("f", "formulation_id")


def _second_guesses(run: Run) -> DataFrame | None:
    """What the champion makes of wordings that others answered, where it has been asked (`retrain.second_guesses`)."""
    version = run.lake.published().get(SECOND_GUESSES.name)
    if version is None:
        return None
    run.count(second_guesses=run.lake.dataset(SECOND_GUESSES.name, version).count_rows())
    run.details["second_guesses"] = version
    path = str(run.lake.table(SECOND_GUESSES.name))
    return run.spark.read.format("delta").option("versionAsOf", version).load(path)


def _guessed(lake: Lake) -> str | None:
    asked = lake.manifest(SECOND_GUESSES.name)
    return asked.run_id if asked else None


def _run(run: Run) -> None:
    lessons = taught(run)
    if lessons is not None:
        run.keep(lessons)
    turns = run.read("turns").where("text != ''")
    marked = mark(turns, lessons)
    voting = turns.where(VOTERS)
    pairs = run.read("rephrase_pairs").where("kind != 'new_request' and not held_out")
    pairs = pairs.where(F.col("posterior") >= run.settings.rephrase.min_posterior)
    vote = F.struct(
        "user_id", "source", "interpretation", "support", "opposition", "pair_id", "told_slots", "right", "bits"
    )
    survives = intent_survival(voting, pairs).toArrow()
    told = survives.to_pylist()
    run.details["intent_survival"] = {r["locale"]: r["survival"] for r in told if r["survival"] is not None}
    run.details["served_if_right"] = {r["locale"]: r["served"] for r in told}
    survival = run.spark.createDataFrame(survives)
    told_targets = mark(pairs, lessons, "target_formulation")
    cast = run.keep(votes_of(marked.where(VOTERS), told_targets, survival))
    votes = cast.groupBy("formulation_id").agg(F.collect_list(vote).alias("votes"))
    near = (
        run.read("variant_edges").where("kind in ('same_locale', 'near')").select("locale", "left", "right", "cosine")
    )
    answers = run.keep(_answers(voting))
    of_users = answers.groupBy("formulation_id", "slot", "answer").agg(F.count_distinct("user_id").alias("users"))
    answer = F.struct("slot", "answer", "users")
    answered = of_users.groupBy("formulation_id").agg(F.collect_list(answer).alias("answers"))
    gold = [row for path in run.settings.training.gold for row in read_annotated(path, ("train",))]
    settings, mature = run.settings.labels, mature_of(run, gold)
    formulations = run.keep(
        run.read("variant_clusters")
        .select("formulation_id", "locale", "cluster_id")
        .join(_spelling(turns), "formulation_id")
        .join(votes, "formulation_id", "left")
        .join(guesses_of(marked, _second_guesses(run)), "formulation_id", "left")
        .join(served_of(voting, survival), "formulation_id", "left")
        .join(told_by_annotated(run, gold), "formulation_id", "left")
        .join(absorbed_of(run.read("reformulations"), run.read("variant_clusters")), "formulation_id", "left")
        .join(speakers_of(voting), "formulation_id", "left")
    )
    posteriors = run.keep(posteriors_of(formulations, near, said_instead(voting, pairs), mature))
    fitted = posteriors.where("fitted is not null").select("locale", "fitted").collect()
    run.details["intent_posterior"] = {row["locale"]: json.loads(row["fitted"]) for row in fitted}
    of_wishes = posteriors.where("wish is not null").select("formulation_id", "wish.intent")
    behind = voting.select("formulation_id", "user_id").join(of_wishes, "formulation_id")
    staged = run.keep(
        formulations.drop("guesses", "speakers")
        .join(posteriors.drop("locale", "fitted"), "formulation_id", "left")
        .join(backers_of(cast, near, behind), "formulation_id", "left")
        .join(_partners(pairs), "formulation_id", "left")
        .join(answered, "formulation_id", "left")
        .mapInArrow(_kernel(settings), from_arrow_schema(STAGED))
    )
    labels, found = staged.drop("sighting"), run.spark.createDataFrame([], spark_schema(TRANSLATIONS, "run_id"))
    if settings.slots == "evidence":
        slots = fit(run, staged, answers, mature, gold)
        found = run.spark.createDataFrame(_words(slots), spark_schema(TRANSLATIONS, "run_id"))
        run.details["slot_trust"] = {locale: vars(of.model.trust) for locale, of in slots.items()}
        kernel = settle(slots, settings)
        ordered = staged.repartition("locale", "intent").sortWithinPartitions("locale", "intent", "formulation_id")
        labels = ordered.mapInArrow(kernel, spark_schema(PSEUDO_LABELS, "run_id"))
    run.count(formulations=run.write(PSEUDO_LABELS, labels), translations=run.write(TRANSLATIONS, found))
    status = run.tally(PSEUDO_LABELS.name, "status")
    run.count(**{name: status[name,] for name in ("accepted", "contested", "too_few_users")})
    open_ = (pc.field("status") == "accepted") & pc.field("slots").is_null()
    some = open_ & (pc.list_value_length(pc.field("tags")) > 0)
    run.count(slots_open=run.rows(PSEUDO_LABELS.name, open_), slots_open_but_words=run.rows(PSEUDO_LABELS.name, some))
    run.count(clarifications_answered=answers.count())
    run.count(answers_as_taught=marked.where("told_intent").count() if lessons is not None else 0)


STEP = Step(
    name="pseudo_labels",
    reads=("turns", "rephrase_pairs", "utterances", "variant_edges", "variant_clusters", "reformulations"),
    writes=(PSEUDO_LABELS, TRANSLATIONS),
    settings=("labels", "rephrase", "encoder"),
    code=(
        jobs.gold_neighbours,
        jobs.reformulations,
        jobs.slot_labels,
        jobs.taught,
        jobs.translations,
        jobs.voters,
        jobs.votes,
        mining.gold_neighbours,
        mining.intent_posterior,
        mining.served_answers,
        mining.votes,
        mining.slots,
        mining.slot_evidence,
        mining.slot_fit,
        mining.slot_model,
        mining.slot_rates,
        mining.slot_types,
        mining.translated_intents,
        mining.translated_tags,
        mining.translations,
        mining.hidden_markov,
        mining.wishes,
    ),
    run=_run,
    also=lambda lake, settings: [
        gold_stamp(lake, settings),
        settings.training.source_locale,
        teachers(lake, settings),
        _guessed(lake),
        # A file of parallel text is of the launch language.
        settings.locale if any(not path.is_dir() for path in settings.encoder.parallel) else None,
    ],
)
