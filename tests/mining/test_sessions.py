"""Sessions against a loop over each user's turns, and a stream cut anywhere."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.sessions import session_id, sessionise, whole_sessions

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SCHEMA = pa.schema([("user_id", pa.string()), ("occurred_at", pa.timestamp("us", tz="UTC")), ("row", pa.int64())])


def turns(*gaps_of_user: list[float]) -> pa.Table:
    """Sorted turns: of each user, the silence before each turn."""
    rows = []
    for user, gaps in enumerate(gaps_of_user):
        moments = np.cumsum(gaps) if gaps else []
        rows += [(f"user{user:03}", NOON + timedelta(seconds=float(t))) for t in moments]
    return pa.table(
        [[u for u, _ in rows], [t for _, t in rows], list(range(len(rows)))], schema=SCHEMA
    )  # fmt: skip


def naive(table: pa.Table, gap: float, most: int) -> list[tuple[int, int]]:
    """(row of the session's first turn, position) of every row, one turn at a time."""
    found: list[tuple[int, int]] = []
    before: dict | None = None
    for row, turn in enumerate(table.to_pylist()):
        apart = (
            before is None
            or turn["user_id"] != before["user_id"]
            or (turn["occurred_at"] - before["occurred_at"]).total_seconds() > gap
        )
        full = not apart and found[-1][1] + 1 == most
        found.append((row, 0) if apart or full else (found[-1][0], found[-1][1] + 1))
        before = turn
    return found


silences = st.lists(st.sampled_from([0.0, 1.0, 9.999999, 10.0, 10.000001, 60.0]), max_size=25)
logs = st.lists(silences, min_size=1, max_size=6).map(lambda users: turns(*users))


@given(logs, st.integers(2, 7))
def test_sessions_are_those_of_a_loop_over_the_turns(table: pa.Table, most: int) -> None:
    first, position = sessionise(table, 10.0, most)
    assert list(zip(first.tolist(), position.tolist(), strict=True)) == naive(table, 10.0, most)


def test_a_silence_as_long_as_the_gap_does_not_end_a_session() -> None:
    first, position = sessionise(turns([0, 300, 300.000001, 1], [0]), 300.0, 50)
    assert first.tolist() == [0, 0, 2, 2, 4]
    assert position.tolist() == [0, 1, 0, 1, 0]


def test_two_users_at_one_moment_are_two_sessions() -> None:
    assert sessionise(turns([0.0], [0.0], [0.0]), 300.0, 50)[0].tolist() == [0, 1, 2]


@settings(max_examples=300)
@given(logs, st.lists(st.integers(0, 150), max_size=8), st.integers(2, 5), st.integers(1, 40))
def test_no_session_depends_on_where_the_stream_is_cut(table: pa.Table, cuts: list[int], most: int, hold: int) -> None:
    edges = sorted({0, len(table), *(c for c in cuts if c < len(table))})
    batches = [b for a, z in itertools.pairwise(edges) for b in table.slice(a, z - a).to_batches()]
    empty = pa.RecordBatch.from_pylist([], schema=SCHEMA)
    found: list[tuple[int, int]] = []
    rows: list[int] = []
    for part in whole_sessions([empty, *batches, empty], 10.0, most, hold=hold):
        first, position = sessionise(part, 10.0, most)
        numbers = part.column("row").to_pylist()
        rows += numbers
        found += [(numbers[f], p) for f, p in zip(first.tolist(), position.tolist(), strict=True)]
    assert rows == list(range(len(table)))  # nothing lost, doubled or reordered
    assert found == naive(table, 10.0, most)


def test_a_robot_that_never_pauses_is_given_back_in_pieces() -> None:
    table = turns([1.0] * 1_000)
    pieces = list(whole_sessions(table.to_batches(max_chunksize=30), 10.0, 7, hold=100))
    assert max(len(piece) for piece in pieces) <= 100 + 30 + 7
    assert all(len(piece) % 7 == 0 for piece in pieces[:-1])
    assert sum(len(piece) for piece in pieces) == 1_000


def test_a_session_keeps_its_id_when_later_turns_arrive() -> None:
    assert session_id("a", "first") == session_id("a", "first")
    made = {session_id(u, i) for u in ("a", "b", "ab") for i in ("x", "bx", "y")}
    assert len(made) == 9
