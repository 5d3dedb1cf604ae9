"""Which records of a batch come again: told by tasks that see all records of an id, kept in files that tasks map."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from jobs.cells import hashed, tables_of
from mining.repeats import IDS, PUBLISHED, repeats

Ints = NDArray[np.int64]
FIRST, SAME, CONFLICT = 0, 1, 2  # what a record is among those of its id
_MARKS = 1 << 27  # bits
_AGAIN = pa.schema([("number", pa.int64()), ("same", pa.bool_())])
_TOLD = pa.schema([(name, pa.int64()) for name in ("first", "same", "conflicts", "content")])


@dataclass(frozen=True)
class Told:
    """How many records are the first of their id, repeat one, or contradict one; `content` as in `mining.repeats`."""

    first: int
    same: int
    conflicts: int
    content: int


@dataclass
class Places:
    """What each record is among those of its id, by its number. 9 bytes a repeat, mapped: workers share the pages."""

    folder: Path
    _open: list[tuple[Ints, NDArray[np.bool_]]] | None = field(default=None)

    def _files(self) -> list[tuple[Ints, NDArray[np.bool_]]]:
        if self._open is None:
            self._open = []
            for path in sorted(self.folder.glob("*.arrow")):
                with pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as reader:
                    table = reader.read_all()
                same = table.column("same").to_numpy(zero_copy_only=False)
                self._open.append((table.column("number").to_numpy(), same))
        return self._open

    def of(self, numbers: Ints) -> NDArray[np.int8]:
        """FIRST, SAME or CONFLICT of each record. O(files log repeats + records log records)."""
        found = np.full(len(numbers), FIRST, dtype=np.int8)
        if not len(numbers):
            return found
        order = np.argsort(numbers, kind="stable")
        ascending = numbers[order]
        for again, same in self._files():
            low, high = np.searchsorted(again, ascending[0]), np.searchsorted(again, ascending[-1], side="right")
            place = np.searchsorted(ascending, again[low:high])
            there = ascending[place] == again[low:high]
            found[order[place[there]]] = np.where(same[low:high][there], SAME, CONFLICT)
        return found


def _put(numbers: Ints, same: NDArray[np.bool_], folder: Path, part: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{part}.{os.getpid()}"
    with pa.ipc.new_file(str(temporary), _AGAIN) as writer:
        writer.write_table(pa.table([numbers, same], schema=_AGAIN))
    temporary.replace(folder / f"{part}.arrow")


def _marks(ids: pa.ChunkedArray) -> Ints:
    """The place of each id in a map of `_MARKS` bits."""
    return hashed(ids.combine_chunks()) & (_MARKS - 1)


def marked(ids: DataFrame, folder: Path) -> Path:
    """Mark the ids of a batch in a map of bits, in a file of 16 MB: what is not marked is none of them.

    Args:
        ids: cells of `IDS`.
        folder: for the files of tasks, four bytes an id; the map is left in it.

    The driver holds 128 MB meanwhile, and one task's ids. Of other ids one in ten thousand is marked as well after a
    batch of ten thousand, one in fourteen after ten million (Bloom 1970, one hash).
    """

    def mark(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        places = [_marks(table.column("interaction_id")) for table in tables_of(batches)]
        if places:
            folder.mkdir(parents=True, exist_ok=True)
            made = np.unique(np.concatenate(places)).astype(np.int32)
            path = folder / f"{uuid.uuid4()}.npy"  # of a task that is tried again, another one with the same
            np.save(path, made)
            yield pa.RecordBatch.from_arrays([pa.array([str(path)])], names=["path"])

    rows = ids.mapInArrow(mark, from_arrow_schema(pa.schema([("path", pa.string())])))
    bits = np.zeros(_MARKS, dtype=bool)
    for path in rows.toArrow().column("path").to_pylist():
        bits[np.load(path)] = True
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "marks.npy", np.packbits(bits))
    return folder / "marks.npy"


def known_as(marks: Path) -> Callable[[pa.Table], pa.Table]:
    """What a task makes of published ids and hashes: rows of `IDS`, of those that are marked."""
    opened: list[NDArray[np.uint8]] = []

    def known(published: pa.Table) -> pa.Table:
        if not opened:
            opened.append(np.load(marks, mmap_mode="r"))
        place = _marks(published.column("interaction_id"))
        bit = opened[0][place >> 3] >> (7 - (place & 7)).astype(np.uint8) & 1
        some = published.filter(pa.array(bit.astype(bool)))
        numbers = pa.repeat(pa.scalar(PUBLISHED, pa.int64()), len(some))
        return some.append_column("number", numbers).cast(IDS)

    return known


def told(ids: DataFrame, known: DataFrame | None, folder: Path, parts: int) -> Told:
    """Tell the records that come again, into the files of a folder.

    Args:
        ids: cells of `IDS` (`jobs.cells`), parted by id.
        known: such cells of what is published under these ids, it may be with others; None if nothing is published.
        folder: empty or missing; `Places` reads it.
        parts: into how many both are parted.

    A task's memory is some 100 bytes for each record of its part; all records of one id are in one part.
    """
    if known is not None:
        ids = ids.unionByName(known)

    def tell(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        # A task has the cells of one part; its number names the file, so a task tried again writes the same one.
        part, held = -1, list[pa.Table]()
        for batch in batches:
            part = batch.column("part")[0].as_py() if len(batch) else part
            held += tables_of([batch])
        if held:
            found = repeats(pa.concat_tables(held))
            if len(found.numbers):
                _put(found.numbers, found.same, folder, part)
            same = int(found.same.sum())
            row = (found.first, same, len(found.same) - same, found.content)
            yield pa.RecordBatch.from_arrays([pa.array([one]) for one in row], schema=_TOLD)

    rows = ids.repartitionById(parts, "part").mapInArrow(tell, from_arrow_schema(_TOLD))
    sums = [F.coalesce(F.sum(name), F.lit(0)) for name in ("first", "same", "conflicts")]
    [row] = rows.agg(*sums, F.coalesce(F.bit_xor("content"), F.lit(0))).collect()
    return Told(*row)
