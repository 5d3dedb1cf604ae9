"""Rows on their way between tasks: whole tables in a cell, as compressed Arrow, and not as Spark rows.

A Spark row of a turn is made, sorted, sent to Python and made again for more processor time than all that is computed
from it. So tasks read a table's files with Arrow, cut what they read by a hash and hand Spark one cell a part; Spark
shuffles a few hundred cells where it would have shuffled millions of rows.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

Ints = NDArray[np.int64]
CELLS = pa.schema([("part", pa.int32()), ("cell", pa.binary())])
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")
_READ = 100_000  # turns that are cut into cells at once: with 50 parts, cells of 2,000
_ORDER = ("user_id", "occurred_at", "interaction_id")


def packed(table: pa.Table) -> bytes:
    """A table as one compressed Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_OPTIONS) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def unpacked(cell: pa.Scalar) -> pa.Table:
    """The inverse of `packed`, of one value of a column of cells."""
    with pa.ipc.open_stream(cell.as_buffer()) as reader:
        return reader.read_all()


def tables_of(batches: Iterable[pa.RecordBatch], name: str = "cell") -> Iterator[pa.Table]:
    """The tables of a column of cells, one at a time."""
    for batch in batches:
        yield from (unpacked(cell) for cell in batch.column(name) if cell.is_valid)


def hashed(texts: pa.Array) -> Ints:
    """A hash of each text, 32 bits. Some 0.2 microseconds a text."""
    return np.fromiter(map(crc32, texts.cast(pa.binary()).to_pylist()), dtype=np.int64, count=len(texts))


def parts_of(values: pa.ChunkedArray, parts: int) -> Ints:
    """The part of each value, from 0: of texts by a hash of theirs, of 64-bit hashes by their size."""
    if pa.types.is_int64(values.type):
        half = np.asarray(values.to_numpy()).view(np.uint64) >> np.uint64(1)
        return (half // np.uint64((1 << 63) // parts + 1)).astype(np.int64)
    spelt = values.combine_chunks().dictionary_encode()
    return np.asarray((hashed(spelt.dictionary) % parts)[spelt.indices.to_numpy()], dtype=np.int64)


def cut(table: pa.Table, by: str, parts: int) -> pa.RecordBatch:
    """Cells of a table's rows by the part of one column's value. O(rows log rows) time, a second copy of the rows."""
    part = parts_of(table.column(by), parts)
    order = np.argsort(part, kind="stable")
    there, starts = np.unique(part[order], return_index=True)
    sorted_ = table.combine_chunks().take(pa.array(order))
    sizes = np.diff(starts, append=len(order)).tolist()
    cells = [packed(sorted_.slice(start, size)) for start, size in zip(starts.tolist(), sizes, strict=True)]
    return pa.RecordBatch.from_arrays([pa.array(there, pa.int32()), pa.array(cells, pa.binary())], schema=CELLS)


def gathered(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of at least so many, but for the last."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(map(len, held)) >= rows:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)


def _groups(data: ds.Dataset, tasks: int) -> list[list[ds.Fragment]]:
    """A table's files in up to so many groups of about as many rows."""
    files = sorted(data.get_fragments(), key=lambda file: (-file.count_rows(), file.path))
    groups: list[list[ds.Fragment]] = [[] for _ in range(max(1, min(tasks, len(files))))]
    sizes = [0] * len(groups)
    for file in files:
        least = sizes.index(min(sizes))
        groups[least].append(file)
        sizes[least] += file.count_rows()
    return groups


def read_cells(
    spark: SparkSession,
    data: ds.Dataset,
    columns: Sequence[str],
    by: str,
    parts: int,
    tasks: int,
    prepare: Callable[[pa.Table], pa.Table],
) -> DataFrame:
    """Cells of a table's rows, still where they were read: its columns are read by Arrow inside the tasks.

    Args:
        data: the table's files.
        columns: to read; the others are not.
        by: column by whose hash rows are parted.
        parts: into how many.
        tasks: to read with, at most.
        prepare: what becomes of some 100,000 rows before they are parted.

    Memory of a reading task: the compressed columns of a file's row group, and 100,000 rows twice.
    """
    groups, schema = _groups(data, tasks), data.schema
    wanted = pa.schema([schema.field(name) for name in columns])

    def tables(files: list[ds.Fragment]) -> Iterator[pa.Table]:
        for file in files:
            batches = file.to_batches(
                schema=schema, columns=list(columns), batch_size=_READ // 4, batch_readahead=1, use_threads=False
            )
            for batch in batches:
                yield pa.Table.from_batches([batch]).cast(wanted)

    def read(numbers: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for numbered in numbers:
            for number in numbered.column("id").to_pylist():
                for table in gathered(tables(groups[number]), _READ):
                    made = prepare(table)
                    if len(made):
                        yield cut(made, by, parts)

    return spark.range(0, len(groups), 1, len(groups)).mapInArrow(read, from_arrow_schema(CELLS))


def in_order(tables: Iterable[pa.Table], at_once: int = 100_000) -> Iterator[pa.RecordBatch]:
    """A part's turns by user, time and id, in batches of 10,000.

    They lie in a file meanwhile, uncompressed and mapped, so an id with a million turns costs no heap: memory is 40
    bytes a turn for the order, and `at_once` turns twice. O(turns log turns).
    """
    with tempfile.TemporaryDirectory(dir=os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0] or None) as folder:
        path, writer = os.path.join(folder, "part.arrow"), None
        for table in tables:
            writer = writer or pa.ipc.new_file(path, table.schema)
            writer.write_table(table.combine_chunks())
        if writer is None:
            return
        writer.close()
        with pa.memory_map(path) as mapped, pa.ipc.open_file(mapped) as reader:
            batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
            order = _order(pa.Table.from_batches(batches, reader.schema).select(list(_ORDER)))
            ends = np.cumsum([len(batch) for batch in batches])
            for start in range(0, len(order), at_once):
                rows = order[start : start + at_once]
                within = np.searchsorted(ends, rows, side="right")
                grouped = np.argsort(within, kind="stable")
                there, begins = np.unique(within[grouped], return_index=True)
                pieces = []
                for one, mine in zip(there.tolist(), np.split(rows[grouped], begins[1:]), strict=True):
                    pieces.append(batches[one].take(pa.array(mine - (ends[one] - len(batches[one])))))
                back = np.empty_like(grouped)
                back[grouped] = np.arange(len(rows))
                table = pa.Table.from_batches(pieces).combine_chunks().take(pa.array(back))
                yield from table.to_batches(max_chunksize=10_000)


def _order(keys: pa.Table) -> Ints:
    """Row numbers by user, time and id; ids are looked at only where a user has two turns at one time."""
    user = keys.column("user_id").combine_chunks().dictionary_encode()
    ranks = np.empty(len(user.dictionary), dtype=np.int64)
    ranks[pc.sort_indices(user.dictionary).to_numpy()] = np.arange(len(ranks))
    whose = ranks[user.indices.to_numpy()]
    time = keys.column("occurred_at").combine_chunks().cast(pa.int64()).to_numpy()
    order = np.lexsort((time, whose))
    tied = np.flatnonzero((np.diff(whose[order]) == 0) & (np.diff(time[order]) == 0))
    if len(tied):
        rows = np.unique(np.concatenate([order[tied], order[tied + 1]]))
        names = keys.column("interaction_id").take(pa.array(rows)).combine_chunks()
        place = np.zeros(len(order), dtype=np.int64)
        place[rows[pc.sort_indices(names).to_numpy()]] = np.arange(len(rows))
        order = np.lexsort((place, time, whose))
    return np.asarray(order, dtype=np.int64)
