"""Cells: what is cut, packed and put in order is what it was; parts depend on values alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.cells import cut, gathered, in_order, parts_of, tables_of
from jobs.scores import SCORED, Scores, put
from schemas.columns import INTERPRETATION, TIME

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TURN = st.tuples(st.sampled_from(["a", "b", "é", "zz"]), st.integers(0, 5), st.integers(0, 10**6))


def turns(rows: list[tuple[str, int, int]]) -> pa.Table:
    meant = [None if n % 3 == 0 else {"intent": f"i{n}", "slots": [] if n % 2 else None} for *_, n in rows]
    return pa.table(
        {
            "user_id": pa.array([user for user, *_ in rows], pa.string()),
            "occurred_at": pa.array([NOON + timedelta(seconds=second) for _, second, _ in rows], TIME),
            "interaction_id": pa.array([f"t{n}" for *_, n in rows], pa.string()),
            "interpretation": pa.array(meant, INTERPRETATION),
        }
    )


@settings(max_examples=100)
@given(
    st.lists(TURN, max_size=30, unique_by=lambda turn: turn[2]),
    st.integers(1, 7),
    st.integers(1, 4),
    st.integers(1, 9),
)
def test_every_part_comes_back_in_order(rows: list[tuple[str, int, int]], at: int, parts: int, at_once: int) -> None:
    table = turns(rows)
    cells = [cut(table.slice(start, at), "user_id", parts) for start in range(0, len(table), at)]
    found = []
    for part in range(parts):
        mine = [cell.filter(pc.equal(cell.column("part"), part)) for cell in cells]
        made = list(in_order(tables_of(mine), at_once))
        found += pa.Table.from_batches(made).to_pylist() if made else []
        users = {row["user_id"] for batch in made for row in batch.to_pylist()}
        assert set(parts_of(pa.chunked_array([pa.array(sorted(users), pa.string())]), parts).tolist()) <= {part}
        keys = [tuple(row[name] for name in ("user_id", "occurred_at", "interaction_id")) for batch in made
                for row in batch.to_pylist()]  # fmt: skip
        assert keys == sorted(keys)
    by_id = {row["interaction_id"]: row for row in found}
    assert len(found) == len(rows)
    assert [by_id[row["interaction_id"]] for row in table.to_pylist()] == table.to_pylist()


def test_no_rows_are_no_cells() -> None:
    assert len(cut(turns([]), "user_id", 3)) == 0
    assert list(in_order([])) == []
    assert list(in_order([turns([])])) == []


def test_gathered_tables_are_large_enough_but_the_last() -> None:
    sizes = [3, 1, 5, 2, 2]
    made = list(gathered((pa.table({"n": [n] * n}) for n in sizes), 4))
    assert [len(table) for table in made] == [4, 5, 4]
    assert pa.concat_tables(made).column("n").to_pylist() == [n for n in sizes for _ in range(n)]


@pytest.mark.parametrize("parts", [1, 3, 64])
def test_parts_of_hashes_are_ranges_and_scores_are_found_in_their_files(parts: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(parts)
    ends = np.array([-1, 0, np.iinfo(np.int64).min, np.iinfo(np.int64).max])
    wording = np.unique(np.concatenate([ends, rng.integers(*np.iinfo(np.int64).min * np.array([1, -1]) - [0, 1], 500)]))
    part = parts_of(pa.chunked_array([pa.array(wording)]), parts)
    assert part.min() == 0
    assert part.max() == parts - 1
    unsigned = np.argsort(wording.view(np.uint64))
    assert (np.diff(part[unsigned]) >= 0).all()
    columns = [wording, *(rng.random(len(wording)) for _ in range(3)), rng.integers(1, 9, len(wording))]
    table = pa.table([pa.array(column) for column in columns], schema=SCORED)
    for one in set(part.tolist()):
        put(table.filter(pa.array(part == one)), tmp_path, parts)
    scores, asked = Scores(tmp_path, parts), rng.integers(0, len(wording), 1000)
    found = scores.of(wording[asked])
    for name, column in zip(SCORED.names, columns, strict=True):
        assert (found[name] == column[asked]).all()
    with pytest.raises(KeyError, match="without a score"):
        scores.of(np.array([5]))
