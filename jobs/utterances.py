"""turns -> utterances: one row a formulation, with its embedding; only new formulations are embedded.

Few new ones are embedded on the driver: a worker would spend longer on importing torch than on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import DeltaTable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from jobs.encoder import encoder_of
from jobs.lake import Run, Step
from mining.encoder import embed, load_encoder
from schemas.settings import EncoderSettings
from schemas.tables import UTTERANCES

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_ON_DRIVER = 20_000  # new formulations that are embedded without a worker, at most
_MADE = pa.schema([UTTERANCES.arrow.field(name) for name in ("formulation_id", "embedding")])


def encoder_model(path: str, chosen: EncoderSettings) -> SentenceTransformer:
    """The lake's encoder, loaded as its settings ask."""
    if chosen.model == "embedded":
        return load_encoder(path)
    return load_encoder(path, prompt=chosen.prompt, truncate=chosen.truncate_dimensions, half=chosen.half_precision)


def _kernel(path: str, chosen: EncoderSettings) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def kernel(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        model = None
        for batch in batches:
            model = model or encoder_model(path, chosen)
            vectors = embed(model, batch.column("text").to_pylist(), chosen.batch_size)
            flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
            yield pa.RecordBatch.from_arrays(
                [batch.column("formulation_id"), flat.cast(_MADE.field("embedding").type)], schema=_MADE
            )

    return kernel


def _known(run: Run, fingerprint: str) -> DataFrame:
    """Embeddings that the table already holds from the same encoder."""
    path, last = run.lake.table(UTTERANCES.name), run.lake.published().get(UTTERANCES.name)
    if last is None or not DeltaTable.is_deltatable(str(path)):
        return run.spark.createDataFrame([], from_arrow_schema(_MADE))
    before = run.spark.read.format("delta").option("versionAsOf", last).load(str(path))
    return before.where(F.col("encoder") == fingerprint).select("formulation_id", "embedding")


def _run(run: Run) -> None:
    path, fingerprint = encoder_of(run.lake)
    formulations = (
        run.read("turns")
        .where("text != ''")
        .groupBy("formulation_id", "locale", "text")
        .agg(
            F.count_distinct("user_id").alias("users"),
            F.count("*").alias("events"),
            F.min("occurred_at").alias("first_seen"),
            F.max("occurred_at").alias("last_seen"),
        )
    )
    joined = run.keep(formulations.join(_known(run, fingerprint), "formulation_id", "left"))
    new = joined.where("embedding is null").drop("embedding")
    texts = new.select("formulation_id", "text")
    kernel = _kernel(path, run.settings.encoder)
    few = texts.limit(_ON_DRIVER + 1).toArrow()
    if len(few) <= _ON_DRIVER:
        batches = list(kernel(few.to_batches())) or [pa.RecordBatch.from_pylist([], _MADE)]  # Spark refuses no batch
        made = F.broadcast(run.spark.createDataFrame(pa.Table.from_batches(batches, _MADE)))
        run.count(newly_embedded=len(few))
    else:
        made = texts.mapInArrow(kernel, from_arrow_schema(_MADE))
        run.count(newly_embedded=new.count())
    rows = joined.where("embedding is not null").unionByName(new.join(made, "formulation_id"))
    run.count(formulations=run.write(UTTERANCES, rows.withColumn("encoder", F.lit(fingerprint))))


STEP = Step(
    name="utterances",
    reads=("turns",),
    writes=(UTTERANCES,),
    settings=(),
    code=(),
    run=_run,
    also=lambda lake, _: encoder_of(lake)[1],
)
