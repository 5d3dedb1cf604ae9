"""Embeddings do not depend on where they are made."""

from __future__ import annotations

import pytest
from mined_lake import Mined
from planted_log import read

import jobs.utterances
from jobs.lake import run_step
from schemas.lake import Lake


def test_workers_embed_as_the_driver_does(mined: Mined, copy: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    of_driver = read(copy, "utterances")
    (copy.path / "_manifests" / "utterances.json").unlink()  # nothing is known: all are embedded again
    monkeypatch.setattr(jobs.utterances, "_ON_DRIVER", len(of_driver) - 1)
    result = run_step(jobs.utterances.STEP, copy, mined.settings)
    assert result.counts == mined.results["utterances"].counts
    assert result.counts["newly_embedded"] == len(of_driver)
    of_workers = read(copy, "utterances")
    by_id = [{row["formulation_id"]: row for row in rows} for rows in (of_driver, of_workers)]
    assert by_id[0] == by_id[1]  # to the last bit
