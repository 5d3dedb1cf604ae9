"""Frames of votes: who votes for what, what the champion guessed, what users did with it, and whom near wordings bring
along."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from jobs.reformulations import intent_of
from jobs.translations import Mature
from mining.intent_posterior import Links, intent_posterior
from mining.votes import COUNTED, Evidence
from mining.wishes import Wishes
from schemas.columns import list_of

_MOST_MATES = 50  # users of one near wording that are counted
_MOST_SPEAKERS = 8  # of one wording, whose other wordings are looked at
_SUREST = 6.0  # bits that what users did counts for at most
_LIKE = 0.97  # probability that two wordings mean the same, at most
_NAMED, _MOST_NAMED = 0.01, 5  # intents of a posterior that are kept
_LEAST_ENDED = 0.05  # users whose tries end well with an intent; fewer say nothing
_MOST_ENDED = 10  # intents with which tries of a cluster end well, that are kept
_WEIGHTS = list_of(pa.struct([("intent", pa.string()), ("weight", pa.float64())]))
_WISH = pa.struct(
    [
        ("wish_id", pa.string()),
        ("intent", pa.string()),
        ("probability", pa.float64()),
        ("wordings", pa.int64()),
        ("users", pa.int64()),
    ]
)
_POSTERIOR = pa.schema(
    [
        ("locale", pa.string()),
        ("formulation_id", pa.string()),
        ("posterior", _WEIGHTS),
        ("wish", _WISH),
        ("fitted", pa.string()),
    ]
)


def spoken_alone(turns: DataFrame) -> DataFrame:
    """Turns less those that answer a question with a bare value: out of its dialogue such a text means nothing."""
    bare = "exists(interpretation.slots, s -> s.start = 0 and s.end = char_length(utterance))"
    return turns.where(f"not coalesce({bare}, false)")


def intent_survival(turns: DataFrame, pairs: DataFrame) -> DataFrame:
    """For each locale, how often a turn that did not serve its user had the right intent all the same.

    Friction speaks of the user, who wants the values right as well; votes are about the intent. Of reworded answered
    turns whose next try was accepted one sees whether the intent changed, of those whose next try failed too one does
    not. None of the latter with the same intent is a lower bound, as many as of the former an upper one (wishes that a
    model understands at last are wishes it often understands); the middle of the two is taken. Both fall towards zero
    where a model knows nothing. Bounds after Manski, "Nonparametric bounds on treatment effects", 1990.

    Returns:
        locale, survival, and what follows from it: served, how often an answer with the right intent served. A
        wording's answer serves all its users or none, so each wording counts once, whoever says it.
    """
    answered_turns = turns.where("response = 'completed' and interpretation is not null")
    answered = answered_turns.select(
        F.col("interaction_id").alias("source"), F.col("interpretation.intent").alias("first")
    )
    same = F.coalesce(F.col("target_interpretation.intent") == F.col("first"), F.lit(False)).cast("double")
    reworded = pairs.where("kind = 'rephrase'").join(answered, "source")
    accepted_try = F.col("posterior") * F.col("target_acceptance")
    each = reworded.groupBy("locale", "user_id", "source_formulation", "target_formulation").agg(
        F.avg(accepted_try * same).alias("same"), F.avg(accepted_try).alias("accepted"), F.avg("posterior").alias("all")
    )
    seen = each.groupBy("locale").agg(*(F.sum(name).alias(name) for name in ("same", "accepted", "all")))
    middle = F.expr("(same / all + same / accepted) / 2")
    survival = seen.select("locale", F.round(middle, 6).alias("survival"))
    heard = answered_turns.groupBy("locale", "user_id", "formulation_id").agg(F.avg(1 - F.col("friction")).alias("a"))
    answers = heard.groupBy("locale", "formulation_id").agg(F.avg("a").alias("a"))
    accepted = answers.groupBy("locale").agg(F.avg("a").alias("accepted"))
    share = "accepted / greatest(accepted + (1 - accepted) * coalesce(survival, 0D), 1e-9)"
    told = accepted.join(survival, "locale", "left")
    return told.select("locale", "survival", F.round(F.expr(share), 6).alias("served"))


def intent_right(served: str, survival: str = "survival") -> Column:
    """Probability that the intent was right, of the probability that the user was served."""
    survives = F.coalesce(F.col(survival), F.lit(0.0))
    return F.expr(served) + (1 - F.expr(served)) * survives


def votes_of(turns: DataFrame, pairs: DataFrame, survival: DataFrame) -> DataFrame:
    """One row a vote: formulation, voter, source, interpretation, support, opposition, pair, told_slots; and for the
    slots `right` and `bits`, see `mining.slot_evidence.Vote`.

    Args:
        turns, pairs: marked by `jobs.taught.mark`, pairs by their target.
    """
    shape = ("formulation_id", "user_id", "source", "interpretation", "support", "opposition", "pair_id", "told_slots",
             "right", "bits")  # fmt: skip
    own = (
        spoken_alone(turns)
        .where("interpretation is not null and response in ('completed', 'failed', 'clarification')")
        .join(F.broadcast(survival), "locale", "left")
        .withColumn("source", F.lit("own"))
        .withColumn("believed", intent_right("1 - friction"))
        # What failed to be carried out or is still being asked back was not accepted, but neither was it rejected.
        .withColumn("support", F.when(F.col("response") == "completed", F.col("believed")).otherwise(0.0))
        .withColumn("opposition", F.when(F.col("response") == "completed", 1 - F.col("believed")).otherwise(0.0))
        .withColumn("right", F.lit(1.0))
        .withColumn("bits", F.when(F.col("response") == "completed", -_against()))
        .withColumn("pair_id", F.lit(None).cast("string"))
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
        .withColumn("right", F.col("posterior") * F.col("target_acceptance"))
        .withColumn("bits", F.lit(None).cast("double"))
        .select(*shape)
    )
    return own.unionByName(rephrased)


def _against() -> Column:
    """Bits by which what a turn's user did speaks against its answer, less what friction owes to the answer."""
    did = "filter(evidence, e -> e.name in ('feedback', 'continued', 'others'))"
    return F.expr(f"aggregate({did}, 0D, (sum, e) -> sum + e.weight)")


