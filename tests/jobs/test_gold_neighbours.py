"""What annotated utterances say of formulations, batch by batch."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from jobs.gold_neighbours import _kernel
from mining.neighbours import fixed_point


def batch(ids: list[str], vectors: np.ndarray) -> pa.RecordBatch:
    embedding = pa.array(vectors.tolist(), pa.list_(pa.float32()))
    return pa.RecordBatch.from_arrays([pa.array(ids, pa.string()), embedding], ["formulation_id", "embedding"])


def test_every_formulation_is_told_about_once_and_an_empty_batch_is_passed_over() -> None:
    gold = np.eye(3, 8, dtype=np.float32)
    kernel = _kernel(fixed_point(gold), np.array([0, 1, 1]), ["alarm", "music"])
    none = np.zeros((0, 8), dtype=np.float32)
    told = [
        row
        for found in kernel([batch(["a", "b"], gold[:2]), batch([], none), batch(["c"], gold[2:])])
        for row in found.to_pylist()
    ]
    assert [row["formulation_id"] for row in told] == ["a", "b", "c"]
    assert [row["annotated"][0]["intent"] for row in told] == ["alarm", "music", "music"]
    assert all(row["annotated"][0]["weight"] > 0.99 for row in told)
