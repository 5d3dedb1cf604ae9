"""The lake's layout and its manifests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import write_deltalake

from schemas.errors import InputError
from schemas.lake import Lake, Manifest
from schemas.tables import ALL, BY_NAME


def test_a_manifest_comes_back_as_it_was_published(lake) -> None:
    made = lake()
    manifest = Manifest("turns", "r1", {"interactions": 3}, {"turns": 5}, {"rows": 7}, {"shares": [0.5, None]})
    assert made.manifest("turns") is None
    made.publish(manifest)
    assert made.manifest("turns") == manifest
    assert made.version("turns") == 5
    made.publish(Manifest("ingest", "r2", {}, {"interactions": 4, "quarantine": 1}))
    assert made.published() == {"interactions": 4, "quarantine": 1, "turns": 5}
    assert [p.name for p in (made.path / "_manifests").iterdir() if p.name.startswith(".")] == []


def test_a_table_that_is_not_published_names_its_step(lake) -> None:
    with pytest.raises(InputError, match="has no turns yet: run the step `turns` first"):
        lake().version("turns")


def test_what_is_no_lake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no lake at"):
        Lake(tmp_path / "none").open()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "holiday.jpg").write_text("")
    with pytest.raises(InputError, match="is not empty and no lake"):
        Lake(tmp_path / "full").open(create=True)
    made = Lake(tmp_path / "made").open(create=True)
    (made.path / "_sayagain.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        made.open()


def test_every_table_has_a_key_among_its_columns_and_one_meaning_a_column() -> None:
    assert len(BY_NAME) == len(ALL)
    for table in ALL:
        assert set(table.key) <= set(table.names)
        assert set(table.partition_by) <= set(table.names)
        assert len(set(table.names)) == len(table.names)
        assert all(column.doc for column in table.columns)


def test_a_process_that_read_tables_ends_as_it_should(tmp_path: Path) -> None:
    """Through deltalake's own file system two in five such processes were aborted at their end."""
    lake = Lake(tmp_path / "lake").open(create=True)
    rows = pa.table({"day": [str(n % 3) for n in range(3000)], "n": list(range(3000))})
    names = [f"t{number}" for number in range(12)]
    for name in names:
        write_deltalake(lake.table(name), rows, partition_by=["day"])
    read = (
        "import sys; from pathlib import Path; from schemas.lake import Lake\n"
        "for name in sys.argv[2:]: assert Lake(Path(sys.argv[1])).dataset(name, 0).to_table().num_rows == 3000"
    )
    started = [subprocess.Popen([sys.executable, "-c", read, str(lake.path), *names]) for _ in range(8)]
    assert [process.wait(timeout=120) for process in started] == [0] * 8


def test_rows_are_those_of_the_published_version(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake").open(create=True)
    with pytest.raises(InputError, match="run the step `turns` first"):
        lake.rows("turns")
    for n in (1, 2):
        write_deltalake(lake.table("turns"), pa.table({"n": [n, 10 * n], "text": ["a b", "ä/ b=c"]}), mode="append")
    lake.publish(Manifest("turns", "run", {}, {"turns": 0}))
    assert sorted(row["n"] for row in lake.rows("turns")) == [1, 10]
    assert lake.rows("turns", ["n"], pc.field("text") == "ä/ b=c") == [{"n": 10}]
    assert lake.dataset("turns", 1).count_rows() == 4
