"""Ingest on real Spark, Delta and Great Expectations: nothing lost, nothing doubled, bad batches stay out."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from jobs.expectations import validate
from jobs.ingest import CONFLICT, ingest
from jobs.pseudonym_key import key_file
from schemas.errors import InputError, RefusedError
from schemas.expectations import Expectation
from schemas.lake import Lake

ROOT = Path(__file__).parents[2]
KEY = {"ingest.pseudonym_key": "a secret for the tests"}


def rows(lake: Lake, table: str, *without: str) -> list[dict[str, Any]]:
    """The published rows of a table, in the order of its first column."""
    found = DeltaTable(lake.table(table), version=lake.version(table)).to_pyarrow_table().to_pylist()
    kept = [{name: value for name, value in row.items() if name not in without} for row in found]
    return sorted(kept, key=lambda row: str(next(iter(row.values()))))


def balanced(counts: dict[str, int]) -> bool:
    return counts["read"] == counts["kept"] + counts["duplicates"] + counts["quarantined"]


@pytest.mark.usefixtures("spark")
def test_bad_records_repeated_files_and_ids_used_twice(settings, lake, write_log, record) -> None:
    outside = {"intent": "alarm_set", "slots": [{"name": "time", "value": "moja", "start": 40, "end": 44}]}
    log = write_log(
        "day 1/log[1].jsonl",
        record("g1"),
        '{"interaction_id": "broken", "user_id": "baraka", ',
        record("three", locale="klingon", occurred_at="2026-01-10 08:00", response="maybe"),
        "",
        record("span", interpretation=outside),
        record("old", occurred_at="1970-01-01T00:00:00Z"),
        record("far", occurred_at="2099-01-01T00:00:00Z"),
        record("nowhere", locale="xx-QQ"),
        b'{"interaction_id": "bytes", "user_id": "baraka", "utterance": "\xff"}',
        json.dumps(record("g2")) + "\r",
        record("g1"),
        record("g1", response="failed"),
    )
    made, chosen = lake(), settings({"ingest.max_quarantined": 0.9} | KEY)
    first = ingest(made, chosen, [log])
    assert first.status == "done"
    assert balanced(first.counts)
    assert first.counts == {
        "files": 1,
        "blank": 1,
        "read": 11,
        "kept": 2,
        "duplicates": 1,
        "quarantined": 8,
        "quarantined.interaction_id": 1,
        "quarantined.interpretation": 1,
        "quarantined.locale": 2,
        "quarantined.occurred_at": 3,
        "quarantined.record": 2,
        "quarantined.response": 1,
    }
    assert [row["interaction_id"] for row in rows(made, "interactions")] == ["g1", "g2"]
    rejected = {row["line"]: row for row in rows(made, "quarantine")}
    assert sorted(rejected) == [2, 3, 5, 6, 7, 8, 9, 12]
    assert len(rejected[3]["reasons"]) == 3
    assert "outside its text of 16" in rejected[5]["reasons"][0]
    assert rejected[12]["reasons"] == [CONFLICT]
    assert {row["file"] for row in rejected.values()} == {log}
    assert not any("baraka" in row["raw"] or "amina" in row["raw"] for row in rejected.values())

    before = made.published()
    again = ingest(made, chosen, [log])
    assert again.status == "unchanged"
    assert (again.counts["kept"], again.counts["duplicates"], again.counts["quarantined"]) == (0, 3, 8)
    assert made.published() == before
    assert {name: DeltaTable(made.table(name)).version() for name in before} == before

    other = write_log("day2.jsonl", record("g1", utterance="kitu kingine", interpretation=None), record("g3"))
    later = ingest(made, chosen, [log, other])
    assert later.status == "done"
    assert balanced(later.counts)
    assert (later.counts["kept"], later.counts["duplicates"]) == (1, 3)
    assert rows(made, "quarantine")[-1].keys() == rows(made, "quarantine")[0].keys()
    assert [row["interaction_id"] for row in rows(made, "interactions")] == ["g1", "g2", "g3"]
    assert sum(row["reasons"] == [CONFLICT] for row in rows(made, "quarantine")) == 2
    assert [row["status"] for row in DeltaTable(made.table("job_runs")).to_pyarrow_table().to_pylist()] == [
        "done",
        "unchanged",
        "done",
    ]


@pytest.mark.usefixtures("spark")
def test_a_batch_without_a_good_record_is_refused_and_can_be_looked_at(settings, lake, write_log) -> None:
    log = write_log("bad.jsonl", "{", '{"user_id": 7}')
    made = lake()
    for _ in range(2):  # run again, it is refused again, and its quarantine rows are there once
        with pytest.raises(RefusedError) as refused:
            ingest(made, settings({"ingest.min_records": 5}), [log])
        said = str(refused.value)
        assert "2 of 2 records were quarantined" in said
        assert "expected at least 5 records read, observed 2 (setting ingest.min_records)" in said
        assert "expected at most 20.0% of the records quarantined, observed 1" in said
        page = Path(said.split("all expectations: ")[1].splitlines()[0])
        assert page.is_file()
        assert len(rows(made, "quarantine")) == 2
    with pytest.raises(InputError, match="no interactions yet"):
        made.version("interactions")
    runs = DeltaTable(made.table("job_runs")).to_pyarrow_table().to_pylist()
    assert [run["status"] for run in runs] == ["refused", "refused"]


@pytest.mark.usefixtures("spark")
def test_a_refused_batch_leaves_the_published_table_alone(settings, lake, write_log, record) -> None:
    made = lake()
    ingest(made, settings(), [write_log("good.jsonl", record("g1"))])
    manifest = made.manifest("ingest")
    foreign = write_log("foreign.jsonl", record("g2", locale="de-DE"), record("g3"), "{")
    chosen = settings({"ingest.locales": ["sw_KE"], "ingest.max_quarantined": 0.5})
    with pytest.raises(RefusedError, match=r"outside sw-KE, observed 1 of 3 records do not"):
        ingest(made, chosen, [foreign])
    after = made.manifest("ingest")
    assert after.outputs["interactions"] == manifest.outputs["interactions"]
    assert after.run_id == manifest.run_id  # readers have nothing to do
    assert len(rows(made, "quarantine")) == 1


def test_lines_are_numbered_when_a_file_is_split(spark, settings, lake, write_log, record) -> None:
    lines: list[Any] = [record(f"g{i}", occurred_at=f"2026-01-10T08:{i // 60:02}:{i % 60:02}Z") for i in range(150)]
    bad = [2, 40, 77, 149]
    for number in bad:
        lines[number - 1] = "{broken"
    lines[60:62] = ["", ""]
    spark.conf.set("spark.sql.files.maxPartitionBytes", "4000")
    spark.conf.set("spark.sql.files.openCostInBytes", "0")
    try:
        done = ingest(made := lake(), settings(KEY), [write_log("long.jsonl", *lines)])
    finally:
        spark.conf.unset("spark.sql.files.maxPartitionBytes")
        spark.conf.unset("spark.sql.files.openCostInBytes")
    assert (done.counts["read"], done.counts["blank"], done.counts["quarantined"]) == (148, 2, 4)
    assert sorted(row["line"] for row in rows(made, "quarantine")) == bad


@pytest.mark.usefixtures("spark")
def test_parquet_gzip_and_a_damaged_file(tmp_path: Path, settings, lake, write_log, record) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    table = pa.Table.from_pylist([record("p1"), record("p2", locale="??"), record("p3", interpretation=None)])
    pq.write_table(table, folder / "a.parquet")
    # Another file of the folder, with a column less: its rows must not lose the others' columns.
    pq.write_table(pa.Table.from_pylist([record("p4")]).drop_columns(["confidence"]), folder / "0.parquet")
    with gzip.open(folder / "b.jsonl.gz", "wt", encoding="utf-8") as out:
        out.write(json.dumps(record("z1")) + "\n")
    done = ingest(made := lake(), settings({"ingest.max_quarantined": 0.5}), [str(folder)])
    assert (done.counts["files"], done.counts["kept"], done.counts["quarantined"]) == (3, 4, 1)
    found = {row["interaction_id"]: row for row in rows(made, "interactions")}
    assert sorted(found) == ["p1", "p3", "p4", "z1"]
    assert found["p1"]["confidence"] == 0.9
    assert found["p3"]["interpretation"] is None
    assert rows(made, "quarantine")[0]["line"] == 2
    for name in ("damaged.jsonl.gz", "damaged.parquet"):
        path = write_log(name, b"PAR1 this is neither")
        with pytest.raises(InputError, match="cannot be read"):
            ingest(made, settings(), [path])


KILLED = """
import json, os, signal, sys
from pathlib import Path
from schemas.lake import Lake
from schemas.settings import load_settings
from jobs.ingest import ingest
Lake.publish = lambda self, manifest: os.kill(os.getpid(), signal.SIGKILL)
lake, log, flags = sys.argv[1:]
ingest(Lake(Path(lake)), load_settings(json.loads(flags)), [log])
"""


@pytest.mark.usefixtures("spark")
def test_killed_before_it_publishes_and_run_again(
    tmp_path: Path, settings, small_spark, lake, write_log, record
) -> None:
    """The tables end as if the run had never died, and readers never see what it left behind."""
    day1 = write_log("day1.jsonl", record("g1"), record("g2"), record("g3"), record("g4"), "{")
    day2 = write_log("day2.jsonl", record("g1"), record("h1"), record("h2"), record("h3"), record("h4"), "[")
    never, killed = lake("never"), Lake(tmp_path / "killed")
    chosen = settings()
    ingest(never, chosen, [day1])
    shutil.copytree(never.path, killed.path)
    shutil.copy(key_file(never), key_file(killed))
    before = killed.published()
    said = tmp_path / "said"  # no pipe: the JVM outlives its parent and would keep it open
    with said.open("wb") as stderr:
        child = subprocess.run(
            [sys.executable, "-c", KILLED, str(killed.path), day2, json.dumps(small_spark)],
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "HOME": str(Path.home()), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            timeout=600,
            check=False,
        )
    assert child.returncode == -9, said.read_text()[-2000:]
    assert killed.published() == before
    assert DeltaTable(killed.table("interactions")).version() > before["interactions"]
    ingest(never, chosen, [day2])
    ingest(killed, chosen, [day2])
    for table in ("interactions", "quarantine"):
        assert rows(killed, table) == rows(never, table)
    assert killed.manifest("ingest").run_id == never.manifest("ingest").run_id


@pytest.mark.usefixtures("spark")
def test_a_run_id_of_digits_alone_is_only_a_name(spark, tmp_path) -> None:
    """One id in two thousand is; Great Expectations reads the time of a run from its name where it is given none."""
    batch = spark.createDataFrame([("a",)], "utterance string")
    rule = Expectation("a row or more", "ExpectTableRowCountToBeBetween", {"min_value": 1})
    verdict = validate(batch, [rule], tmp_path / "gx", "9424848478913690")
    assert verdict.passed
    assert verdict.page.exists()


@pytest.mark.usefixtures("spark")
def test_files_without_a_record(settings, lake, write_log, record) -> None:
    blank, empty = write_log("blank.jsonl", "", "  "), write_log("empty.jsonl")
    made = lake()
    with pytest.raises(RefusedError, match="at least 1 records read, observed 0") as refused:
        ingest(made, settings(), [blank, empty])
    assert "interaction_id" not in str(refused.value)  # there is none
    assert made.published() == {}
    done = ingest(made, settings(), [blank, empty, write_log("good.jsonl", record("g1"))])
    assert (done.counts["blank"], done.counts["read"], done.counts["kept"]) == (2, 1, 1)


@pytest.mark.usefixtures("spark")
def test_many_small_files_and_every_record_once_more(settings, lake, write_log, record) -> None:
    """Numbers run through all files; a second delivery under other names, in another order, brings nothing."""
    logs = [write_log(f"part-{n:03}.jsonl", record(f"a{n}"), record(f"b{n % 7}"), "{") for n in range(40)]
    made, chosen = lake(), settings({"ingest.max_quarantined": 0.5})
    first = ingest(made, chosen, logs)
    assert (first.counts["files"], first.counts["kept"], first.counts["duplicates"]) == (40, 47, 33)
    assert first.counts["quarantined"] == 40
    moved = [write_log(f"moved/{40 - n:03}.jsonl", Path(log).read_bytes()) for n, log in enumerate(logs)]
    again = ingest(made, chosen, [str(Path(moved[0]).parent)])
    assert (again.counts["kept"], again.counts["duplicates"]) == (0, 80)
    assert len(rows(made, "interactions")) == 47
    assert not made.scratch("ingest").exists()
