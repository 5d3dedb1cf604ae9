"""Embeddings do not depend on where they are made, and stay while the log hardly grows."""

from __future__ import annotations

import pytest
from mined_lake import Mined, settings_for
from planted_log import NOON, plant, planted_log, pseudonym, read

import jobs.utterances
from jobs.encoder import encoder_of
from jobs.lake import Result, run_step
from jobs.pipeline import STEPS
from schemas.lake import Lake
from schemas.settings import Settings

STEPS_TO_VECTORS = ("turns", "rephrase_pairs", "encoder", "utterances")


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


def test_a_night_without_a_new_wording_keeps_every_vector(mined: Mined, copy: Lake) -> None:
    before = {row["formulation_id"]: row["embedding"] for row in read(copy, "utterances")}
    log = planted_log()  # without the busy user and the robots, who said a few wordings more
    plant(copy.path, log.rows, "night 1")
    results = {name: run_step(STEPS[name], copy, mined.settings) for name in STEPS_TO_VECTORS}
    assert results["utterances"].counts["newly_embedded"] == 0
    after = {row["formulation_id"]: row["embedding"] for row in read(copy, "utterances")}
    assert len(before) > len(after) > 40
    assert after == {name: before[name] for name in after}  # to the last bit


def test_an_encoder_is_kept_until_the_log_has_outgrown_it(mined: Mined, copy: Lake) -> None:
    before = encoder_of(copy)[1]
    many = len(read(copy, "utterances"))
    log = planted_log()

    def night(number: int, new: int, settings: Settings) -> dict[str, Result]:
        for n in range(new):
            log.say(pseudonym(n), NOON.replace(hour=20), f"usiku {'abcdefgh'[number]} neno {n}", None)
        plant(copy.path, log.rows, f"night {number}")
        return {name: run_step(STEPS[name], copy, settings) for name in STEPS_TO_VECTORS}

    one_more = night(1, 1, mined.settings)
    assert one_more["encoder"].counts["kept"] == 1
    assert one_more["utterances"].counts["newly_embedded"] == 1
    assert encoder_of(copy)[1] == before
    # Nights that each add little do not hold it for ever: what counts is the log that it was trained on.
    for number in (2, 3):
        grown = night(number, many // 8, mined.settings)
    assert "kept" not in grown["encoder"].counts
    assert grown["utterances"].counts["newly_embedded"] == len(read(copy, "utterances"))
    after = encoder_of(copy)[1]
    assert after != before
    # Every night, where that is asked for; and where the recipe is another one.
    assert "kept" not in night(4, 1, settings_for(mined.folder, encoder__keep_until=1))["encoder"].counts
    assert "kept" not in night(5, 1, settings_for(mined.folder, encoder__epochs=2))["encoder"].counts
