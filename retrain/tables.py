"""Reading and appending tables of the lake without a JVM, through `deltalake`.

Pipeline tables are read at the version their manifest published; `model_runs` and `gate_reports`, which
this room appends and no step publishes, at their latest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from schemas.lake import Lake
from schemas.tables import BY_NAME

Filter = tuple[str, str, Any]


def read_table(
    lake: Lake, name: str, *, version: int | None = None, where: Sequence[Filter] | None = None
) -> list[dict[str, Any]]:
    """Rows of a Delta table as dictionaries; a table that was never written has none.

    Args:
        version: Delta version; None reads the latest.
        where: conjunction of (column, operator, value), pushed down to files and row groups.

    Cost: memory of the matching rows.
    """
    from pyarrow.parquet import filters_to_expression

    version = lake.latest(name) if version is None else version
    if version is None:
        return []
    condition = filters_to_expression(list(where)) if where else None
    rows: list[dict[str, Any]] = lake.dataset(name, version).to_table(filter=condition).to_pylist()
    return rows


def append_rows(lake: Lake, name: str, rows: Sequence[Mapping[str, Any]]) -> int:
    """Append rows to a table in one atomic commit, creating it if need be; returns the table's new version.

    Raises:
        pyarrow.ArrowInvalid, ValueError: a row does not fit the table's schema (missing, unknown or null
        column).
    """
    import pyarrow as pa
    from deltalake import DeltaTable, write_deltalake

    table = BY_NAME[name]
    for row in rows:
        if strangers := set(row) - set(table.names):
            raise ValueError(f"{name} has no column {', '.join(sorted(strangers))}")
        if missing := [c.name for c in table.columns if not c.nullable and row.get(c.name) is None]:
            raise ValueError(f"{name}: {', '.join(missing)} must not be null")
    path = str(lake.table(name))
    columns = pa.Table.from_pylist([{n: row.get(n) for n in table.names} for row in rows], schema=table.arrow)
    if DeltaTable.is_deltatable(path):  # it keeps the comments that it was made with, and takes no others
        columns = columns.cast(pa.schema([field.remove_metadata() for field in table.arrow]))
    write_deltalake(path, columns, mode="append", partition_by=list(table.partition_by) or None)
    return int(DeltaTable(path).version())
