"""variant_edges -> variant_clusters (and cluster_events, cluster_links): who means the same, with ids that stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

import jobs.voters
import mining.clusters
from jobs.lake import Run, Step
from jobs.variant_edges import thresholds_of, vectors_of
from jobs.voters import VOTERS
from mining.clusters import cluster, stable_ids
from mining.thresholds import FIXED, to_medoid
from schemas.columns import STRINGS
from schemas.settings import ClusterSettings
from schemas.tables import CLUSTER_EVENTS, CLUSTER_LINKS, VARIANT_CLUSTERS

_EVENTS = pa.list_(
    pa.field("element", pa.struct([("event", pa.string()), ("cluster_id", pa.string()), ("others", STRINGS)]))
)
_CLUSTERED = pa.schema(
    [
        *(f for f in VARIANT_CLUSTERS.arrow if f.name != "run_id"),
        pa.field("events", _EVENTS),
        pa.field("apart", pa.int64()),
    ]
)
_SURE, _USERS = 0.8, 2  # mean acceptance and users that make an interpretation speak against another


def _kernel(
    settings: ClusterSettings, seed: int, least: Mapping[str, float]
) -> Callable[[pa.Table, pa.Table], pa.Table]:
    def kernel(utterances: pa.Table, edges: pa.Table) -> pa.Table:
        utterances, edges = (
            utterances.sort_by("formulation_id"),
            edges.sort_by([("left", "ascending"), ("right", "ascending")]),
        )
        ids = utterances.column("formulation_id").to_pylist()
        row = {name: i for i, name in enumerate(ids)}
        left = np.array([row[name] for name in edges.column("left").to_pylist()], dtype=np.int64)
        right = np.array([row[name] for name in edges.column("right").to_pylist()], dtype=np.int64)
        intents = utterances.column("intent").to_pylist()
        number = {intent: i for i, intent in enumerate(sorted({i for i in intents if i is not None}))}
        settled = np.array([number.get(intent, -1) for intent in intents], dtype=np.int64)
        one, other = settled[left], settled[right]
        near = least.get(utterances.column("locale")[0].as_py(), FIXED)
        join = near if settings.join_cosine is None else settings.join_cosine
        inside = to_medoid(near) if settings.min_medoid_cosine is None else settings.min_medoid_cosine
        apart = edges.column("edges").to_numpy()[(one >= 0) & (other >= 0) & (one != other)].sum()
        found = cluster(
            vectors_of(utterances),
            left,
            right,
            np.maximum(edges.column("cosine").to_numpy(), 0.05),
            leiden_above=settings.leiden_above,
            resolution=settings.resolution,
            min_medoid_cosine=inside,
            seed=seed,
            settled=settled,
            join_cosine=join,
        )
        medoid = [ids[i] for i in found.medoid]
        old = utterances.column("before").to_pylist()
        before = {name: was for name, was in zip(ids, old, strict=True) if was}
        cluster_ids, events = stable_ids(ids, found.cluster, medoid, before)
        size = np.bincount(found.cluster)[found.cluster]
        told = [[{"event": e.event, "cluster_id": e.cluster_id, "others": list(e.others)} for e in events]]
        columns = {
            "formulation_id": ids,
            "locale": utterances.column("locale"),
            "cluster_id": cluster_ids,
            "medoid": medoid,
            "size": size.astype(np.int32),
            "cohesion": found.cohesion,
            # What is told of the locale rides on its first row: a co-group returns one table.
            "events": pa.array(told + [None] * (len(ids) - 1), _EVENTS),
            "apart": pa.array([int(apart)] + [None] * (len(ids) - 1), pa.int64()),
        }
        return pa.table({name: columns[name] for name in _CLUSTERED.names}).cast(_CLUSTERED)

    return kernel


def _settled(turns: DataFrame) -> DataFrame:
    """Formulations whose users clearly accept one intent: no cluster may hold two that differ in it (on and off)."""
    of_intent = (
        turns.where(f"interpretation is not null and response = 'completed' and {VOTERS}")
        .groupBy("formulation_id", F.col("interpretation.intent").alias("intent"))
        .agg(
            F.round(F.avg(1 - F.col("friction")), 6).alias("acceptance"),
            F.count_distinct("user_id").alias("users"),
        )
    )
    sure = of_intent.where((F.col("acceptance") >= _SURE) & (F.col("users") >= _USERS))
    return sure.groupBy("formulation_id").agg(F.max_by("intent", F.struct("users", "intent")).alias("intent"))


def _links(across: DataFrame, rows: DataFrame) -> DataFrame:
    """For each cluster of the launch locale and each other locale, the cluster that most edges lead to."""
    of = rows.select("formulation_id", "cluster_id", F.col("locale").alias("of"))
    one = of.withColumnsRenamed({"formulation_id": "left", "cluster_id": "c1", "of": "l1"})
    other = of.withColumnsRenamed({"formulation_id": "right", "cluster_id": "c2", "of": "l2"})
    mine = F.col("l1") == F.col("locale")
    linked = (
        across.join(one, "left")
        .join(other, "right")
        .select(
            "locale", "cosine",
            F.when(mine, F.col("c1")).otherwise(F.col("c2")).alias("cluster_id"),
            F.when(mine, F.col("l2")).otherwise(F.col("l1")).alias("other_locale"),
            F.when(mine, F.col("c2")).otherwise(F.col("c1")).alias("other_cluster"),
        )
        .groupBy("locale", "cluster_id", "other_locale", "other_cluster")
        .agg(F.count("*").alias("edges"), F.round(F.avg("cosine"), 5).alias("cosine"))
    )  # fmt: skip
    best = Window.partitionBy("cluster_id", "other_locale").orderBy(F.desc("edges"), F.desc("cosine"), "other_cluster")
    return linked.withColumn("place", F.row_number().over(best)).where("place = 1").drop("place")


def _run(run: Run) -> None:
    utterances = run.read("utterances").select("locale", "formulation_id", "embedding")
    last = run.lake.published().get(VARIANT_CLUSTERS.name)
    if last is None:
        utterances = utterances.withColumn("before", F.lit(None).cast("string"))
    else:
        path = str(run.lake.table(VARIANT_CLUSTERS.name))
        before = run.spark.read.format("delta").option("versionAsOf", last).load(path)
        utterances = utterances.join(
            before.select("formulation_id", F.col("cluster_id").alias("before")), "formulation_id", "left"
        )
    utterances = utterances.join(_settled(run.read("turns")), "formulation_id", "left")
    every = run.read("variant_edges")
    within = every.where("kind in ('same_locale', 'rephrase')").groupBy("locale", "left", "right")
    joined = within.agg(F.max("cosine").alias("cosine"), F.count("*").alias("edges"))
    kernel = _kernel(run.settings.clusters, run.settings.seed, thresholds_of(run.lake))
    grouped = utterances.groupBy("locale").cogroup(joined.groupBy("locale"))
    rows = run.keep(grouped.applyInArrow(kernel, from_arrow_schema(_CLUSTERED)))
    formulations = run.write(VARIANT_CLUSTERS, rows.drop("events", "apart"))
    apart = rows.agg(F.sum("apart")).first()[0]
    run.count(cannot_links=apart or 0, formulations=formulations)
    # Every cluster has one medoid: counted without holding the clusters' names.
    run.count(clusters=run.rows(VARIANT_CLUSTERS.name, pc.field("formulation_id") == pc.field("medoid")))
    events = rows.where("events is not null").select("locale", F.explode("events").alias("e")).select("locale", "e.*")
    run.count(events=run.write(CLUSTER_EVENTS, events))
    run.count(cluster_links=run.write(CLUSTER_LINKS, _links(every.where("kind = 'cross_locale'"), rows)))


STEP = Step(
    name="variant_clusters",
    reads=("utterances", "variant_edges", "turns"),
    writes=(VARIANT_CLUSTERS, CLUSTER_EVENTS, CLUSTER_LINKS),
    settings=("clusters",),
    code=(jobs.voters, mining.clusters),
    run=_run,
)
