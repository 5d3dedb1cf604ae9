"""Frames of votes: who votes for what, what the champion guessed, and whom near wordings bring along."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from mining.intent_prior import intent_prior
from mining.votes import COUNTED, Evidence, tallied
from schemas.columns import list_of

_MOST_MATES = 50  # users of one near wording that are counted
_MOST_TAKEN = 20  # turns of a wording that the prior's exponent is fitted to
_NAMED, _MOST_NAMED = 0.01, 5  # intents of a prior that are kept
_WEIGHTS = list_of(pa.struct([("intent", pa.string()), ("weight", pa.float64())]))
_EVIDENCE = pa.schema(
    [
        ("locale", pa.string()),
        ("formulation_id", pa.string()),
        ("guesses", _WEIGHTS),
        ("votes", _WEIGHTS),
        ("taken", _WEIGHTS),
    ]
)
_PRIOR = pa.schema(
    [("locale", pa.string()), ("formulation_id", pa.string()), ("prior", _WEIGHTS), ("fitted", pa.string())]
)


def spoken_alone(turns: DataFrame) -> DataFrame:
    """Turns less those that answer a question with a bare value: out of its dialogue such a text means nothing."""
    bare = "exists(interpretation.slots, s -> s.start = 0 and s.end = char_length(utterance))"
    return turns.where(f"not coalesce({bare}, false)")


def intent_survival(turns: DataFrame, pairs: DataFrame) -> DataFrame:
    """For each locale, how often a turn that did not serve its user had the right intent all the same.

    Friction speaks of the user, who wants the values right as well; votes are about the intent. The share of reworded
    answered turns whose next try was accepted with the same intent is a lower bound of it, and falls towards zero
    where a model knows nothing.

    Returns:
        locale, survival, and what follows from it: served, how often a completed turn with the right intent served.
    """
    answered_turns = turns.where("response = 'completed' and interpretation is not null")
    answered = answered_turns.select(
        F.col("interaction_id").alias("source"), F.col("interpretation.intent").alias("first")
    )
    same = F.coalesce(F.col("target_interpretation.intent") == F.col("first"), F.lit(False)).cast("double")
    reworded = pairs.where("kind = 'rephrase'").join(answered, "source")
    seen = reworded.groupBy("locale").agg(
        F.sum(F.col("posterior") * F.col("target_acceptance") * same).alias("same"), F.sum("posterior").alias("all")
    )
    survival = seen.select("locale", F.round(F.col("same") / F.col("all"), 6).alias("survival"))
    accepted = answered_turns.groupBy("locale").agg(F.avg(1 - F.col("friction")).alias("accepted"))
    share = "accepted / greatest(accepted + (1 - accepted) * coalesce(survival, 0D), 1e-9)"
    told = accepted.join(survival, "locale", "left")
    return told.select("locale", "survival", F.round(F.expr(share), 6).alias("served"))


def intent_right(served: str, survival: str = "survival") -> Column:
    """Probability that the intent was right, of the probability that the user was served."""
    survives = F.coalesce(F.col(survival), F.lit(0.0))
    return F.expr(served) + (1 - F.expr(served)) * survives


def votes_of(turns: DataFrame, pairs: DataFrame, survival: DataFrame) -> DataFrame:
    """One row a vote: formulation, voter, source, interpretation, support, opposition, pair, and of completed turns the
    odds: how much likelier what the user did next is where the intent was right than where it was wrong.

    The odds leave out what friction owes to the model's own confidence, which the prior already has.
    """
    shape = ("formulation_id", "user_id", "source", "interpretation", "support", "opposition", "pair_id", "odds")
    against = "aggregate(filter(evidence, e -> e.name in ('feedback', 'continued')), 0D, (sum, e) -> sum + e.weight)"
    own = (
        spoken_alone(turns)
        .where("interpretation is not null and response in ('completed', 'failed', 'clarification')")
        .join(F.broadcast(survival), "locale", "left")
        .withColumn("source", F.lit("own"))
        .withColumn("right", intent_right("1 - friction"))
        # What failed to be carried out or is still being asked back was not accepted, but neither was it rejected.
        .withColumn("support", F.when(F.col("response") == "completed", F.col("right")).otherwise(0.0))
        .withColumn("opposition", F.when(F.col("response") == "completed", 1 - F.col("right")).otherwise(0.0))
        .withColumn("pair_id", F.lit(None).cast("string"))
        .withColumn("odds", F.expr(f"if(response = 'completed', 1 + served * (pow(2D, -({against})) - 1), null)"))
        .withColumn("odds", F.round("odds", 6))
        .select(*shape)
    )
    rephrased = (
        pairs.where("kind = 'rephrase' and target_interpretation is not null")
        .join(F.broadcast(survival), "locale", "left")
        .withColumn("formulation_id", F.col("source_formulation"))
        .withColumn("source", F.lit("rephrase"))
        .withColumn("interpretation", F.col("target_interpretation"))
        .withColumn("support", F.col("posterior") * intent_right("target_acceptance"))
        .withColumn("opposition", F.lit(0.0))
        .withColumn("odds", F.lit(None).cast("double"))
        .select(*shape)
    )
    return own.unionByName(rephrased)


def guesses_of(turns: DataFrame) -> DataFrame:
    """What the champions held for likely of each formulation, summed over its turns; of the empty intent, the turns.

    Returns:
        formulation_id, guesses (intent, weight).
    """
    served = F.struct(F.col("interpretation.intent").alias("intent"), F.col("confidence").alias("weight"))
    best = F.when(F.col("interpretation").isNotNull(), F.array(served)).otherwise(F.array())
    behind = F.expr("transform(alternatives, a -> struct(a.intent as intent, a.confidence as weight))")
    once = F.array(F.struct(F.lit("").alias("intent"), F.lit(1.0).alias("weight")))
    answered = spoken_alone(turns).where("confidence is not null and response != 'cancelled'")
    said = answered.select("formulation_id", F.explode(F.concat(once, best, behind)).alias("g"))
    summed = said.groupBy("formulation_id", "g.intent").agg(F.round(F.sum("g.weight"), 6).alias("weight"))
    return summed.groupBy("formulation_id").agg(F.collect_list(F.struct("intent", "weight")).alias("guesses"))


def evidence(votes: Iterable[dict[str, Any]], name: str) -> list[Evidence]:
    """The votes of one row as evidence."""
    return [
        Evidence(
            name, v["user_id"], v["source"], v["interpretation"]["intent"],
            tuple((s["name"], s["value"]) for s in v["interpretation"]["slots"] or ()),
            v["support"], v["opposition"], v["pair_id"],
        )
        for v in votes
    ]  # fmt: skip


def _weighing(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Each formulation's votes by intent, one a user, and how its users took what they were served."""

    def weighed(row: dict[str, Any]) -> dict[str, Any]:
        found = evidence(row["votes"] or (), row["formulation_id"])
        own = [v for v in row["votes"] or () if v["odds"] is not None]
        took = sorted((v["user_id"], v["interpretation"]["intent"], v["odds"]) for v in own)
        return row | {
            "votes": [{"intent": i, "weight": w} for i, w in sorted(tallied(found).weights().items())],
            "taken": [{"intent": i, "weight": odds} for _, i, odds in took[:_MOST_TAKEN]],
        }

    for batch in batches:
        rows = map(weighed, batch.to_pylist())
        while made := list(islice(rows, 5_000)):
            yield from pa.Table.from_pylist(made, schema=_EVIDENCE).to_batches()


