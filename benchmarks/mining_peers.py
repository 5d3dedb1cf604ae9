"""What one would write instead of the pipeline, to mine rephrases from `interactions`: the peers of the speed figures.

Both take turns of one user within 60 s of each other as candidates and compare their texts by edit distance. Neither
knows friction, chains, interleaved tasks, changed values or who said how often what.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as F
from rapidfuzz import fuzz
from rapidfuzz.process import cpdist

from schemas.lake import Lake

GAP_SECONDS, LOOKAHEAD, ALIKE = 60, 3, 0.55
_COLUMNS = ["interaction_id", "user_id", "occurred_at", "utterance", "response"]


def with_pandas(lake: Lake, out: Path) -> int:
    """pandas and rapidfuzz: of each turn, the most alike of the user's next three within a minute; returns the pairs.

    O(turns log turns) time on one core; all turns in memory.
    """
    turns = lake.dataset("interactions").to_table(columns=_COLUMNS).to_pandas()
    turns = turns.sort_values(["user_id", "occurred_at", "interaction_id"], ignore_index=True)
    text = turns["utterance"].str.lower()
    found = []
    for step in range(1, LOOKAHEAD + 1):
        gap = (turns["occurred_at"].shift(-step) - turns["occurred_at"]).dt.total_seconds()
        near = np.flatnonzero((turns["user_id"] == turns["user_id"].shift(-step)) & (gap <= GAP_SECONDS))
        alike = cpdist(text.iloc[near].tolist(), text.iloc[near + step].tolist(), scorer=fuzz.ratio, workers=-1) / 100
        found.append(pd.DataFrame({"source": near, "target": near + step, "alike": alike}))
    pairs = pd.concat(found).query("@ALIKE <= alike < 0.995")
    best = pairs.sort_values(["source", "alike"], ascending=[True, False]).drop_duplicates("source")
    names = turns["interaction_id"].to_numpy()
    made = {"source": names[best["source"]], "target": names[best["target"]], "alike": best["alike"].to_numpy()}
    pq.write_table(pa.table(made), out)
    return len(best)


def with_sql(spark: SparkSession, lake: Lake, out: Path) -> int:
    """Spark SQL: a turn and the user's next one, where it comes within a minute and levenshtein is small.

    Returns the pairs. One shuffle by user, one sort.
    """
    reader = spark.read.format("delta").option("versionAsOf", lake.version("interactions"))
    turns = reader.load(str(lake.table("interactions"))).select(*_COLUMNS).withColumn("text", F.lower("utterance"))
    order = Window.partitionBy("user_id").orderBy("occurred_at", "interaction_id")
    turns = turns.withColumn("target", F.lead("interaction_id").over(order))
    turns = turns.withColumn("next_text", F.lead("text").over(order)).withColumn(
        "at", F.lead("occurred_at").over(order)
    )
    gap = F.col("at").cast("double") - F.col("occurred_at").cast("double")
    longest = F.greatest(F.length("text"), F.length("next_text"))
    alike = 1 - F.levenshtein("text", "next_text") / longest
    pairs = (
        turns.where(gap <= GAP_SECONDS)
        .withColumn("alike", alike)
        .where((F.col("alike") >= ALIKE) & (F.col("alike") < 1))
    )
    pairs.select(F.col("interaction_id").alias("source"), "target", "alike").write.mode("overwrite").parquet(str(out))
    return int(spark.read.parquet(str(out)).count())
