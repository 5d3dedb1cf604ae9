"""A table's files, written by tasks with Arrow; what makes them part of the table is one Delta commit."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable, Schema
from deltalake.transaction import AddAction, create_table_with_add_actions

from schemas.columns import Table

WRITTEN = pa.schema([("path", pa.string()), ("size", pa.int64()), ("rows", pa.int64()), ("values", pa.string())])
_GROUP = 100_000  # rows of a file's row group
_HELD = 400_000  # rows that a task holds of all its files


def plain(table: Table) -> pa.Schema:
    """A table's columns as Delta keeps them: nullable, and without their meaning."""
    return pa.schema([pa.field(f.name, f.type) for f in table.arrow])


class _File:
    def __init__(self, folder: Path, schema: pa.Schema, values: dict[str, str | None]) -> None:
        self.path, self.values, self.rows, self.held = folder / f"part-{uuid.uuid4()}.parquet", values, 0, 0
        self._writer, self._rows = pq.ParquetWriter(self.path, schema), list[pa.Table]()

    def add(self, rows: pa.Table) -> None:
        self._rows.append(rows)
        self.rows += len(rows)
        self.held += len(rows)
        if self.held >= _GROUP:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.concat_tables(self._rows))
        self._rows, self.held = [], 0

    def close(self) -> tuple[str, int, int, str]:
        self.flush()
        self._writer.close()
        return self.path.name, self.path.stat().st_size, self.rows, json.dumps(self.values)


def writes(table: Table, folder: Path) -> Callable[[Iterable[pa.Table]], Iterator[pa.RecordBatch]]:
    """What a task does with its rows of a table: one file for each value of the partition columns; yields `WRITTEN`.

    Files of a task that is tried again are new ones; those that no commit names are nobody's. Memory: 100,000 rows of
    each file, 400,000 of all.
    """
    schema, by = plain(table), list(table.partition_by)
    inside = pa.schema([field for field in schema if field.name not in by])

    def write(tables: Iterable[pa.Table]) -> Iterator[pa.RecordBatch]:
        files: dict[tuple[object, ...], _File] = {}
        for rows in tables:
            made = rows.select(schema.names).cast(schema)
            keys = made.select(by).group_by(by).aggregate([]).to_pylist() if by else [{}]
            for values in keys if len(made) else []:
                mine = made
                for name, value in values.items():
                    column = mine.column(name)
                    mine = mine.filter(pc.is_null(column) if value is None else pc.equal(column, value))
                key = tuple(values.values())
                if key not in files:
                    folder.mkdir(parents=True, exist_ok=True)
                    said = {name: None if value is None else str(value) for name, value in values.items()}
                    files[key] = _File(folder, inside, said)
                files[key].add(mine.select(inside.names))
            if sum(file.held for file in files.values()) >= _HELD:
                for file in files.values():
                    file.flush()
        if files:
            columns = zip(*(file.close() for file in files.values()), strict=True)
            yield pa.RecordBatch.from_arrays(
                [pa.array(c, f.type) for c, f in zip(columns, WRITTEN, strict=True)], schema=WRITTEN
            )

    return write


def commit(
    table: Table, folder: Path, written: pa.Table, mode: Literal["overwrite", "append"] = "overwrite"
) -> tuple[int, int]:
    """Make the files all that the table holds, or more of it, in one transaction; return its version and their rows."""
    now, schema = int(time.time() * 1000), Schema.from_arrow(plain(table))
    actions = [
        AddAction(
            row["path"], row["size"], json.loads(row["values"]), now, True, json.dumps({"numRecords": row["rows"]})
        )
        for row in sorted(written.to_pylist(), key=lambda row: str(row["path"]))
    ]
    by = list(table.partition_by) or None
    if DeltaTable.is_deltatable(str(folder)):
        DeltaTable(folder).create_write_transaction(actions, mode, schema, by)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        create_table_with_add_actions(str(folder), schema, actions, "error", by)
    return DeltaTable(folder).version(), sum(written.column("rows").to_pylist())
