"""What a kernel made of each part, kept between the two passes of a step.

A step that fits a model to counts over all rows passes twice over them: once to count, once to write what the model
says of each. In between they are cached as the compressed Arrow tables that the kernel made, one cell each. As rows of
a Spark cache, several candidates a turn with all their columns would cost more than the kernel that makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.storagelevel import StorageLevel

from jobs.cells import cut, packed, tables_of
from jobs.spark import ARROW_BYTES

_AT_ONCE = 64 << 20  # bytes of cells that go to a worker at once
_KEPT = pa.schema([("cell", pa.binary()), ("part", pa.int32()), ("counts", pa.binary())])
Keep = Callable[[DataFrame, StorageLevel], DataFrame]
Kernel = Callable[[Iterable[pa.Table]], Iterator[tuple[pa.Table | None, pa.Table | None]]]


@contextmanager
def few_at_once(spark: SparkSession) -> Iterator[None]:
    """Jobs over cells run inside this: cells are large, so a worker is handed a few at a time."""
    before = spark.conf.get(ARROW_BYTES)
    spark.conf.set(ARROW_BYTES, str(_AT_ONCE))
    try:
        yield
    finally:
        spark.conf.set(ARROW_BYTES, before or "")


class Kept:
    """Frames that are read more than once: cached until the run ends."""

    def __init__(self) -> None:
        self._frames: list[DataFrame] = []

    def keep(self, frame: DataFrame, level: StorageLevel = StorageLevel.MEMORY_AND_DISK_DESER) -> DataFrame:
        """Cache a frame."""
        self._frames.append(frame.persist(level))
        return frame

    def free(self) -> None:
        """Drop what was kept."""
        while self._frames:
            self._frames.pop().unpersist()


class Staged:
    """What a kernel made of each partition: tables for the second pass, and counts for the model.

    Args:
        keep: caches a frame until the step ends (`jobs.lake.Run.keep`).
        cells: rows of `CELLS`, those that belong together in one partition.
        kernel: takes the tables of a partition's cells, yields (table or None, counts or None).
        by, parts: a column of the counts by which `spread` will hand them on, and in how many parts.

    Kept on disk until the step ends: cells of a megabyte or two are what G1 stores worst, and in memory those of
    10 million turns filled a heap of 3 GB. A task holds one table at a time, and its compressed copy.
    """

    def __init__(self, keep: Keep, cells: DataFrame, kernel: Kernel, by: str | None = None, parts: int = 1) -> None:
        self.parts = parts

        def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for table, counted in kernel(tables_of(batches)):
                rows: list[tuple[bytes | None, int | None, bytes | None]] = []
                if table is not None:
                    rows.append((packed(table), None, None))
                if counted is not None and by is None:
                    rows.append((None, 0, packed(counted)))
                elif counted is not None and by is not None and len(counted):
                    spread = cut(counted, by, parts).to_pydict()
                    rows += [(None, *one) for one in zip(spread["part"], spread["cell"], strict=True)]
                if rows:
                    columns = zip(zip(*rows, strict=True), _KEPT, strict=True)
                    yield pa.RecordBatch.from_arrays([pa.array(c, f.type) for c, f in columns], schema=_KEPT)

        self._rows = keep(cells.mapInArrow(run, from_arrow_schema(_KEPT)), StorageLevel.DISK_ONLY)

    def counts(self) -> pa.Table | None:
        """The counts of all partitions, on the driver: for such as are bounded whatever the number of turns."""
        cells = self._rows.select("counts").where("counts is not null").toArrow()
        found = list(tables_of(cells.to_batches(), "counts"))
        return pa.concat_tables(found) if found else None

    def spread(self) -> DataFrame:
        """The counts as cells, those of a part in one partition."""
        cells = self._rows.where("counts is not null").selectExpr("part", "counts as cell")
        return cells.repartitionById(self.parts, "part")

    def rows(self, finish: Callable[[Iterator[pa.Table]], Iterator[pa.RecordBatch]], schema: pa.Schema) -> DataFrame:
        """The second pass: `finish` makes rows of `schema` from a partition's staged tables."""

        def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            yield from finish(tables_of(batches))

        return self._rows.select("cell").where("cell is not null").mapInArrow(run, from_arrow_schema(schema))
