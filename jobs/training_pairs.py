"""rephrase_pairs -> the wordings that training pulls together: frames of `training_pairs`, which the step
`training_sets` writes beside its rows and under the same snapshot.

Who said the one wording instead of the other meant the same by both, whether or not either has a label. The rules that
keep such pairs from telling the judges and from serving few against many:

- Voters' pairs alone, above `rephrase.min_posterior`; and no wording that a held-out user has spoken, that is in gold's
  dev partition, or whose cluster steers. Turns in wordings of pairs judge no challenger, like those in labelled ones.
- A user speaks once at each wording: the posterior of their pair is divided by the number of their pairs there, and by
  the voters who spoke the wording. That is how far the pair may move this wording; the other one moves by its own
  weight. So all pairs of a wording weigh one label at most, and k of its n voters move it by k / n at most, whatever
  they say and however often: accounts below the floor move what many say by next to nothing, and by themselves only
  what nobody else says. A floor of users on a pair would leave none: 2,025 of a sw-KE log's 2,067 are of one user.
- Of a user the surest `rephrase.max_pairs_per_user` pairs count, so that nobody fills the snapshot.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.lake import Run, spark_schema
from jobs.voters import VOTERS
from schemas.training_tables import TRAINING_PAIRS

KEPT = ""  # `left_out` of what becomes part of a pair
LEFT_OUT = ("of_held_out_users", "with_a_held_out_users_wording", "with_a_dev_wording", "over_user_cap")
_ENDS = ("left", "right")


def users_pairs(run: Run, locale: str, barred: DataFrame) -> DataFrame:
    """Each user's rephrases of the locale, two wordings once, with why a row is `left_out`.

    Args:
        barred: formulation_id and why: wordings that may be in no pair.

    Returns:
        user_id, left, right (formulations), posterior (the user's best), left_text, right_text (as logged), left_out.
    """
    settings = run.settings.rephrase
    believed = run.read("rephrase_pairs").where(
        (F.col("locale") == locale)
        & (F.col("kind") == "rephrase")
        & (F.col("source_formulation") != F.col("target_formulation"))
        & (F.col("posterior") >= settings.min_posterior)
    )
    forth = F.col("source_formulation") < F.col("target_formulation")

    def end(first: str, second: str) -> Column:
        return F.when(forth, F.col(first)).otherwise(F.col(second))

    sides = {
        "left": end("source_formulation", "target_formulation"),
        "right": end("target_formulation", "source_formulation"),
        "left_text": end("source_utterance", "target_utterance"),
        "right_text": end("target_utterance", "source_utterance"),
    }
    ordered = believed.select("user_id", "held_out", F.round("posterior", 6).alias("posterior"),
                              *(column.alias(name) for name, column in sides.items()))  # fmt: skip
    once = ordered.groupBy("user_id", "held_out", *_ENDS).agg(
        F.max("posterior").alias("posterior"), *(F.min(f"{side}_text").alias(f"{side}_text") for side in _ENDS)
    )
    for side in _ENDS:
        why = barred.select(F.col("formulation_id").alias(side), F.col("why").alias(f"{side}_why"))
        once = once.join(why, side, "left")
    reason = F.when(F.col("held_out"), "of_held_out_users").otherwise(F.coalesce("left_why", "right_why", F.lit(KEPT)))
    judged = once.withColumn("left_out", reason)
    surest = Window.partitionBy("user_id", "left_out").orderBy(F.desc("posterior"), *_ENDS)
    over = (F.col("left_out") == KEPT) & (F.row_number().over(surest) > settings.max_pairs_per_user)
    return judged.withColumn("left_out", F.when(over, "over_user_cap").otherwise(F.col("left_out"))).select(
        "user_id", *_ENDS, "posterior", *(f"{side}_text" for side in _ENDS), "left_out"
    )


def weighed(kept: DataFrame, voters: DataFrame, spelling: DataFrame) -> DataFrame:
    """The pairs, each with how far its two wordings may be moved.

    Args:
        kept: rows of `users_pairs` that are not left out.
        voters: formulation_id, voters: distinct users who spoke it, held-out ones apart.
        spelling: formulation_id, utterance: its most frequent spelling, where that is known.

    Returns:
        left, right, left_weight, right_weight, users, and the texts `left_utterance`, `right_utterance`.
    """
    ends = kept.select("user_id", F.explode(F.array(*_ENDS)).alias("formulation_id"))
    theirs = ends.groupBy("user_id", "formulation_id").agg(F.count("*").alias("pairs"))
    for side in _ENDS:
        at = theirs.select("user_id", F.col("formulation_id").alias(side), F.col("pairs").alias(f"{side}_pairs"))
        kept = kept.join(at, ["user_id", side])
    believed = (F.sum(F.col("posterior") / F.col(f"{side}_pairs")).alias(f"{side}_believed") for side in _ENDS)
    texts = (F.min(f"{side}_text").alias(f"{side}_text") for side in _ENDS)
    pairs = kept.groupBy(*_ENDS).agg(F.count("*").alias("users"), *believed, *texts)
    for side in _ENDS:
        of = voters.select(F.col("formulation_id").alias(side), F.col("voters").alias(f"{side}_voters"))
        spelt = spelling.select(F.col("formulation_id").alias(side), F.col("utterance").alias(f"{side}_spelt"))
        pairs = pairs.join(of, side).join(spelt, side, "left")
    return pairs.select(
        *_ENDS,
        "users",
        *(F.round(F.col(f"{s}_believed") / F.col(f"{s}_voters"), 6).alias(f"{s}_weight") for s in _ENDS),
        *(F.coalesce(f"{s}_spelt", f"{s}_text").alias(f"{s}_utterance") for s in _ENDS),
    )


def pairs_of(run: Run, locale: str, labels: DataFrame, in_dev: DataFrame) -> DataFrame:
    """The pairs of this run's snapshot as rows of `training_pairs`, with the formulations beside them (`left_id`,
    `right_id`); none where `training.consistency` is 0. Counts what is left out, a user's pair once.

    Args:
        labels: `pseudo_labels` of the locale.
        in_dev: formulation_id of wordings that steer the training.

    Cost: three passes over the locale's rephrases, which are kept until the step ends.
    """
    shape = spark_schema(TRAINING_PAIRS, "run_id").add("left_id", "string").add("right_id", "string")
    if run.settings.training.consistency <= 0:
        return run.spark.createDataFrame([], shape)
    turns = run.read("turns").where(F.col("locale") == locale)
    reasons = [
        turns.where("held_out").select("formulation_id", F.lit("with_a_held_out_users_wording").alias("why")),
        in_dev.select("formulation_id", F.lit("with_a_dev_wording").alias("why")),
    ]
    barred = reasons[0].unionByName(reasons[1]).groupBy("formulation_id").agg(F.max("why").alias("why"))
    found = run.keep(users_pairs(run, locale, barred))
    told = {row["left_out"]: row["n"] for row in found.groupBy("left_out").agg(F.count("*").alias("n")).collect()}
    run.count(pairs_of_users=sum(told.values()), **{f"pairs_{name}": told.get(name, 0) for name in LEFT_OUT})
    voters = turns.where(VOTERS).groupBy("formulation_id").agg(F.count_distinct("user_id").alias("voters"))
    pairs = weighed(found.where(F.col("left_out") == KEPT), voters, labels.select("formulation_id", "utterance"))
    identity = F.substring(F.sha2(F.concat_ws("\x1f", *_ENDS), 256), 1, 16)
    named = {name: F.col(f"{name}_utterance") for name in _ENDS} | {f"{name}_id": F.col(name) for name in _ENDS}
    named |= {"pair_id": identity, "locale": F.lit(locale), "snapshot_id": F.lit(run.run_id)}
    return pairs.withColumns(named).select(*shape.names)
