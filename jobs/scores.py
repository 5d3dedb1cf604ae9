"""What a model says of each wording, in files that tasks map: a join by a hash without a shuffle or a broadcast."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.cells import parts_of

Ints = NDArray[np.int64]
SCORED = pa.schema(
    [
        ("wording", pa.int64()),
        ("friction", pa.float64()),
        ("bits", pa.float64()),
        ("intent_bits", pa.float64()),
        ("met_by", pa.int64()),
    ]
)


def _path(folder: Path, part: int) -> Path:
    return folder / f"{part}.arrow"


def put(scores: pa.Table, folder: Path, parts: int) -> None:
    """Write rows of `SCORED`, all of their part, to its file. A task that is tried again writes the same."""
    part = int(parts_of(scores.column("wording").slice(0, 1), parts)[0])
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{part}.{os.getpid()}"
    with pa.ipc.new_file(str(temporary), scores.schema) as writer:
        writer.write_table(scores.take(pc.sort_indices(scores.column("wording"))).combine_chunks())
    temporary.replace(_path(folder, part))


@dataclass
class Scores:
    """The files of a folder, by part of the wordings. 40 bytes a wording, mapped: all workers share the pages."""

    folder: Path
    parts: int
    _open: dict[int, dict[str, NDArray[np.float64]]] = field(default_factory=dict)

    def _columns(self, part: int) -> dict[str, NDArray[np.float64]]:
        if part not in self._open:
            with pa.memory_map(str(_path(self.folder, part))) as mapped, pa.ipc.open_file(mapped) as reader:
                table = reader.read_all()
            self._open[part] = {name: table.column(name).to_numpy() for name in SCORED.names}
        return self._open[part]

    def of(self, wording: Ints) -> dict[str, NDArray[np.float64]]:
        """The columns of `SCORED`, of each of these wordings. O(rows log wordings).

        Raises:
            KeyError: one has no score.
        """
        part = parts_of(pa.chunked_array([pa.array(wording)]), self.parts)
        order = np.lexsort((wording, part))
        there, starts = np.unique(part[order], return_index=True)
        found = {f.name: np.empty(len(wording), dtype=f.type.to_pandas_dtype()) for f in SCORED}
        for one, rows in zip(there.tolist(), np.split(order, starts[1:]), strict=True):
            columns = self._columns(one)
            place = np.searchsorted(columns["wording"], wording[rows])
            if (columns["wording"][np.minimum(place, len(columns["wording"]) - 1)] != wording[rows]).any():
                raise KeyError("a wording without a score")
            for name, values in columns.items():
                found[name][rows] = values[place]
        return found
