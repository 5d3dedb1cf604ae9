"""turns, rephrase_pairs, variant_clusters -> reformulations: where tries of a state end well, over all users."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

import jobs.voters
import mining.absorption
import schemas.normalise
from jobs.lake import Run, Step
from jobs.voters import OF_VOTERS, VOTERS
from mining.absorption import absorb
from schemas.normalise import formulation_id, normalise
from schemas.tables import REFORMULATIONS

_STATE = ("locale", "cluster_id", "interpretation")
_SOLVED = pa.schema([f for f in REFORMULATIONS.arrow if f.name != "run_id"])


def _said(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The formulation that a user spoke before a deployed rewrite replaced it."""
    for batch in batches:
        texts = zip(batch.column("locale").to_pylist(), batch.column("rewritten_from").to_pylist(), strict=True)
        spoken = pa.array([formulation_id(locale, normalise(text)) for locale, text in texts], pa.string())
        yield pa.RecordBatch.from_arrays([batch.column("interaction_id"), spoken], ["interaction_id", "said"])


def _interpretation() -> Column:
    """Intent and slot types, whatever the values; "" where nothing was understood."""
    understood = F.col("interpretation").isNotNull() & (F.col("response") != "no_match")
    types = F.array_sort(F.array_distinct(F.transform("interpretation.slots", lambda slot: slot["name"])))
    return F.when(
        understood, F.concat("interpretation.intent", F.lit("("), F.array_join(types, ","), F.lit(")"))
    ).otherwise("")


def intent_of(interpretation: str) -> Column:
    """The intent of a column of interpretations: what stands before its slot types."""
    return F.regexp_replace(interpretation, r"\([^(]*$", "")


def _states(turns: DataFrame, clusters: DataFrame) -> DataFrame:
    """The state of each turn: the cluster of what its user said, and what the model made of it."""
    exposed = turns.where("rewritten_from is not null").select("interaction_id", "locale", "rewritten_from")
    said = exposed.mapInArrow(_said, "interaction_id string, said string")
    member = clusters.select("formulation_id", "cluster_id")
    states = turns.join(said, "interaction_id", "left").withColumn("exposed", F.col("said").isNotNull())
    states = states.withColumn("formulation_id", F.coalesce("said", "formulation_id")).join(
        member, "formulation_id", "left"
    )
    # What was spoken only before a rewrite has no cluster: it stands for itself.
    cluster = F.coalesce("cluster_id", "formulation_id").alias("cluster_id")
    understood = _interpretation().alias("interpretation")
    return states.select("interaction_id", "user_id", "locale", cluster, understood, "friction", "exposed")


def _moves(states: DataFrame, pairs: DataFrame) -> DataFrame:
    """Weight of each state's moves and ends over all users, a user's turns in a state weighing one in all.

    A turn ends accepted by one minus its friction; of the rest, its rephrase moves on by the pair's posterior, and the
    remainder is given up.
    """
    target = states.select(F.col("interaction_id").alias("target"), F.struct(*_STATE).alias("to"))
    moved = pairs.select(F.col("source").alias("interaction_id"), "target", "posterior").join(target, "target")
    of_user = (
        states.join(moved.drop("target"), "interaction_id", "left")
        .withColumn("moves", F.when(F.col("to").isNull(), 0.0).otherwise(F.col("friction") * F.col("posterior")))
        .groupBy(*_STATE, "user_id", "to")
        .agg(
            F.count("*").alias("events"),
            F.sum(F.col("exposed").cast("long")).alias("exposed"),
            F.sum("moves").alias("moves"),
            F.sum(1 - F.col("friction")).alias("accepted"),
            F.sum(F.col("friction") - F.col("moves")).alias("abandoned"),
        )
    )
    own = of_user.groupBy(*_STATE, "user_id").agg(F.sum("events").alias("own"))
    users = own.groupBy(*_STATE).agg(F.count("*").alias("users"))
    shares = of_user.join(own, [*_STATE, "user_id"]).join(users, [*_STATE])
    weights = (F.round(F.sum(F.col(c) / F.col("own")), 9).alias(c) for c in ("moves", "accepted", "abandoned"))
    counts = (F.sum(c).alias(c) for c in ("events", "exposed"))
    return shares.groupBy(*_STATE, "to").agg(*weights, *counts, F.first("users").alias("users"))


def _name(row: dict[str, Any]) -> tuple[str, str]:
    return row["cluster_id"], row["interpretation"]


def _solve(table: pa.Table) -> pa.Table:
    """One locale's chain: its states numbered, solved, and named again."""
    rows = table.to_pylist()
    states = sorted({_name(row) for row in rows})
    number = {state: i for i, state in enumerate(states)}
    at = np.array([number[_name(row)] for row in rows])
    sums = {
        c: np.bincount(at, [row[c] for row in rows], len(states))
        for c in ("accepted", "abandoned", "events", "exposed")
    }
    goes = [(i, number[_name(row["to"])], row["moves"]) for i, row in zip(at, rows, strict=True) if row["to"]]
    source, target, weight = zip(*goes, strict=True) if goes else ((), (), ())
    moves = sp.csr_matrix((np.array(weight, dtype=np.float64), (source, target)), (len(states), len(states)))
    found = absorb(moves, sums["accepted"].astype(np.float64), sums["abandoned"].astype(np.float64))
    users = {state: row["users"] for state, row in zip(map(_name, rows), rows, strict=True)}
    columns = {
        "locale": [rows[0]["locale"]] * len(states),
        "cluster_id": [state[0] for state in states],
        "interpretation": [state[1] for state in states],
        "best_cluster": [states[i][0] for i in found.best],
        "best_interpretation": [states[i][1] for i in found.best],
        "probability": np.round(found.probability, 6),
        "own_probability": np.round(found.own, 6),
        "abandoned": np.round(found.abandoned, 6),
        "users": [users[state] for state in states],
        "best_users": [users[states[i]] for i in found.best],
        "events": sums["events"].astype(np.int64),
        "exposed_events": sums["exposed"].astype(np.int64),
    }
    return pa.table({field: columns[field] for field in _SOLVED.names}).cast(_SOLVED)


def _run(run: Run) -> None:
    turns = run.read("turns").where(VOTERS)
    pairs = (
        run.read("rephrase_pairs")
        .where("kind != 'new_request' and not held_out")
        .select("source", "target", "posterior")
    )
    states = run.keep(_states(turns, run.read("variant_clusters")))  # read twice, as source and as target
    made = _moves(states, pairs).groupBy("locale").applyInArrow(_solve, from_arrow_schema(_SOLVED))
    run.count(turns=run.rows("turns", OF_VOTERS), states=run.write(REFORMULATIONS, made))
    stays = (pc.field("best_cluster") == pc.field("cluster_id")) & (
        pc.field("best_interpretation") == pc.field("interpretation")
    )
    run.count(advised=run.rows(REFORMULATIONS.name, ~stays))


STEP = Step(
    name="reformulations",
    reads=("turns", "rephrase_pairs", "variant_clusters"),
    writes=(REFORMULATIONS,),
    settings=(),
    code=(jobs.voters, mining.absorption, schemas.normalise),
    run=_run,
)
