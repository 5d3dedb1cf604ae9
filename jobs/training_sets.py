"""pseudo_labels, translations, turns, rephrase_pairs and gold files -> training_sets, training_pairs,
training_translations: one frozen snapshot a run.

Accepted labels teach their intent and the slots that are settled; wordings with enough users on whose intent the
evidence is divided teach the distribution. Pairs of wordings teach that both mean the same (`jobs.training_pairs`).

The rows themselves are kept, since old versions of their inputs may be vacuumed away; the manifest beside them names
the version of every input. The gate's rows are turns that no label was made of: those of held-out users, and of all
users where a wording teaches nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import DataType

import jobs.training_pairs
import jobs.voters
import jobs.votes
from jobs.encoder import gold_stamp
from jobs.lake import Run, Step, spark_schema
from jobs.training_pairs import pairs_of
from jobs.voters import OF_VOTERS
from jobs.votes import spoken_alone
from schemas.annotated import Annotated, read_annotated
from schemas.errors import InputError
from schemas.normalise import formulation_id, normalise
from schemas.training_tables import NO_ANSWER, TRAINING_PAIRS, TRAINING_SETS, TRAINING_TRANSLATIONS

_DEV_IN = 20  # one cluster in so many steers the training and trains nothing
_OF_VOTERS = 50_000  # turns of voters that judge, at most: a sample of wordings by hash
# Turns of one user that judge, at most: so many, and one in so many of held-out users' (but not fewer than the second).
_OF_A_USER, _LEAST_OF_A_USER, _OF_HELD_OUT = 100, 10, 20
_HEAD, _TORSO = 0.5, 0.8  # share of the traffic that the most spoken formulations carry up to here


def _id(*parts: str) -> str:
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).hexdigest()


def _gold(rows: list[Annotated]) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows):
        group = _id(row.interpretation.intent, *row.signature[1])
        yield {
            "example_id": _id(row.partition, row.locale, row.utterance, "gold", str(number)),
            "locale": row.locale,
            "split": row.partition,
            "source": "gold",
            "utterance": row.utterance,
            "intent": row.interpretation.intent,
            "intents": None,
            "slots": [vars(slot) for slot in row.interpretation.slots],
            "tags": None,
            "weight": 1.0,
            "stratum": "gold",
            "group_id": group,
        }


def _strata(labels: DataFrame) -> DataFrame:
    """Adds `stratum`: the most spoken formulations that carry half of the traffic are the head, then torso, tail."""
    spoken = Window.partitionBy("locale").orderBy(F.desc("events"), "formulation_id")
    before = F.sum("events").over(spoken.rowsBetween(Window.unboundedPreceding, -1))
    carried = F.coalesce(before, F.lit(0)) / F.sum("events").over(Window.partitionBy("locale"))
    stratum = F.when(carried < _HEAD, "head").when(carried < _TORSO, "torso").otherwise("tail")
    return labels.withColumn("stratum", stratum)


def _labelled(run: Run, accepted: DataFrame, known: DataFrame) -> DataFrame:
    """Accepted labels as weighted training rows, but for formulations that gold has (`known`): capped per cluster, the
    head held to its share of the weight."""
    settings = run.settings.training
    fresh = accepted.join(F.broadcast(known), "formulation_id", "left_anti")
    in_cluster = Window.partitionBy("cluster_id").orderBy(F.desc("events"), "formulation_id")
    ranked = fresh.withColumn("rank", F.row_number().over(in_cluster))
    # By the posterior alone: popular wordings come again among the rows as their variants, and need no more weight.
    rows = _strata(ranked.where(F.col("rank") <= settings.max_per_cluster)).withColumn("weight", F.col("posterior"))
    every, mine = Window.partitionBy(), Window.partitionBy("stratum")
    head = F.col("stratum") == "head"
    mass, of_head = F.sum("weight").over(every), F.sum("weight").over(mine)
    # Scaled so that the head holds at most head_share of the weight that results.
    most = settings.head_share / (1 - min(settings.head_share, 0.999)) * (mass - of_head)
    scale = F.when(head & (mass > of_head) & (of_head > most), most / of_head).otherwise(1.0)
    return rows.withColumn("weight", F.round(F.col("weight") * scale, 6)).select(
        _hash("utterance", "locale", F.lit("pseudo_label")).alias("example_id"),
        "locale",
        F.when(_steers(), "dev").otherwise("train").alias("split"),
        F.lit("pseudo_label").alias("source"),
        "utterance",
        "intent",
        F.lit(None).cast(_type("intents")).alias("intents"),
        "slots",
        "tags",
        "weight",
        "stratum",
        F.col("cluster_id").alias("group_id"),
    )


def _contested(run: Run, divided: DataFrame, known: DataFrame) -> DataFrame:
    """Wordings on whose intent the evidence is divided, as training rows with soft targets; capped per cluster, none in
    clusters that steer."""
    settings = run.settings.training
    in_cluster = Window.partitionBy("cluster_id").orderBy(F.desc("events"), "formulation_id")
    fresh = divided.where(~_steers()).join(F.broadcast(known), "formulation_id", "left_anti")
    rows = fresh.withColumn("rank", F.row_number().over(in_cluster)).where(F.col("rank") <= settings.max_per_cluster)
    return rows.select(
        _hash("utterance", "locale", F.lit("contested")).alias("example_id"),
        "locale",
        F.lit("train").alias("split"),
        F.lit("contested").alias("source"),
        "utterance",
        "intent",
        "intents",
        F.lit(None).cast(_type("slots")).alias("slots"),
        F.lit(None).cast(_type("tags")).alias("tags"),
        F.lit(settings.contested).alias("weight"),
        F.lit("contested").alias("stratum"),
        F.col("cluster_id").alias("group_id"),
    )


def _steers() -> Column:
    return F.conv(F.substring("cluster_id", 1, 6), 16, 10).cast("long") % _DEV_IN == 0


def _type(column: str) -> DataType:
    return spark_schema(TRAINING_SETS)[column].dataType


def _hash(*parts: str | Column) -> Column:
    return F.substring(F.sha2(F.concat_ws("\x1f", *parts), 256), 1, 16)


def _judged(run: Run, teaching: DataFrame, locale: str) -> DataFrame:
    """Turns that may judge a challenger which is trained on this snapshot, with `stratum`, whose they are (`judge`) and
    the intent that was carried out (`answer`, null where nothing was made of them).

    Held-out users' turns, and voters' turns in wordings that teach nothing: all of them, or those of a sample of
    wordings. What one user said in the same words and was answered alike counts once, and nobody's turns are many. What
    is left out is counted: turns of robots, without text, that ask back or fail, bare answers (`gate_tells_nothing`),
    voters' in wordings that teach (`gate_taught`), and those left out for the other three reasons.

    Args:
        teaching: formulation_id of the wordings that gold, the log or a pair says something of.
    """
    turns = run.read("turns").where((F.col("locale") == locale) & (F.col("text") != "") & F.col("heard"))
    some = "response = 'no_match' or (response = 'completed' and interpretation is not null)"
    answer = F.when(F.col("response") == "completed", F.col("interpretation.intent"))
    labelled = teaching.distinct().withColumn("stratum", F.lit("labelled"))
    told = spoken_alone(turns.where(some)).withColumn("answer", answer)
    told = told.join(labelled, "formulation_id", "left").withColumn(
        "stratum", F.coalesce("stratum", F.lit("unlabelled"))
    )
    voters = run.rows("turns", (pc.field("locale") == locale) & OF_VOTERS)
    one_in = -(-voters // _OF_VOTERS)
    chosen = F.conv(F.substring("formulation_id", 1, 8), 16, 10).cast("long") % max(one_in, 1) == 0
    taught, sampled = ~F.col("held_out") & (F.col("stratum") == "labelled"), F.col("held_out") | chosen
    by_fate = told.groupBy(taught.alias("taught"), sampled.alias("sampled")).count().collect()
    fates = {(r["taught"], r["sampled"]): r["count"] for r in by_fate}
    run.count(
        gate_tells_nothing=run.rows("turns", pc.field("locale") == locale) - sum(fates.values()),
        gate_taught=fates.get((True, True), 0) + fates.get((True, False), 0),
        gate_not_sampled=fates.get((False, False), 0),
    )
    return _fair(run, told.where(~taught & sampled))


def _fair(run: Run, turns: DataFrame) -> DataFrame:
    """Turns less what their users say again and what few of them say much of, with `judge`."""
    columns = "user_id", "interaction_id", "formulation_id", "utterance", "answer", "evidence", "stratum", "held_out"
    by_hash = F.sha2("interaction_id", 256), "interaction_id"
    alike = Window.partitionBy("user_id", "formulation_id", "answer").orderBy(*by_hash)
    of_user = Window.partitionBy("user_id", "again").orderBy(*by_hash)
    # One exchange, by user, serves both windows.
    ranked = turns.select(*columns).repartition("user_id").withColumn("again", F.row_number().over(alike) > 1)
    ranked = run.keep(ranked.withColumn("nth", F.row_number().over(of_user)))  # read by three frames of gate rows
    counted = {(r["again"], r["held_out"]): r["count"] for r in ranked.groupBy("again", "held_out").count().collect()}
    most = min(_OF_A_USER, max(_LEAST_OF_A_USER, counted.get((False, True), 0) // _OF_HELD_OUT))
    over = ~F.col("again") & (F.col("nth") > most)
    said_again = sum(n for (again, _), n in counted.items() if again)
    run.count(gate_said_again=said_again, gate_over_user_cap=ranked.where(over).count())
    judge = F.when(F.col("held_out"), "held_out").otherwise("voter")
    judging = ranked.where(~F.col("again") & ~over).withColumn("judge", judge)
    return judging.select("interaction_id", "utterance", "answer", "evidence", "stratum", "judge")


def _gate_rows(run: Run, judged: DataFrame, locale: str) -> DataFrame:
    """What users' turns say of an answer, for `retrain.held_out.estimate`.

    Of each answered turn that may judge, the probability that its answer served, before (`expected`) and after
    (`held_out`, `voter`) its users went on; of one that was not answered, whose it is (`held_out`, `voter`), with the
    intent ''; of a reworded one what the target got, and the probability that it meant the same and served
    (`rephrased`). Slots of a rephrase belong to the target's wording, so gate rows tell the intent alone.
    """

    def served(pieces: str) -> Column:
        bits = F.expr(f"aggregate({pieces}, 0D, (sum, e) -> sum + e.weight)")
        return F.round(1 / (1 + F.pow(F.lit(2.0), bits)), 6)

    beforehand = "filter(evidence, e -> e.name in ('answer', 'intent'))"
    shape = ("interaction_id", "utterance", F.coalesce("answer", F.lit(NO_ANSWER)).alias("intent"), "stratum")
    after = F.when(F.col("answer").isNull(), F.lit(0.0)).otherwise(served("evidence"))
    expected = judged.where("answer is not null").select(
        *shape, served(beforehand).alias("weight"), F.lit("expected").alias("source")
    )
    found = judged.select(*shape, after.alias("weight"), F.col("judge").alias("source"))
    pairs = run.read("rephrase_pairs").where("kind = 'rephrase' and target_interpretation is not null")
    of_judged = judged.select("interaction_id", "stratum")
    instead = (
        pairs.where(F.col("locale") == locale)
        .withColumn("interaction_id", F.col("source"))
        .join(of_judged, "interaction_id")
        .select(
            "interaction_id",
            F.col("source_utterance").alias("utterance"),
            F.col("target_interpretation.intent").alias("intent"),
            "stratum",
            F.round(F.col("posterior") * F.col("target_acceptance"), 6).alias("weight"),
            F.lit("rephrased").alias("source"),
        )
    )
    every = expected.unionByName(found).unionByName(instead)
    return every.select(
        _hash("interaction_id", "intent", "source").alias("example_id"),
        F.lit(locale).alias("locale"),
        F.lit("gate").alias("split"),
        "source",
        "utterance",
        "intent",
        F.lit(None).cast(_type("intents")).alias("intents"),
        F.lit(None).cast(_type("slots")).alias("slots"),
        F.lit(None).cast(_type("tags")).alias("tags"),
        "weight",
        "stratum",
        _hash("interaction_id").alias("group_id"),
    )


def _run(run: Run) -> None:
    locale = run.settings.locale
    if locale is None:
        raise InputError("locale: the launch locale is not set; give --locale, such as --locale sw-KE")
    gold = [row for path in run.settings.training.gold for row in read_annotated(path, ("train", "dev"))]
    wanted = {locale, run.settings.training.source_locale}
    mine = [row for row in gold if row.locale in wanted]
    run.count(gold=len(mine), gold_of_other_locales=len(gold) - len(mine))
    names = [n for n in TRAINING_SETS.names if n not in ("snapshot_id", "run_id")]
    arrow = pa.schema([TRAINING_SETS.arrow.field(n) for n in names])
    gold_rows = run.spark.createDataFrame(
        pa.Table.from_pylist(list(_gold(mine)), schema=arrow),
        spark_schema(TRAINING_SETS, "snapshot_id", "run_id"),
    )
    known = {formulation_id(row.locale, normalise(row.utterance)) for row in mine}
    every = run.read("pseudo_labels").where(F.col("locale") == locale)
    labels = every.where("status = 'accepted'")
    # As many users as a label needs are behind the likeliest intent of these, too.
    floor, taken = run.settings.labels.vote_floor, run.settings.training.contested > 0
    divided = every.where((F.col("status") == "contested") & (F.col("users") >= floor) & F.lit(taken))
    of_gold = run.spark.createDataFrame([(name,) for name in sorted(known)], "formulation_id string")
    dev = {formulation_id(row.locale, normalise(row.utterance)) for row in mine if row.partition == "dev"}
    of_dev = run.spark.createDataFrame([(name,) for name in sorted(dev)], "formulation_id string")
    in_dev = every.where(_steers()).select("formulation_id").union(of_dev)
    pairs = run.keep(pairs_of(run, locale, every, in_dev))
    paired = pairs.select(F.explode(F.array("left_id", "right_id")).alias("formulation_id"))
    teaching = labels.select("formulation_id").union(divided.select("formulation_id")).union(of_gold).union(paired)
    judged = _judged(run, teaching, locale)
    mined = _labelled(run, labels, of_gold).unionByName(_contested(run, divided, of_gold))
    rows = gold_rows.unionByName(mined).unionByName(_gate_rows(run, judged, locale))
    rows = rows.withColumn("snapshot_id", F.lit(run.run_id))
    examples = run.write(TRAINING_SETS, rows, f"snapshot_id = '{run.run_id}'")
    paired_up = run.write(TRAINING_PAIRS, pairs, f"snapshot_id = '{run.run_id}'")
    said = run.read("translations").where(F.col("locale") == locale).withColumn("snapshot_id", F.lit(run.run_id))
    translated = run.write(TRAINING_TRANSLATIONS, said, f"snapshot_id = '{run.run_id}'")
    of_split = run.tally(TRAINING_SETS.name, "source", "split", where=pc.field("snapshot_id") == run.run_id)
    there = (pc.field("status") == "accepted") & (pc.field("locale") == locale)
    accepted = run.rows("pseudo_labels", there)
    in_gold = run.rows("pseudo_labels", there & pc.field("formulation_id").isin(pa.array(sorted(known), pa.string())))
    kept = sum(n for (source, _), n in of_split.items() if source == "pseudo_label")
    run.count(accepted=accepted, also_in_gold=in_gold, over_cluster_cap=accepted - in_gold - kept, examples=examples)
    contested = (pc.field("status") == "contested") & (pc.field("locale") == locale) & (pc.field("users") >= floor)
    found = run.rows("pseudo_labels", contested) if taken else 0
    # In gold, in a cluster that steers, or over the cap.
    run.count(contested=found, contested_left_out=found - of_split["contested", "train"])
    run.count(translations=translated)
    run.count(**{f"{source}.{split}": n for (source, split), n in sorted(of_split.items())})
    if run.settings.training.consistency > 0:
        run.count(pairs=paired_up)
    run.details["snapshot_id"] = run.run_id
    labelled = run.lake.manifest("pseudo_labels")
    of_locales = labelled.details.get("served_if_right", {}) if labelled else {}
    run.details["served_if_right"] = of_locales.get(locale) or 1.0
    _describe(run, locale)


def _describe(run: Run, locale: str) -> None:
    """The manifest and dataset card of the snapshot."""
    folder = run.lake.snapshots / run.run_id
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {
        "snapshot_id": run.run_id,
        "locale": locale,
        "inputs": run.inputs,
        "table_version": run.outputs[TRAINING_SETS.name],
        "gold": [{"file": name, "bytes": size} for name, size, _ in gold_stamp(run.lake, run.settings)],
        "settings": run.settings.model_dump(mode="json", include={"training", "labels", "seed"}),
        "counts": run.counts,
        "served_if_right": run.details["served_if_right"],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
    counts = "\n".join(f"| {name} | {value} |" for name, value in run.counts.items())
    card = f"""# Training set {run.run_id}, {locale}

Pseudo-labels mined from users' own rephrases, mixed with annotated examples. No annotator saw the pseudo-labelled rows.

- Votes of held-out users ({run.settings.labels.held_out_users:.0%}) are in no label. Their turns, and all users' turns
  in wordings without a label, are the `gate` split.
- Every pseudo-label has at least {run.settings.labels.vote_floor} distinct pseudonyms behind its intent,
  users of near wordings counted in.
- Rows whose `slots` are null train the intent, and the tagger where `tags` says what a token may be. Those from
  `contested` wordings train a distribution (`intents`).

| rows | number |
|---|---|
{counts}
"""
    (folder / "README.md").write_text(card, encoding="utf-8")


STEP = Step(
    name="training_sets",
    reads=("pseudo_labels", "translations", "turns", "rephrase_pairs"),
    writes=(TRAINING_SETS, TRAINING_PAIRS, TRAINING_TRANSLATIONS),
    settings=("training", "labels", "rephrase"),
    code=(jobs.voters, jobs.votes, jobs.training_pairs),
    run=_run,
    locale=True,
    also=gold_stamp,
)
