"""Rows between the two passes of a step, kept as compressed Arrow and not as Spark rows.

A step that fits a model to counts over all rows passes twice over them: once to count, once to write what the model
says of each. In between they are cached as the Arrow batches that the kernel made, one cell a batch. As rows of a
Spark cache, several candidates a turn with all their columns would cost more than the kernel that makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.storagelevel import StorageLevel

from jobs.spark import ARROW_BYTES
from schemas.columns import list_of

_AT_ONCE = 64 << 20  # bytes of cells that go to a worker at once
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")
Kernel = Callable[[Iterable[pa.RecordBatch]], Iterator[tuple[pa.Table | None, pa.Table | None]]]


def packed(table: pa.Table) -> bytes:
    """A table as one compressed Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_OPTIONS) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def unpacked(cell: bytes) -> pa.Table:
    """The inverse of `packed`."""
    with pa.ipc.open_stream(cell) as reader:
        return reader.read_all()


class Staged:
    """What a kernel made of each partition: tables for the second pass, and counts for the model.

    Args:
        frame: the rows, partitioned and sorted as the kernel needs them.
        kernel: yields (table or None, counts or None).
        counts: the schema of the counts.

    Kept on disk until `free`: cells of a megabyte or two are what G1 stores worst, and in memory those of 10 million
    turns filled a heap of 3 GB. A task holds one table at a time, and its compressed copy.
    """

    def __init__(self, frame: DataFrame, kernel: Kernel, counts: pa.Schema) -> None:
        item = pa.struct(list(counts))
        schema = pa.schema([("cell", pa.binary()), ("counts", list_of(item))])

        def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for table, counted in kernel(batches):
                cell = None if table is None else packed(table)
                found = (counts.empty_table() if counted is None else counted).select(counts.names).cast(counts)
                rows = pa.StructArray.from_arrays([c.combine_chunks() for c in found.columns], fields=list(counts))
                listed = pa.ListArray.from_arrays(pa.array([0, len(rows)], pa.int32()), rows).cast(schema.field(1).type)
                yield pa.RecordBatch.from_arrays([pa.array([cell], pa.binary()), listed], schema=schema)

        self._rows = frame.mapInArrow(run, from_arrow_schema(schema)).persist(StorageLevel.DISK_ONLY)

    def counts(self) -> DataFrame:
        """The counts of all partitions, one row each."""
        return self._rows.select(F.explode("counts").alias("c")).select("c.*")

    @contextmanager
    def second_pass(self) -> Iterator[None]:
        """Jobs that read `rows` run inside this: cells are large, so a worker is handed a few at a time."""
        conf = self._rows.sparkSession.conf
        before = conf.get(ARROW_BYTES)
        conf.set(ARROW_BYTES, str(_AT_ONCE))
        try:
            yield
        finally:
            conf.set(ARROW_BYTES, before or "")

    def rows(self, finish: Callable[[pa.Table], pa.Table], schema: pa.Schema) -> DataFrame:
        """The second pass: `finish` makes rows of `schema` from each staged table."""

        def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                for cell in batch.column("cell"):
                    made = finish(unpacked(cell.as_py())).cast(schema)
                    yield from made.combine_chunks().to_batches(max_chunksize=10_000)

        cells = self._rows.select("cell").where("cell is not null")
        return cells.mapInArrow(run, from_arrow_schema(schema))

    def free(self) -> None:
        """Drop the cache."""
        self._rows.unpersist()
