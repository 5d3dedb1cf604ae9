"""Files written by tasks become a table by one Delta commit, which both Delta libraries read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake

from jobs import files
from jobs.files import WRITTEN, commit, writes
from schemas.columns import LOCALE, STRINGS, Column, Table

TABLE = Table("words", "a word", "jobs.words", ("word",), (Column("word", pa.string(), "it", False), LOCALE,
              Column("also", STRINGS, "others", True)), ("locale",))  # fmt: skip


def rows(*words: tuple[str, str | None, list[str] | None]) -> pa.Table:
    word, locale, also = zip(*words, strict=True)
    return pa.table({"also": pa.array(also, STRINGS), "locale": locale, "word": word})


def test_a_commit_replaces_what_was_there_and_unnamed_files_are_nobodys(tmp_path: Path, spark: Any) -> None:
    folder = tmp_path / "words"
    write = writes(TABLE, folder)
    one = rows(("ja", "sw-KE", ["ndiyo"]), ("nein", "de-DE", None), ("doch", "de-DE", []))
    written = pa.Table.from_batches(list(write([one.slice(0, 2), one.slice(2)])), WRITTEN)
    assert sorted(written.column("rows").to_pylist()) == [1, 2]
    list(write([rows(("lost", "de-DE", None))]))  # a task that was tried again
    assert commit(TABLE, folder, written) == (0, 3)
    expected = sorted(one.select(list(TABLE.names)).to_pylist(), key=str)
    assert sorted(DeltaTable(folder).to_pyarrow_table().select(list(TABLE.names)).to_pylist(), key=str) == expected
    assert spark.read.format("delta").load(str(folder)).where("locale = 'de-DE'").count() == 2
    assert DeltaTable(folder).metadata().partition_columns == ["locale"]

    again = pa.Table.from_batches(list(write([rows(("oui", "fr-FR", None))])), WRITTEN)
    assert commit(TABLE, folder, again) == (1, 1)
    assert DeltaTable(folder).to_pyarrow_table().column("word").to_pylist() == ["oui"]
    assert [row["word"] for row in spark.read.format("delta").load(str(folder)).collect()] == ["oui"]
    assert len(DeltaTable(folder, version=0).to_pyarrow_table()) == 3


def test_a_table_may_be_empty(tmp_path: Path) -> None:
    folder = tmp_path / "words"
    nothing = WRITTEN.empty_table()
    assert list(writes(TABLE, folder)([])) == []
    assert commit(TABLE, folder, nothing) == (0, 0)
    assert DeltaTable(folder).to_pyarrow_table().num_rows == 0
    written = pa.Table.from_batches(list(writes(TABLE, folder)([rows(("oui", "fr-FR", None))])), WRITTEN)
    assert commit(TABLE, folder, written) == (1, 1)
    assert commit(TABLE, folder, nothing) == (2, 0)
    assert DeltaTable(folder).to_pyarrow_table().num_rows == 0


def test_no_row_is_lost_for_want_of_a_partition_value_or_an_older_schema(tmp_path: Path) -> None:
    folder = tmp_path / "words"
    older = pa.table({"word": ["ja"], "locale": ["sw-KE"]})  # of a program that knew no `also`
    write_deltalake(str(folder), older, partition_by=["locale"])
    made = rows(("oui", "fr-FR", ["si"]), ("eh", None, None))
    written = pa.Table.from_batches(list(writes(TABLE, folder)([made])), WRITTEN)
    assert commit(TABLE, folder, written)[1] == 2
    found = DeltaTable(folder).to_pyarrow_table().select(list(TABLE.names)).to_pylist()
    assert sorted(found, key=str) == sorted(made.select(list(TABLE.names)).to_pylist(), key=str)


def test_rows_that_wait_are_bounded_whatever_the_number_of_files(tmp_path: Path, monkeypatch: Any) -> None:
    """Many dates in one task's rows: no file of them fills a row group, and still not all rows are held."""
    monkeypatch.setattr(files, "_HELD", 6)
    words = [rows((f"w{n}", f"l{n % 5}", None)) for n in range(30)]
    written = pa.Table.from_batches(list(writes(TABLE, tmp_path)(words)), WRITTEN)
    groups = [pq.ParquetFile(tmp_path / path).num_row_groups for path in written.column("path").to_pylist()]
    assert groups == [5] * 5  # thirty rows, six at a time
    assert sum(written.column("rows").to_pylist()) == 30


def test_more_rows_are_added_and_earlier_versions_stay(tmp_path: Path, spark: Any) -> None:
    folder = tmp_path / "words"
    for version, word in enumerate(("ja", "doch")):
        written = pa.Table.from_batches(list(writes(TABLE, folder)([rows((word, "de-DE", None))])), WRITTEN)
        assert commit(TABLE, folder, written, "append") == (version, 1)
    assert sorted(DeltaTable(folder).to_pyarrow_table().column("word").to_pylist()) == ["doch", "ja"]
    assert spark.read.format("delta").load(str(folder)).count() == 2
    assert DeltaTable(folder, version=0).to_pyarrow_table().num_rows == 1
