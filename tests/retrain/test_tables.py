from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from retrain.tables import append_rows, read_table
from schemas.lake import Lake
from schemas.tables import BY_NAME

RUN = {"model_version": "m/1", "locale": "xx-XX", "snapshot_id": "s1", "seconds": 1.0, "examples": 3, "run_id": "r"}


def test_a_table_of_a_program_that_told_its_columns_otherwise_takes_more_rows(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = BY_NAME["model_runs"]
    row = {column.name: RUN.get(column.name) for column in now.columns}
    row["trained_at"] = datetime(2026, 1, 5, tzinfo=UTC)
    older = replace(now, columns=tuple(replace(column, doc=f"once: {column.doc}") for column in now.columns))
    monkeypatch.setitem(BY_NAME, "model_runs", older)
    append_rows(lake, "model_runs", [row])
    monkeypatch.setitem(BY_NAME, "model_runs", now)
    append_rows(lake, "model_runs", [row | {"model_version": "m/2"}])
    assert sorted(r["model_version"] for r in read_table(lake, "model_runs")) == ["m/1", "m/2"]
