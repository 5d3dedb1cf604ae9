"""Ids that come again: a repeated delivery of a record, or another record under an id that is taken. Pure Arrow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]
IDS = pa.schema([("interaction_id", pa.string()), ("record_hash", pa.string()), ("number", pa.int64())])
PUBLISHED = -1  # the number of a record that the table holds: it comes before all others


@dataclass(frozen=True)
class Repeats:
    """Of some records: those whose id an earlier one has, in the order of their numbers, and a hash of the others.

    Args:
        numbers: of the records that come again.
        same: whether each says what the first of its id says.
        first: how many records are the first of their id, published ones left out.
        content: 64 bits of what those say; exclusive or, so that it is the same in any order and may be combined.
    """

    numbers: Ints
    same: Flags
    first: int
    content: int


def repeats(ids: pa.Table) -> Repeats:
    """Tell the first record of each id from those that come again.

    Args:
        ids: rows of `IDS`, all of each id. Numbers say which record came first, no two are equal but `PUBLISHED`;
            hashes are those of `mining.intake.content_hashes`.

    O(rows log rows) time, some 100 bytes a row.
    """
    number = np.asarray(ids.column("number").to_numpy(), dtype=np.int64)
    whose, says = (_codes(ids.column(name)) for name in ("interaction_id", "record_hash"))
    order = np.lexsort((number, whose))
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = whose[order[1:]] != whose[order[:-1]]
    first = order[np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))]
    again = ~begins & (number[order] != PUBLISHED)
    rows, firsts = order[again], first[again]
    fresh = order[begins & (number[order] != PUBLISHED)]
    by_number = np.argsort(number[rows])
    hashes = ids.column("record_hash").take(pa.array(fresh))
    return Repeats(
        numbers=number[rows][by_number],
        same=(says[rows] == says[firsts])[by_number],
        first=len(fresh),
        content=_combined(hashes),
    )


def _codes(values: pa.ChunkedArray) -> Ints:
    return np.asarray(values.combine_chunks().dictionary_encode().indices.to_numpy(), dtype=np.int64)


def _combined(hashes: pa.ChunkedArray) -> int:
    """The first 64 bits of hexadecimal hashes, in exclusive or; signed, as Spark's are."""
    digits = "".join(pc.utf8_slice_codeunits(hashes, 0, 16).to_pylist())
    return int(np.bitwise_xor.reduce(np.frombuffer(bytes.fromhex(digits), dtype=">i8").astype(np.int64)))