def served_of(turns: DataFrame, survival: DataFrame) -> DataFrame:
    """What each formulation was answered with, and the odds: how much likelier what its users did is where that intent
    was right than where it was wrong. They leave out what friction owes to the answer itself, which guesses have.

    Returns:
        formulation_id, served (intent, weight).
    """
    answered = spoken_alone(turns).where("interpretation is not null and response = 'completed'")
    against = answered.withColumn("against", _against())
    each = against.groupBy("locale", "formulation_id", F.col("interpretation.intent").alias("intent"))
    # Turns of one answer show the same; where the values differed, the intent's answers are taken together.
    bits = each.agg(F.round(F.avg("against"), 6).alias("against")).join(F.broadcast(survival), "locale", "left")
    odds = F.expr(f"1 + served * (pow(2D, -greatest(least(against, {_SUREST}), -{_SUREST})) - 1)")
    served = F.struct("intent", F.round(odds, 9).alias("weight"))
    return bits.groupBy("formulation_id").agg(F.collect_list(served).alias("served"))


def said_instead(turns: DataFrame, pairs: DataFrame) -> DataFrame:
    """Formulations that users said instead of each other. A pair speaks for its user among all users of a formulation.

    Returns:
        locale, left, right, cosine (null), forth, back: `mining.intent_posterior.Links`.
    """
    users = turns.groupBy("formulation_id").agg(F.count_distinct("user_id").alias("users"))
    each = pairs.where("kind = 'rephrase' and source_formulation != target_formulation").groupBy(
        "locale", F.col("source_formulation").alias("left"), F.col("target_formulation").alias("right"), "user_id"
    )
    once = each.agg(F.max("posterior").alias("posterior"))
    agreed = once.groupBy("locale", "left", "right").agg(F.round(F.sum("posterior"), 6).alias("agreed"))
    of = {end: users.select(F.col("formulation_id").alias(end), F.col("users").alias(f"{end}_users"))
          for end in ("left", "right")}  # fmt: skip
    counted = agreed.join(of["left"], "left").join(of["right"], "right")
    return counted.select(
        "locale", "left", "right", F.lit(None).cast("double").alias("cosine"),
        F.expr(f"least(agreed / left_users, {_LIKE})").alias("forth"),
        F.expr(f"least(agreed / right_users, {_LIKE})").alias("back"),
    )  # fmt: skip


def absorbed_of(reformulations: DataFrame, clusters: DataFrame) -> DataFrame:
    """With which intents tries of a formulation's variant cluster end well, over all users: the states of the cluster,
    each with its users times the probability that they end in its best state.

    Returns:
        formulation_id, absorbed (intent, weight: users): the likeliest; no rows where none ends well.
    """
    understood = reformulations.where("best_interpretation != ''")
    ends = understood.groupBy("cluster_id", intent_of("best_interpretation").alias("intent"))
    weighed = ends.agg(F.round(F.sum(F.col("users") * F.col("probability")), 6).alias("weight"))
    said = F.sort_array(F.collect_list(F.struct("weight", "intent")), asc=False)
    of_cluster = weighed.where(F.col("weight") >= _LEAST_ENDED).groupBy("cluster_id").agg(said.alias("ends"))
    named = F.expr(f"transform(slice(ends, 1, {_MOST_ENDED}), e -> struct(e.intent as intent, e.weight as weight))")
    return clusters.join(of_cluster, "cluster_id").select("formulation_id", named.alias("absorbed"))


