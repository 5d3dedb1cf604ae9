"""Who met which answer to which wording, and what they did: one observation a user, counted wording by wording."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

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
        ("heard", pa.bool_()),
    ]
)
SEEN = pa.schema(
    [
        ("locale", pa.string()),
        ("wording", pa.int64()),
        ("answer", pa.int64()),
        ("intent", pa.string()),
        ("heard", pa.bool_()),
        ("seen", list_of(pa.int64())),
    ]
)

_NAMED = ("locale", "intent", "heard")  # that all meetings of a wording share


def _hashed(names: pa.Array | pa.ChunkedArray) -> Ints:
    """64-bit hashes; every distinct name is hashed once."""
    coded = (names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names).dictionary_encode()
    digests = [hashlib.blake2b(name.encode(), digest_size=8).digest() for name in coded.dictionary.to_pylist()]
    known = np.frombuffer(b"".join(digests), dtype=">i8").astype(np.int64)
    return np.asarray(known[coded.indices.to_numpy()])


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

    Held-out users' are kept apart, so that what the gate judges by is not what the labels were made from; and those
    of users who are not heard (`mining.voices`), who tell nothing of what happened to others.

    Args:
        turns: `formulation_id, held_out, heard, response, interpretation`.

    O(rows) in Arrow, and one hash a distinct wording.
    """
    intent, slots = _understood(_flat(turns.column("interpretation")))
    held_out = pc.if_else(turns.column("held_out"), "held out", "")
    apart = pc.if_else(turns.column("heard"), held_out, pc.binary_join_element_wise(held_out, "unheard", " "))
    parts = [_flat(pc.cast(part, pa.string())) for part in
             (turns.column("formulation_id"), apart, turns.column("response"))]  # fmt: skip
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
    numbers = (pa.array(values[first]) for values in (wording, user, at, pattern))
    columns = [
        turns.column("locale").take(first),
        *numbers,
        intent.take(pa.array(first)),
        turns.column("heard").take(first),
    ]
    return wording, pa.table(columns, schema=MET)


@dataclass
class FirstMeetings:
    """Of a stream of meetings in order of user and time, each user's first with each wording.

    Memory: 8 bytes for each wording that one user met.
    """

    _user: int | None = None
    _met: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def of(self, meetings: pa.Table) -> pa.Table:
        """The rows of `met` whose user did not meet that wording in the tables before."""
        if not len(meetings):
            return meetings
        user, wording = meetings.column("user").to_numpy(), meetings.column("wording").to_numpy()
        again = (
            (user == self._user) & np.isin(wording, self._met) if self._user is not None else np.zeros(len(user), bool)
        )
        last = int(user[-1])
        own = wording[user == last]
        self._met = np.union1d(self._met, own) if last == self._user else own
        self._user = last
        return meetings.filter(pa.array(~again)) if again.any() else meetings


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
    return _seen_rows(meetings.select(list(_NAMED)).take(pa.array(order[start])), wording[start], best, counts)


def together(rows: pa.Table) -> pa.Table:
    """Rows of `SEEN` of different users, one row a wording, ordered by wording. O(n log n) time, 200 bytes a row."""
    order = np.argsort(rows.column("wording").to_numpy(), kind="stable")
    wording = rows.column("wording").to_numpy()[order]
    start = np.flatnonzero(np.diff(wording, prepend=~wording[:1]))
    counts, answer = counts_of(rows)[order], rows.column("answer").to_numpy()[order]
    if len(start):
        counts, answer = np.add.reduceat(counts, start), np.maximum.reduceat(answer, start)
    return _seen_rows(rows.select(list(_NAMED)).take(pa.array(order[start])), wording[start], answer, counts)


def alike(rows: pa.Table, count: Ints | None = None) -> pa.Table:
    """Kinds of wordings: rows of `SEEN` without their wording, each once, in order; `count` says of how many.

    `count` tells of rows that are kinds already how many wordings they stand for.
    """
    columns = {name: rows.column(name) for name in ("locale", "answer", "intent", "heard")}
    columns |= {f"seen_{i}": pa.array(one) for i, one in enumerate(counts_of(rows).T)}
    names = list(columns)
    columns["count"] = pa.array(np.ones(len(rows), dtype=np.int64) if count is None else count)
    kinds = pa.table(columns).group_by(names, use_threads=False).aggregate([("count", "sum")])
    kinds = kinds.sort_by([(name, "ascending") for name in names])
    counts = np.stack([kinds.column(f"seen_{i}").to_numpy() for i in range(BEHAVIOUR)], axis=1)
    made = _seen_rows(kinds.select(list(_NAMED)), np.zeros(len(kinds), np.int64), kinds.column("answer"), counts)
    return made.drop_columns("wording").append_column("count", kinds.column("count_sum"))


def _seen_rows(named: pa.Table, wording: Ints, answer: Ints | pa.ChunkedArray, counts: Ints) -> pa.Table:
    """Rows of `SEEN` from their columns; `named` has those of `_NAMED`."""
    offsets = pa.array(np.arange(len(counts) + 1) * BEHAVIOUR, pa.int32())
    lists = pa.ListArray.from_arrays(offsets, pa.array(counts.ravel(), pa.int64())).cast(SEEN.field("seen").type)
    locale, *others = (named.column(name) for name in _NAMED)
    return pa.table([locale, pa.array(wording), answer, *others, lists], schema=SEEN)


def counts_of(rows: pa.Table) -> NDArray[np.int64]:
    """The column `seen` as a matrix, wordings x behaviours."""
    return np.asarray(pc.list_flatten(_flat(rows.column("seen"))).to_numpy(), dtype=np.int64).reshape(-1, BEHAVIOUR)


def users(rows: pa.Table) -> Ints:
    """How many users met each wording of `SEEN`."""
    return np.asarray(counts_of(rows)[:, : len(FEEDBACK)].sum(axis=1))
