"""Who met which answer to which wording, and what they did: one observation a user, counted wording by wording."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mining.fellegi_sunter import from_pattern_key
from mining.friction import CONFIDENCE, CONTINUED, FEEDBACK, SIZES
from schemas.columns import list_of

Ints = NDArray[np.int64]

BEHAVIOUR = len(FEEDBACK) + len(CONTINUED)
_ODD = np.int64(-7046029254386353131)  # the golden ratio's bits: spreads wordings before users are added

MET = pa.schema(
    [
        ("locale", pa.string()),
        ("wording", pa.int64()),
        ("user", pa.int64()),
        ("at", pa.int64()),
        ("pattern", pa.int64()),
        ("intent", pa.string()),
    ]
)
SEEN = pa.schema(
    [
        ("locale", pa.string()),
        ("wording", pa.int64()),
        ("answer", pa.int64()),
        ("intent", pa.string()),
        ("seen", list_of(pa.int64())),
    ]
)


def _hashed(names: pa.Array | pa.ChunkedArray) -> Ints:
    """64-bit hashes; every distinct name is hashed once."""
    coded = (names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names).dictionary_encode()
    known = [
        int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)
        for name in coded.dictionary.to_pylist()
    ]
    return np.asarray(np.asarray(known, dtype=np.int64)[coded.indices.to_numpy()])


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _understood(meant: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Intent, and slots as one string; empty where nothing was understood."""
    slots = pc.struct_field(meant, "slots")
    lengths = pc.fill_null(pc.list_value_length(slots), 0).to_numpy()
    each = pc.list_flatten(slots)
    said = pc.binary_join_element_wise(pc.struct_field(each, "name"), pc.struct_field(each, "value"), "\x1e")
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    joined = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), said), "\x1f")
    return pc.fill_null(pc.struct_field(meant, "intent"), ""), pc.fill_null(joined, "")


def wordings(turns: pa.Table) -> tuple[Ints, pa.Array]:
    """Which wording with which answer each turn is, as a 64-bit hash; and the intent of the answer.

    Held-out users' are kept apart, so that what the gate judges by is not what the labels were made from.

    Args:
        turns: `formulation_id, held_out, response, interpretation`.

    O(rows) in Arrow, and one hash a distinct wording.
    """
    intent, slots = _understood(_flat(turns.column("interpretation")))
    held_out = pc.if_else(turns.column("held_out"), "held out", "")
    parts = [_flat(pc.cast(part, pa.string())) for part in
             (turns.column("formulation_id"), held_out, turns.column("response"))]  # fmt: skip
    return _hashed(pc.binary_join_element_wise(*parts, intent, slots, "\x1d")), intent


def met(turns: pa.Table, pattern: Ints) -> tuple[Ints, pa.Table]:
    """The wording of each turn, and each user's first meeting with each wording and its answer: rows of `MET`.

    Args:
        turns: in order of user and time, with the columns of `wordings` and `locale, user_id, occurred_at`.
        pattern: of each turn's evidence (`pattern_key` of its levels, sizes `SIZES`).
    """
    wording, intent = wordings(turns)
    user = _hashed(turns.column("user_id"))
    _, first = np.unique(wording * _ODD + user, return_index=True)
    first = np.sort(first)
    at = _flat(turns.column("occurred_at")).cast(pa.int64()).to_numpy()
    columns = [turns.column("locale").take(first), pa.array(wording[first]), pa.array(user[first]),
               pa.array(at[first]), pa.array(pattern[first]), intent.take(pa.array(first))]  # fmt: skip
    return wording, pa.table(columns, schema=MET)


def seen(meetings: pa.Table) -> pa.Table:
    """What the users of each wording did, each user once: rows of `SEEN`, ordered by wording.

    Args:
        meetings: rows of `MET`, all of a wording or none.

    Returns:
        `answer` numbers response and confidence (the surest met); `seen` counts users by feedback, then by continued.

    O(n log n) time, 100 bytes a row.
    """
    column = {name: meetings.column(name).to_numpy() for name in ("wording", "user", "at", "pattern")}
    order = np.lexsort((column["pattern"], column["at"], column["user"], column["wording"]))
    wording, user = column["wording"][order], column["user"][order]
    order = order[np.flatnonzero(np.diff(wording, prepend=~wording[:1]) | np.diff(user, prepend=~user[:1]))]
    wording = column["wording"][order]
    start = np.flatnonzero(np.diff(wording, prepend=~wording[:1]))
    place = np.repeat(np.arange(len(start)), np.diff(np.append(start, len(wording))))
    levels = from_pattern_key(column["pattern"][order], SIZES)
    counts = np.zeros((len(start), BEHAVIOUR), dtype=np.int64)
    np.add.at(counts, (place, levels[:, 2]), 1)
    np.add.at(counts, (place, len(FEEDBACK) + levels[:, 3]), 1)
    answer = levels[:, 0] * len(CONFIDENCE) + levels[:, 1]
    best = np.maximum.reduceat(answer, start) if len(start) else answer
    lists = pa.ListArray.from_arrays(pa.array(np.arange(len(start) + 1) * BEHAVIOUR, pa.int32()), counts.ravel())
    one = pa.array(order[start])
    columns = [meetings.column("locale").take(one), pa.array(wording[start]), pa.array(best),
               meetings.column("intent").take(one), lists.cast(SEEN.field("seen").type)]  # fmt: skip
    return pa.table(columns, schema=SEEN)


def counts_of(rows: pa.Table) -> NDArray[np.int64]:
    """The column `seen` as a matrix, wordings x behaviours."""
    return np.asarray(pc.list_flatten(_flat(rows.column("seen"))).to_numpy(), dtype=np.int64).reshape(-1, BEHAVIOUR)


def users(rows: pa.Table) -> Ints:
    """How many users met each wording of `SEEN`."""
    return np.asarray(counts_of(rows)[:, : len(FEEDBACK)].sum(axis=1))
