"""Synthetic traffic through Spark: raw JSON Lines, the truth of every turn, and an `interactions` table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from jobs.lake import digest, spark_schema
from schemas.lake import Lake, Manifest
from schemas.tables import INTERACTIONS
from simulator.synthetic import TRUTH, SyntheticTraffic, block, json_lines, pseudonymous

BLOCK = 50_000  # turns
_LINES = pa.schema([("value", pa.string())])
Make = Callable[[SyntheticTraffic, int, int], pa.Table]


def _lines(traffic: SyntheticTraffic, number: int, turns: int) -> pa.Table:
    return pa.table([json_lines(traffic, number, block(traffic, number, turns)[0])], schema=_LINES)


def _truth(traffic: SyntheticTraffic, number: int, turns: int) -> pa.Table:
    return block(traffic, number, turns)[1]


def _rows(traffic: SyntheticTraffic, number: int, turns: int) -> pa.Table:
    table = pseudonymous(block(traffic, number, turns)[0])
    return table.append_column("run_id", pa.repeat(_run_id(traffic), turns)).select(INTERACTIONS.names)


def _run_id(traffic: SyntheticTraffic) -> str:
    return digest("synthetic", traffic.model_dump(mode="json"))


def _made(
    spark: SparkSession,
    traffic: SyntheticTraffic,
    turns: int,
    tasks: int,
    make: Make,
    schema: pa.Schema,
    size: int = BLOCK,
) -> DataFrame:
    blocks = -(-turns // size)

    def kernel(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column("id").to_pylist():
                made = make(traffic, number, min(size, turns - number * size))
                yield from made.combine_chunks().to_batches(max_chunksize=10_000)

    numbers = spark.range(0, blocks, 1, min(tasks, blocks))
    return numbers.mapInArrow(kernel, from_arrow_schema(schema))


def write_raw(spark: SparkSession, traffic: SyntheticTraffic, turns: int, raw: Path, truth: Path) -> None:
    """Write the turns as raw JSON Lines, and the truth as Parquet in a folder apart.

    Blocks of 50,000 turns, each made inside a Spark task that holds no more than one: some 100 MB a task.
    """
    _made(spark, traffic, turns, 16, _lines, _LINES).write.mode("overwrite").text(str(raw))
    for path in raw.glob("part-*.txt"):
        path.rename(path.with_suffix(".jsonl"))
    write_truth(spark, traffic, turns, truth)


def write_truth(spark: SparkSession, traffic: SyntheticTraffic, turns: int, truth: Path) -> None:
    """Write which task each turn was a try of, as Parquet."""
    _made(spark, traffic, turns, 16, _truth, TRUTH).write.mode("overwrite").parquet(str(truth))


def write_interactions(
    spark: SparkSession, traffic: SyntheticTraffic, turns: int, lake: Lake, size: int = BLOCK
) -> None:
    """Write the turns, in blocks of `size`, as the published `interactions` table of a lake, without ingest."""
    made = _made(spark, traffic, turns, 4, _rows, INTERACTIONS.arrow, size)
    columns = [made[f.name].cast(f.dataType).alias(f.name) for f in spark_schema(INTERACTIONS).fields]
    writer = made.select(*columns).write.format("delta").mode("overwrite").partitionBy(*INTERACTIONS.partition_by)
    writer.save(str(lake.table(INTERACTIONS.name)))
    version = DeltaTable(lake.table(INTERACTIONS.name)).version()
    lake.publish(Manifest("ingest", _run_id(traffic), {}, {INTERACTIONS.name: version}, {"kept": turns}))
