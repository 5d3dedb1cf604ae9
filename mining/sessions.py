"""Sessions by user and time gap, over turns sorted by user and time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def seconds(times: pa.ChunkedArray | pa.Array) -> NDArray[np.float64]:
    """Timestamps as seconds since the epoch, to the microsecond."""
    return np.asarray(times.cast(pa.int64()).to_numpy(zero_copy_only=False), dtype=np.float64) / 1e6


def _runs(table: pa.Table, gap_seconds: float) -> Ints:
    """Row numbers at which a user or a run of turns without a long gap starts; row 0 is one."""
    users = run_codes(table.column("user_id"))
    times = seconds(table.column("occurred_at"))
    starts = np.flatnonzero((np.diff(users) != 0) | (np.diff(times) > gap_seconds)) + 1
    return np.concatenate([[0], starts]).astype(np.int64)


def sessionise(table: pa.Table, gap_seconds: float, max_turns: int) -> tuple[Ints, Ints]:
    """Where each turn's session starts, and the turn's place in it.

    Args:
        table: `user_id`, `occurred_at`, sorted by user, time and id; whole runs of turns.
        gap_seconds: a longer silence ends a session.
        max_turns: a longer run is cut into sessions of this many turns, so that a look-ahead stays bounded.

    Returns:
        Row number of the first turn of each row's session, and the position from 0. O(rows).
    """
    rows = len(table)
    if rows == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    starts = _runs(table, gap_seconds)
    start_of = np.repeat(starts, np.diff(np.append(starts, rows)))
    position = np.arange(rows, dtype=np.int64) - start_of
    return start_of + position // max_turns * max_turns, position % max_turns


def session_id(user_id: str, first_interaction: str) -> str:
    """A stable id: it does not change when later turns arrive."""
    return hashlib.blake2b(f"{user_id}\x1f{first_interaction}".encode(), digest_size=8).hexdigest()


def whole_sessions(
    batches: Iterable[pa.RecordBatch], gap_seconds: float, max_turns: int, hold: int = 100_000
) -> Iterator[pa.Table]:
    """Re-cut a sorted stream of batches so that no session straddles two of the tables given back.

    Holds back the last run of turns until its end is seen. A run longer than `hold` (a robot that never pauses) is
    cut at a multiple of `max_turns`, where `sessionise` would cut it anyway, so memory stays bounded.
    """
    held: list[pa.Table] = []
    for batch in batches:
        if batch.num_rows == 0:
            continue
        table = pa.concat_tables([*held, pa.Table.from_batches([batch])])
        last = int(_runs(table, gap_seconds)[-1])
        if len(table) - last > hold:
            last += (len(table) - last) // max_turns * max_turns
        if last:
            yield table.slice(0, last)
        held = [table.slice(last)] if last < len(table) else []
    if held:
        yield held[0]


def answers(turns: pa.Table) -> NDArray[np.bool_]:
    """Turns that answer the clarification before them: the slot asked for spans the whole utterance.

    Args:
        turns: whole sessions in order, with `session_id, requested_slot, utterance, interpretation`.

    O(rows) in Arrow; only the turns after a question are looked at one by one.
    """
    answered = np.zeros(len(turns), dtype=bool)
    if len(turns) < 2:
        return answered
    asked, session = turns.column("requested_slot"), turns.column("session_id")
    after = pc.and_(
        pc.fill_null(pc.not_equal(asked.slice(0, len(turns) - 1), ""), False),
        pc.equal(session.slice(1), session.slice(0, len(turns) - 1)),
    )
    rows = np.flatnonzero(after.to_numpy()) + 1
    texts = turns.column("utterance").take(rows).to_pylist()
    found = turns.column("interpretation").take(rows).to_pylist()
    for row, name, text, meant in zip(rows.tolist(), asked.take(rows - 1).to_pylist(), texts, found, strict=True):
        slots = (meant or {}).get("slots") or ()
        answered[row] = any(s["name"] == name and s["start"] == 0 and s["end"] == len(text) for s in slots)
    return answered


def run_codes(values: pa.ChunkedArray) -> Ints:
    """Numbers the runs of equal values, from 0: rows of one session have one number. O(rows)."""
    if len(values) == 0:
        return np.zeros(0, dtype=np.int64)
    new = pc.not_equal(values.slice(1), values.slice(0, len(values) - 1)).to_numpy()
    return np.concatenate([[0], np.cumsum(new)]).astype(np.int64)
