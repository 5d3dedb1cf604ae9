"""The checked lines of a batch: staged between the passes of ingest as compressed Arrow tables, and what each reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.storagelevel import StorageLevel

from jobs.cells import CELLS, cut, packed, tables_of
from jobs.files import WRITTEN, writes
from jobs.repeats import CONFLICT, FIRST, Places
from jobs.staged import Keep
from mining import intake
from mining.repeats import IDS
from schemas.columns import STRINGS
from schemas.record import InteractionRecord
from schemas.tables import INTERACTIONS

Starts = dict[tuple[str, int], tuple[int, int]]  # (file, split): lines before it in its file, and in all files

_PLACE = ("file", "split", "line")
_GOOD = pa.schema([f for f in intake.CHECKED if f.name not in ("outcome", "raw", "reasons")])
_BAD = pa.schema([intake.CHECKED.field(name) for name in (*_PLACE, "raw", "reasons")])
_LINES = pa.schema([("file", pa.string()), ("split", pa.int64()), ("lines", pa.int64()), ("blank", pa.int64())])
_STAGED = pa.schema([("good", pa.binary()), ("bad", pa.binary()), ("lines", pa.binary())])
REJECTED = pa.schema([("file", pa.string()), ("line", pa.int64()), ("raw", pa.string()), ("reasons", STRINGS)])
# What the gate sees (`schemas.expectations`).
_GATE = pa.schema(
    [
        *((name, pa.int32()) for name in ("quarantined", "interpretation_missing", "utterance_missing")),
        *(intake.CHECKED.field(name) for name in ("interaction_id", "occurred_at", "locale", "response")),
    ]
)


def _stage(key: bytes, window: tuple[datetime, datetime]) -> Callable[..., Iterator[pa.RecordBatch]]:
    """What a task makes of its lines: cells of good records, cells of bad ones, and at its end how many lines."""

    def cells(good: pa.Table | None, bad: pa.Table | None, lines: pa.Table | None) -> pa.RecordBatch:
        made = [pa.array([packed(one) if one is not None else None], pa.binary()) for one in (good, bad, lines)]
        return pa.RecordBatch.from_arrays(made, schema=_STAGED)

    def stage(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        lines, blank = Counter[tuple[str, int]](), Counter[tuple[str, int]]()
        for batch in intake.check_lines(batches, key, window):
            rows = pa.Table.from_batches([batch])
            outcome = rows.column("outcome")
            for counter, some in ((lines, rows), (blank, rows.filter(pc.equal(outcome, intake.BLANK)))):
                places = some.group_by(["file", "split"]).aggregate([([], "count_all")])
                for file, split, n in zip(*(column.to_pylist() for column in places.columns), strict=True):
                    counter[file, split] += n
            good = rows.filter(pc.equal(outcome, intake.KEPT)).select(_GOOD.names)
            bad = rows.filter(pc.equal(outcome, intake.REJECTED)).select(_BAD.names)
            yield cells(good if len(good) else None, bad if len(bad) else None, None)
        if lines:
            counted = [(*place, n, blank[place]) for place, n in lines.items()]
            yield cells(None, None, pa.table(list(zip(*counted, strict=True)), schema=_LINES))

    return stage


def _befores(table: pa.Table, starts: Starts) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each row, the lines before its split in its file, and in all files."""
    files = table.column("file").combine_chunks().dictionary_encode()
    splits, place = np.unique(table.column("split").to_numpy(), return_inverse=True)
    both = files.indices.to_numpy().astype(np.int64) * len(splits) + place
    there, which = np.unique(both, return_inverse=True)
    names = files.dictionary.to_pylist()
    befores = [starts[names[one // len(splits)], int(splits[one % len(splits)])] for one in there.tolist()]
    found = np.array(befores, dtype=np.int64).reshape(-1, 2)[which]
    return found[:, 0], found[:, 1]


def _numbers(good: pa.Table, starts: Starts) -> NDArray[np.int64]:
    """The place of each record among all lines of the batch: files by name, lines in their order."""
    return np.asarray(_befores(good, starts)[1] + good.column("line").to_numpy(), dtype=np.int64)


def _lined(table: pa.Table, starts: Starts) -> pa.Table:
    """A table with each row's line in its file in place of that in its split."""
    line = pa.array(_befores(table, starts)[0] + table.column("line").to_numpy())
    return table.set_column(table.schema.get_field_index("line"), "line", line)


class Checked:
    """The lines of a batch, checked and staged. Reads the input when it is made.

    Args:
        keep: caches a frame until the run ends.
        lines: the columns of `intake.LINES`; those of a file's split in one partition, in their order.
        key, window: as `intake.check_lines` takes them.

    Staged on disk, some 150 bytes a record. A task holds one batch of lines, its columns and its compressed copy.
    """

    def __init__(self, keep: Keep, lines: DataFrame, key: bytes, window: tuple[datetime, datetime]) -> None:
        staged = lines.mapInArrow(_stage(key, window), from_arrow_schema(_STAGED))
        self._rows = keep(staged, StorageLevel.DISK_ONLY)
        cells = self._cells("lines").toArrow().to_batches()
        rows = [row for table in tables_of(cells, "lines") for row in table.to_pylist()]
        self._starts, passed, total = Starts(), Counter[str](), 0
        for row in sorted(rows, key=lambda row: (row["file"], row["split"])):
            self._starts[row["file"], row["split"]] = (passed[row["file"]], total)
            passed[row["file"]] += row["lines"]
            total += row["lines"]
        blank = sum(row["blank"] for row in rows)
        self.counts = {"files": len(passed), "blank": blank, "read": total - blank}  # files that have a line

    def _cells(self, *columns: str) -> DataFrame:
        there = " or ".join(f"{name} is not null" for name in columns)
        return self._rows.select(*columns).where(there)

    def ids(self, parts: int) -> DataFrame:
        """Cells of `mining.repeats.IDS` of the good records, by id."""
        starts = self._starts

        def ids(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for good in tables_of(batches, "good"):
                columns = [good.column("interaction_id"), good.column("record_hash"), pa.array(_numbers(good, starts))]
                yield cut(pa.table(columns, schema=IDS), "interaction_id", parts)

        return self._cells("good").mapInArrow(ids, from_arrow_schema(CELLS))

    def rejected(self) -> DataFrame:
        """The records against which there is a reason: the columns of `REJECTED`."""
        starts = self._starts

        def rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for bad in tables_of(batches, "bad"):
                yield from _lined(bad, starts).select(REJECTED.names).to_batches()

        return self._cells("bad").mapInArrow(rows, from_arrow_schema(REJECTED))

    def conflicts(self, folder: Path, reason: str) -> DataFrame:
        """The good records that contradict an earlier one of their id: the columns of `REJECTED`.

        A good record's line is not kept; what is shown of one that comes second is what it says.
        """
        starts, places = self._starts, Places(folder)
        said = list(InteractionRecord.model_fields)
        schema = pa.schema([_GOOD.field(name) for name in ("file", "line", *said)])

        def rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for good in tables_of(batches, "good"):
                conflict = places.of(_numbers(good, starts)) == CONFLICT
                if conflict.any():
                    yield from _lined(good.filter(pa.array(conflict)), starts).select(schema.names).to_batches()

        found = self._cells("good").mapInArrow(rows, from_arrow_schema(schema))
        raw = F.to_json(F.struct(*map(F.col, said))).alias("raw")
        return found.select("file", "line", raw, F.array(F.lit(reason)).alias("reasons"))

    def gate_rows(self, folder: Path) -> DataFrame:
        """What the gate sees: a row for each record read, as `schemas.expectations` describes it."""
        starts, places = self._starts, Places(folder)

        def seen(good: pa.Table) -> pa.Table:
            place = places.of(_numbers(good, starts))
            conflict, first = pa.array(place == CONFLICT), pa.array(place == FIRST)
            made = {"quarantined": conflict.cast(pa.int32())}
            for name in ("interpretation", "utterance"):
                missing = pc.is_null(good.column(name)).cast(pa.int32())
                made[f"{name}_missing"] = pc.if_else(conflict, None, missing)
            made["interaction_id"] = pc.if_else(first, good.column("interaction_id"), None)
            for name in ("occurred_at", "locale", "response"):
                made[name] = pc.if_else(first, good.column(name), None)
            return pa.table(made).cast(_GATE)

        def rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                for good in tables_of([batch], "good"):
                    yield from seen(good).to_batches()
                for bad in tables_of([batch], "bad"):
                    columns = [pa.nulls(len(bad), field.type) for field in _GATE]
                    columns[0] = pa.repeat(pa.scalar(1, pa.int32()), len(bad))
                    yield pa.RecordBatch.from_arrays(columns, schema=_GATE)

        return self._cells("good", "bad").mapInArrow(rows, from_arrow_schema(_GATE))

    def write(self, folder: Path, table: Path, run_id: str) -> DataFrame:
        """Write the first record of each id as files of `interactions`: the columns of `jobs.files.WRITTEN`."""
        starts, places, write = self._starts, Places(folder), writes(INTERACTIONS, table)

        def kept(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
            for good in tables:
                place = places.of(_numbers(good, starts))
                rows = good.filter(pa.array(place == FIRST)) if place.any() else good
                yield rows.append_column("run_id", pa.repeat(run_id, len(rows)))

        def files(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            yield from write(kept(tables_of(batches, "good")))

        return self._cells("good").mapInArrow(files, from_arrow_schema(WRITTEN))