def speakers_of(turns: DataFrame) -> DataFrame:
    """Who says each formulation: formulation_id, speakers (hashes of users, at most 8)."""
    users = F.sort_array(F.collect_set(F.xxhash64("user_id")))
    return turns.groupBy("formulation_id").agg(F.slice(users, 1, _MOST_SPEAKERS).alias("speakers"))


def guesses_of(turns: DataFrame, again: DataFrame | None = None) -> DataFrame:
    """What the champions held for likely of each formulation, summed over its turns; of the empty intent, the turns.

    Left out are turns that were answered by a model that had been taught the formulation's label: it would confirm
    itself (`told_intent`, of `jobs.taught.mark`).

    Args:
        again: formulation_id, guesses (intent, probability): the present champion's second guess of what others
            answered (`second_guesses`), which counts for as much as all their answers.

    Returns:
        formulation_id, guesses (intent, weight).
    """
    served = F.struct(F.col("interpretation.intent").alias("intent"), F.col("confidence").alias("weight"))
    best = F.when(F.col("interpretation").isNotNull(), F.array(served)).otherwise(F.array())
    behind = F.expr("transform(alternatives, a -> struct(a.intent as intent, a.confidence as weight))")
    once = F.array(F.struct(F.lit("").alias("intent"), F.lit(1.0).alias("weight")))
    answered = spoken_alone(turns).where("confidence is not null and response != 'cancelled' and not told_intent")
    said = answered.select("formulation_id", F.explode(F.concat(once, best, behind)).alias("g"))
    summed = said.groupBy("formulation_id", "g.intent").agg(F.round(F.sum("g.weight"), 6).alias("weight"))
    logged = summed.groupBy("formulation_id").agg(F.collect_list(F.struct("intent", "weight")).alias("guesses"))
    if again is None:
        return logged
    second = again.select("formulation_id", F.col("guesses").alias("second"))
    turns_of = F.expr("coalesce(filter(guesses, g -> g.intent = '')[0].weight, 1D)")
    both = logged.join(second, "formulation_id", "full").withColumn("turns", turns_of)
    named = "transform(second, g -> struct(g.intent as intent, round(g.probability * turns, 6) as weight))"
    every = f"concat({named}, array(struct('' as intent, turns as weight)))"
    added = F.expr(f"concat(coalesce(guesses, array()), if(second is null, array(), {every}))")
    return both.select("formulation_id", added.alias("guesses"))


