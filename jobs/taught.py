"""What the models that answered had been taught by the pipeline's own labels.

A model that was trained on the label of a wording answers it as it was told, so its answer there is that label once
more and no news. What its users do with the answer still is. After the exposure of a deployed rewrite in self-aware
feedback-based self-learning (Gupta et al. 2022).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.lake import Run
from schemas.lake import Lake
from schemas.normalise import formulation_id, normalise
from schemas.settings import Settings


def teachers(lake: Lake, settings: Settings) -> dict[str, str]:
    """The snapshot that each model was trained on, of the models of this lake that answered a turn; a step's `also`.

    Models that are known but have not served anybody yet leave a step's key as it is. Cost: one column of `turns`.
    """
    version = lake.latest("model_runs")
    if version is None:
        return {}
    runs = lake.dataset("model_runs", version).to_table(["model_version", "snapshot_id"]).to_pylist()
    served: set[str] = set()
    for batch in lake.dataset("turns").to_batches(columns=["model_version"]):
        served.update(pc.unique(batch.column(0)).to_pylist())
    return {run["model_version"]: run["snapshot_id"] for run in runs if run["model_version"] in served}


def _formulations(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        locales, texts = batch.column("locale").to_pylist(), batch.column("utterance").to_pylist()
        names = [formulation_id(locale, normalise(text)) for locale, text in zip(locales, texts, strict=True)]
        columns = [batch.column("snapshot_id"), pa.array(names, pa.string()), batch.column("slots_too")]
        yield pa.RecordBatch.from_arrays(columns, ["snapshot_id", "formulation_id", "slots_too"])


def taught(run: Run) -> DataFrame | None:
    """The wordings whose label each model was trained on; None where no model of the log was trained on labels.

    Returns:
        model_version, formulation_id, slots_too: whether the label had slots.
    """
    of_model = teachers(run.lake, run.settings)
    if not of_model or "training_sets" not in run.lake.published():
        return None
    version = run.lake.version("training_sets")
    sets = run.spark.read.format("delta").option("versionAsOf", version).load(str(run.lake.table("training_sets")))
    labels = sets.where((F.col("source") == "pseudo_label") & F.col("snapshot_id").isin(sorted(set(of_model.values()))))
    told = labels.select("snapshot_id", "locale", "utterance", F.col("slots").isNotNull().alias("slots_too"))
    named = told.mapInArrow(_formulations, "snapshot_id string, formulation_id string, slots_too boolean")
    models = run.spark.createDataFrame(sorted(of_model.items()), "model_version string, snapshot_id string")
    lessons = named.join(F.broadcast(models), "snapshot_id").groupBy("model_version", "formulation_id")
    return lessons.agg(F.max("slots_too").alias("slots_too"))


def mark(frame: DataFrame, lessons: DataFrame | None, formulation: str = "formulation_id") -> DataFrame:
    """The frame with `told_intent` and `told_slots`: whether the model that answered had been taught them of this
    formulation."""
    if lessons is None:
        return frame.withColumns({"told_intent": F.lit(False), "told_slots": F.lit(False)})
    known = lessons.select("model_version", F.col("formulation_id").alias(formulation), "slots_too")
    joined = frame.join(known, ["model_version", formulation], "left")
    told = {"told_intent": F.col("slots_too").isNotNull(), "told_slots": F.coalesce("slots_too", F.lit(False))}
    return joined.withColumns(told).drop("slots_too")
