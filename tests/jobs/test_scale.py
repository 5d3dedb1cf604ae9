"""Turns and pairs of synthetic traffic with a robot in it: the same however the rows are cut, and against the peers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from planted_log import read
from rapidfuzz import fuzz

from benchmarks.mining_peers import ALIKE, GAP_SECONDS, LOOKAHEAD, with_pandas, with_sql
from benchmarks.synthetic_lake import write_interactions
from jobs.pipeline import STEPS, mine
from schemas.lake import Lake
from simulator.synthetic import SyntheticTraffic, block

TRAFFIC = SyntheticTraffic(seed=11, robot_block=True)
TURNS, BLOCK = 4000, 1000
NARROW = {"spark.sql.shuffle.partitions": "3", "spark.sql.execution.arrow.maxRecordsPerBatch": "64"}


@pytest.fixture(scope="module")
def traffic_lake(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(tmp_path_factory.mktemp("synthetic") / "lake").open(create=True)
    write_interactions(spark, TRAFFIC, TURNS, lake, size=BLOCK)
    return lake


def mined(lake: Lake, settings: Any) -> dict[str, list[dict[str, Any]]]:
    for step in ("turns", "rephrase_pairs"):
        list(mine(lake, settings({"lake": lake.path}), only=step))
    return {
        "turns": sorted(read(lake, "turns"), key=lambda row: row["interaction_id"]),
        "pairs": sorted(read(lake, "rephrase_pairs"), key=lambda row: row["pair_id"]),
    }


def test_a_robots_sessions_are_bounded_and_no_cut_of_the_rows_shows(
    spark: Any, traffic_lake: Lake, settings: Any, tmp_path: Path
) -> None:
    wide = mined(traffic_lake, settings)
    assert len(wide["turns"]) == TURNS
    assert not list(traffic_lake.scratch("").iterdir())  # what tasks told one another is gone
    sizes = Counter(row["session_id"] for row in wide["turns"])
    assert max(sizes.values()) == 50
    robot = Counter(row["user_id"] for row in wide["turns"]).most_common(1)[0]
    assert robot[1] == BLOCK
    assert sum(row["user_id"] == robot[0] for row in wide["pairs"]) > 100
    task = {}
    for number in range(TURNS // BLOCK):
        truth = block(TRAFFIC, number, BLOCK)[1]
        task |= dict(zip(truth.column("interaction_id").to_pylist(), truth.column("task_id").to_pylist(), strict=True))
    users = [row for row in wide["pairs"] if row["user_id"] != robot[0]]
    assert sum(task[row["source"]] == task[row["target"]] for row in users) / len(users) > 0.9

    before = {name: spark.conf.get(name) for name in NARROW}
    again = Lake(tmp_path / "lake").open(create=True)
    try:
        for name, value in NARROW.items():
            spark.conf.set(name, value)
        write_interactions(spark, TRAFFIC, TURNS, again, size=BLOCK)
        assert mined(again, settings) == wide
    finally:
        for name, value in before.items():
            spark.conf.set(name, value)
    assert {step: again.manifest(step).counts for step in ("turns", "rephrase_pairs")} == {  # type: ignore[union-attr]
        step: traffic_lake.manifest(step).counts
        for step in ("turns", "rephrase_pairs")  # type: ignore[union-attr]
    }


def test_the_peers_find_what_a_loop_finds(spark: Any, traffic_lake: Lake, tmp_path: Path) -> None:
    rows = sorted(
        read(traffic_lake, "interactions"), key=lambda r: (r["user_id"], r["occurred_at"], r["interaction_id"])
    )
    best: dict[str, tuple[float, int, str]] = {}
    for i, row in enumerate(rows):
        for step in range(1, LOOKAHEAD + 1):
            other = rows[i + step] if i + step < len(rows) else row
            gap = (other["occurred_at"] - row["occurred_at"]).total_seconds()
            if other is row or other["user_id"] != row["user_id"] or gap > GAP_SECONDS:
                continue
            alike = fuzz.ratio(row["utterance"].lower(), other["utterance"].lower()) / 100
            if ALIKE <= alike < 0.995:
                best[row["interaction_id"]] = max(
                    best.get(row["interaction_id"], (0.0, 0, "")), (round(alike, 5), -step, other["interaction_id"])
                )
    assert with_pandas(traffic_lake, tmp_path / "pandas.parquet") == len(best)
    found = pq.read_table(tmp_path / "pandas.parquet").to_pylist()
    assert {(row["source"], row["target"]) for row in found} == {(source, at[2]) for source, at in best.items()}
    assert 0 < with_sql(spark, traffic_lake, tmp_path / "sql.parquet") < len(best)


def test_the_steps_measured_are_steps_of_the_pipeline() -> None:
    from benchmarks.mining_throughput import MINING, STAGES

    assert set(MINING) <= STEPS.keys() & STAGES.keys()