def _matrix(lists: pa.ChunkedArray, number: dict[str, int]) -> np.ndarray:
    row, column, weight = _entries(lists, number)
    table = np.zeros((len(lists), len(number)))
    np.add.at(table, (row, column), weight)
    return table


def _entries(lists: pa.ChunkedArray, number: dict[str, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    lists = lists.combine_chunks()
    row, entries = pc.list_parent_indices(lists).to_numpy(), lists.flatten()
    names = entries.field("intent").to_pylist()
    column = np.array([number.get(name, -1) for name in names], dtype=np.int64)
    kept = column >= 0
    return row[kept], column[kept], entries.field("weight").to_numpy(zero_copy_only=False)[kept]


def _fitting(weighed: pa.Table, edges: pa.Table) -> pa.Table:
    """The prior of one locale."""
    weighed = weighed.sort_by("formulation_id")
    edges = edges.sort_by([("left", "ascending"), ("right", "ascending")])
    if not len(weighed):
        return _PRIOR.empty_table()
    said = [pc.unique(pc.struct_field(pc.list_flatten(weighed[c]), "intent")) for c in ("guesses", "votes")]
    names = sorted({name for some in said for name in some.to_pylist()} - {""})
    number = {name: i for i, name in enumerate(names)}
    turns = _matrix(weighed["guesses"], {"": 0})
    guesses = _matrix(weighed["guesses"], number) / np.maximum(turns, 1)
    guesses /= np.maximum(guesses.sum(axis=1, keepdims=True), 1)
    ids = weighed["formulation_id"]
    place = [pc.index_in(edges[c], value_set=ids.combine_chunks()) for c in ("left", "right")]
    known = pc.and_(pc.is_valid(place[0]), pc.is_valid(place[1])).to_numpy()
    left, right = (p.to_numpy()[known].astype(np.int64) for p in place)
    cosine = edges["cosine"].to_numpy()[known]
    votes, taken = _matrix(weighed["votes"], number), _entries(weighed["taken"], number)
    found = intent_prior(guesses, votes, (left, right, cosine), taken)
    best = np.argsort(-found.probability, axis=1, kind="stable")[:, :_MOST_NAMED]
    chance = np.round(np.take_along_axis(found.probability, best, axis=1), 9)
    prior = [
        [{"intent": names[i], "weight": p} for i, p in zip(row, chances, strict=True) if p >= _NAMED]
        for row, chances in zip(best.tolist(), chance.tolist(), strict=True)
    ]
    told = json.dumps({"exponent": found.exponent, "agreement": found.agreement})
    # What was fitted rides on the locale's first row: a co-group returns one table.
    fitted = [told] + [None] * (len(ids) - 1)
    columns = [weighed["locale"], ids, pa.array(prior, _WEIGHTS), pa.array(fitted, pa.string())]
    return pa.table(columns, schema=_PRIOR)


def priors_of(formulations: DataFrame, edges: DataFrame) -> DataFrame:
    """The prior of each formulation's intent; see `mining.intent_prior`.

    Args:
        formulations: locale, formulation_id, guesses, votes.
        edges: locale, left, right, cosine, each pair once.

    Returns:
        locale, formulation_id, prior (intent, weight), fitted (JSON, on one row of each locale).

    Cost: one task a locale, that of `intent_prior`.
    """
    chosen = formulations.select("locale", "formulation_id", "guesses", "votes")
    weighed = chosen.mapInArrow(_weighing, from_arrow_schema(_EVIDENCE))
    return weighed.groupBy("locale").cogroup(edges.groupBy("locale")).applyInArrow(_fitting, from_arrow_schema(_PRIOR))


def backers_of(votes: DataFrame, edges: DataFrame) -> DataFrame:
    """Distinct users behind each intent of a formulation: its own, and of each near wording at most 50.

    Returns:
        formulation_id, backers (intent, users).
    """
    intent = F.col("interpretation.intent").alias("intent")
    own = votes.where(F.col("support") >= COUNTED).select("formulation_id", intent, "user_id").distinct()
    some = F.slice(F.sort_array(F.collect_set("user_id")), 1, _MOST_MATES)
    mates = own.groupBy(F.col("formulation_id").alias("mate"), "intent").agg(some.alias("users"))
    forth = edges.select(F.col("left").alias("formulation_id"), F.col("right").alias("mate"))
    back = edges.select(F.col("right").alias("formulation_id"), F.col("left").alias("mate"))
    heard = (
        forth.unionByName(back)
        .join(mates, "mate")
        .select("formulation_id", "intent", F.explode("users").alias("user_id"))
    )
    every = own.unionByName(heard).groupBy("formulation_id", "intent").agg(F.count_distinct("user_id").alias("users"))
    return every.groupBy("formulation_id").agg(F.collect_list(F.struct("intent", "users")).alias("backers"))
