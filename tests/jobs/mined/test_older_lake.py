"""What a lake holds that an older program mined, and logs in which nobody is heard."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from mined_lake import Mined, settings_for
from planted_log import Log, plant, read, robots

from jobs.lineage import lineage_of
from jobs.pipeline import mine
from schemas.errors import InputError
from schemas.lake import Lake, Manifest


def test_turns_of_an_older_program_are_mined_anew(copy: Lake, mined: Mined) -> None:
    before = read(copy, "turns")
    older = pa.Table.from_pylist([{k: v for k, v in row.items() if k != "heard"} for row in before])
    write_deltalake(copy.table("turns"), older, mode="overwrite", schema_mode="overwrite")
    copy.publish(Manifest("turns", "older", {}, {"turns": DeltaTable(copy.table("turns")).version()}))
    with pytest.raises(InputError, match=r"turns.*heard.*sayagain mine"):
        lineage_of(copy, None, read(copy, "pseudo_labels")[0]["formulation_id"])
    [result] = mine(copy, settings_for(mined.folder, lake=str(copy.path)), only="turns")
    assert result.status == "done"
    assert sorted(read(copy, "turns"), key=str) == sorted(before, key=str)


def test_a_log_of_robots_alone_teaches_nothing_and_says_so(tmp_path: Path, spark: object) -> None:
    log = Log()
    _, users = robots(log)
    lake = plant(tmp_path / "lake", log.rows)
    (tmp_path / "gold.jsonl").write_text("")
    settings = settings_for(tmp_path, lake=str(lake.path))
    turns, pairs = (next(iter(mine(lake, settings, only=step))) for step in ("turns", "rephrase_pairs"))
    assert turns.counts["turns"] == turns.counts["turns_of_unheard_users"] == len(log.rows) > 0
    assert pairs.counts["pairs"] == 0
    assert {row["user_id"] for row in read(lake, "turns")} == users
