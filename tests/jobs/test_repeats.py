"""Ids that come again, told by Spark tasks and looked up in the files that they leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql.pandas.types import from_arrow_schema

from jobs.cells import CELLS, cut
from jobs.repeats import CONFLICT, FIRST, SAME, Places, Told, known_as, marked, told
from mining.repeats import IDS


def test_every_record_is_found_by_its_number(spark: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(17)
    names = [f"id{n}" for n in rng.integers(0, 400, 1_000)]
    says = [f"{n:032x}" for n in rng.integers(0, 2, 1_000)]
    known = {f"id{n}": f"{n % 2:032x}" for n in range(50)}
    expected, first = [], dict(known)
    for name, said in zip(names, says, strict=True):
        expected.append(FIRST if name not in first else SAME if first[name] == said else CONFLICT)
        first.setdefault(name, said)
    rows = pa.table([names, says, np.arange(1_000)], schema=IDS)

    def cells(batches: Any) -> Any:
        for batch in batches:
            for start in batch.column("id").to_pylist():
                yield cut(rows.slice(start * 250, 250), "interaction_id", 3)

    frame = spark.range(0, 4, 1, 2).mapInArrow(cells, from_arrow_schema(CELLS))
    of_batch = known_as(marked(frame, tmp_path / "again" / "marks"))
    others = {f"other{n}": f"{n:032x}" for n in range(10_000)} | known
    table = pa.table([list(others), list(others.values())], names=["interaction_id", "record_hash"])
    left = of_batch(table)
    assert set(left.column("interaction_id").to_pylist()) >= set(known) & set(names)
    assert len(left) < len(known) + 10  # of ten thousand others, next to none
    published = spark.range(1).mapInArrow(lambda _: iter([cut(left, "interaction_id", 3)]), from_arrow_schema(CELLS))
    found = told(frame, published, tmp_path / "again", 3)
    assert len(list((tmp_path / "again").glob("*.arrow"))) == 3
    assert (found.first, found.same, found.conflicts) == tuple(map(expected.count, (FIRST, SAME, CONFLICT)))
    asked = rng.permutation(1_000)
    assert Places(tmp_path / "again").of(asked).tolist() == [expected[number] for number in asked]
    assert Places(tmp_path / "again").of(asked[:0]).tolist() == []
    assert Places(tmp_path / "nothing").of(asked).tolist() == [FIRST] * 1_000
    nobody = told(frame.where("part < 0"), None, tmp_path / "nothing", 3)
    assert nobody == Told(0, 0, 0, 0)