def values_of(vote: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Type and value of each slot that a vote is for."""
    return tuple((s["name"], s["value"]) for s in vote["interpretation"]["slots"] or ())


def evidence(votes: Iterable[Mapping[str, Any]], name: str) -> list[Evidence]:
    """The votes of one row as evidence."""
    return [
        Evidence(
            name, v["user_id"], v["source"], v["interpretation"]["intent"], values_of(v),
            v["support"], v["opposition"], v["pair_id"],
        )
        for v in votes
    ]  # fmt: skip


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


def _wish_of(found: Wishes, ids: pa.Array, names: list[str]) -> pa.Array:
    """Each row's wish: null where it has none; its id is the first of its formulations."""
    inside = np.flatnonzero(found.of >= 0)
    of = found.of[inside]
    first = np.zeros(len(found.wordings), dtype=np.int64)
    first[of[::-1]] = inside[::-1]  # rows are sorted by id
    best = found.told[inside].argmax(axis=1) if len(inside) else of
    columns = [
        ids.take(pa.array(first[of])),
        pa.array(np.array(names, dtype=object)[best], pa.string()),
        pa.array(np.round(found.told[inside, best], 9)),
        pa.array(found.wordings[of], pa.int64()),
        pa.array(found.users[of], pa.int64()),
    ]
    place = np.full(len(ids), -1)
    place[inside] = np.arange(len(inside))
    rows = pa.StructArray.from_arrays(columns, fields=list(_WISH))
    return rows.take(pa.array(place, mask=place < 0))


def _fitting(mature: Mature, formulations: pa.Table, links: pa.Table) -> pa.Table:
    """The posterior of one locale."""
    formulations = formulations.sort_by("formulation_id")
    if not len(formulations):
        return _POSTERIOR.empty_table()
    told_by = ("guesses", "served", "annotated", "absorbed")
    said = [pc.unique(pc.struct_field(pc.list_flatten(formulations[c]), "intent")) for c in told_by]
    of_mature = {s.intent for s in mature.utterances}
    names = sorted({name for some in said for name in some.to_pylist()} - {""} | of_mature)
    number = {name: i for i, name in enumerate(names)}
    turns = _matrix(formulations["guesses"], {"": 0})
    guesses = _matrix(formulations["guesses"], number) / np.maximum(turns, 1)
    guesses /= np.maximum(guesses.sum(axis=1, keepdims=True), 1)
    ids = formulations["formulation_id"].combine_chunks()
    links = links.sort_by([("left", "ascending"), ("right", "ascending")])
    place = [pc.index_in(links[c], value_set=ids) for c in ("left", "right")]
    known = pc.and_(pc.is_valid(place[0]), pc.is_valid(place[1]))
    links, ends = links.filter(known), [p.filter(known).to_numpy().astype(np.int64) for p in place]
    of = {c: links[c].to_numpy() for c in ("cosine", "forth", "back")}
    near = ~np.isnan(of["cosine"])
    rephrases = Links(ends[0][~near], ends[1][~near], of["forth"][~near], of["back"][~near])
    near_to = ends[0][near], ends[1][near], of["cosine"][near]
    annotated = _matrix(formulations["annotated"], number)
    absorbed = _matrix(formulations["absorbed"], number)
    served = _entries(formulations["served"], number)
    speakers = formulations["speakers"].combine_chunks()
    _, user = np.unique(speakers.flatten().to_numpy(), return_inverse=True)
    spoken = pc.list_parent_indices(speakers).to_numpy(), user
    locale = formulations["locale"][0].as_py()
    translate = mature.translating(locale, formulations["utterance"].to_pylist(), names, spoken)
    found = intent_posterior(guesses, served, rephrases, near_to, annotated, spoken, translate, absorbed)
    best = np.argsort(-found.probability, axis=1, kind="stable")[:, :_MOST_NAMED]
    chance = np.round(np.take_along_axis(found.probability, best, axis=1), 9)
    posterior = [
        [{"intent": names[i], "weight": p} for i, p in zip(row, chances, strict=True) if p >= _NAMED]
        for row, chances in zip(best.tolist(), chance.tolist(), strict=True)
    ]
    told = json.dumps({"agreement": found.agreement, "wishes": len(found.wishes.wordings)})
    # What was fitted rides on the locale's first row: a co-group returns one table.
    fitted = [told] + [None] * (len(ids) - 1)
    wish = _wish_of(found.wishes, ids, names)
    columns = [formulations["locale"], ids, pa.array(posterior, _WEIGHTS), wish, pa.array(fitted, pa.string())]
    return pa.table(columns, schema=_POSTERIOR)


def posteriors_of(formulations: DataFrame, near: DataFrame, instead: DataFrame, mature: Mature) -> DataFrame:
    """The posterior of each formulation's intent; see `mining.intent_posterior`.

    Args:
        formulations: locale, formulation_id, utterance, guesses, served, annotated, absorbed, speakers.
        near: locale, left, right, cosine, each pair once.
        instead: as `said_instead` returns them.
        mature: what translations are learnt from, which tell of intents.

    Returns:
        locale, formulation_id, posterior (intent, weight), wish (null where it is of no large community: wish_id, what
        it means: intent, probability; its wordings and users), fitted (JSON, on one row of each locale).

    Cost: one task a locale, that of `intent_posterior`.
    """

    def kernel(rows: pa.Table, links: pa.Table) -> pa.Table:
        return _fitting(mature, rows, links)

    one = F.lit(None).cast("double")
    links = near.select("locale", "left", "right", "cosine", one.alias("forth"), one.alias("back"))
    wanted = ("locale", "formulation_id", "utterance", "guesses", "served", "annotated", "absorbed", "speakers")
    chosen = formulations.select(*wanted).groupBy("locale")
    both = links.unionByName(instead).groupBy("locale")
    return chosen.cogroup(both).applyInArrow(kernel, from_arrow_schema(_POSTERIOR))


def backers_of(votes: DataFrame, edges: DataFrame, wishes: DataFrame) -> DataFrame:
    """Distinct users behind each intent of a formulation: its own, and of each near wording at most 50.

    Args:
        votes: as `votes_of` returns them.
        edges: left and right of near wordings.
        wishes: formulation_id, intent, user_id: who said a wording of a wish stands behind what the wish means.

    Returns:
        formulation_id, backers (intent, users).
    """
    intent = F.col("interpretation.intent").alias("intent")
    voted = votes.where(F.col("support") >= COUNTED).select("formulation_id", intent, "user_id")
    own = voted.unionByName(wishes.select("formulation_id", "intent", "user_id")).distinct()
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
