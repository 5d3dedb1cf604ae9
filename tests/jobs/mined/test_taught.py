"""A model that was trained on a wording's label confirms nothing when it repeats it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from mined_lake import Mined
from planted_log import GOALS, LOCALE, read

from jobs.lineage import lineage_of
from jobs.pipeline import mine
from jobs.taught import mark, teachers
from schemas.lake import Lake, Manifest
from schemas.training_tables import MODEL_RUNS, SECOND_GUESSES


def train(lake: Lake, model_version: str, snapshot_id: str) -> None:
    row = {"model_version": model_version, "locale": LOCALE, "snapshot_id": snapshot_id, "seconds": 1.0, "examples": 1}
    row |= {"trained_at": datetime(2026, 1, 1, tzinfo=UTC), "run_id": "r"}
    write_deltalake(lake.table("model_runs"), pa.Table.from_pylist([row], schema=MODEL_RUNS.arrow), mode="append")


def test_marks_are_of_the_model_that_answered(spark: Any) -> None:
    answered = [("f", "m/1"), ("f", "m/2"), ("g", "m/2"), ("h", None)]
    turns = spark.createDataFrame(answered, "formulation_id string, model_version string")
    shape = "model_version string, formulation_id string, slots_too boolean"
    lessons = spark.createDataFrame([("m/2", "f", True), ("m/2", "g", False)], shape)
    found = {(r.formulation_id, r.model_version): (r.told_intent, r.told_slots) for r in mark(turns, lessons).collect()}
    wanted = [(False, False), (True, True), (True, False), (False, False)]
    assert found == dict(zip(answered, wanted, strict=True))
    assert {(r.told_intent, r.told_slots) for r in mark(turns, None).collect()} == {(False, False)}


def test_only_models_that_served_somebody_count(mined: Mined, copy: Lake) -> None:
    assert teachers(copy, mined.settings) == {}
    train(copy, "waiting/1", "s1")
    assert teachers(copy, mined.settings) == {}
    assert {r.status for r in mine(copy, mined.settings, only="pseudo_labels")} == {"unchanged"}
    train(copy, "launch", "s2")
    assert teachers(copy, mined.settings) == {"launch": "s2"}


def test_a_second_guess_is_evidence_and_is_counted(mined: Mined, copy: Lake) -> None:
    """Of a tenth of the wordings, as if a later champion were sure that they mean something else."""
    intents = sorted({goal[0] for goal in GOALS})
    meaning = {name: intent for name, (intent, _) in mined.log.meaning.items()}

    def probability_of_what_was_meant() -> dict[str, float]:
        rows = {
            r["formulation_id"]: r["intents"] for r in read(copy, "pseudo_labels") if r["formulation_id"] in meaning
        }
        return {f: sum(i["probability"] for i in named if i["intent"] == meaning[f]) for f, named in rows.items()}

    before = probability_of_what_was_meant()
    rows = [
        {"formulation_id": name, "locale": LOCALE, "model_version": "later", "run_id": "r",
         "guesses": [{"intent": intents[intents.index(meaning[name]) - 1], "probability": 0.99}]}
        for name in sorted(before)[::10]
    ]  # fmt: skip
    write_deltalake(copy.table("second_guesses"), pa.Table.from_pylist(rows, schema=SECOND_GUESSES.arrow))
    assert {r.status for r in mine(copy, mined.settings, only="pseudo_labels")} == {"unchanged"}  # not published yet
    copy.publish(Manifest("second_guesses", "g1", {}, {"second_guesses": 0}))
    again = next(iter(mine(copy, mined.settings, only="pseudo_labels")))
    assert again.counts["second_guesses"] == len(rows)
    after = probability_of_what_was_meant()
    assert after.keys() == before.keys()
    told = [row["formulation_id"] for row in rows]
    assert len(told) >= 5
    assert lineage_of(copy, None, told[0])["second_guess"] == {k: rows[0][k] for k in ("model_version", "guesses")}
    assert lineage_of(copy, None, next(name for name in before if name not in told))["second_guess"] is None
    assert sum(before[name] - after[name] for name in told) > 0.002


def test_what_a_model_was_taught_is_no_evidence_when_it_says_it_again(mined: Mined, copy: Lake) -> None:
    """As if the model that answered the whole log had been trained on the labels that were made of it."""
    snapshot = read(copy, "training_sets")
    learnt = {row["utterance"]: row for row in snapshot if row["source"] == "pseudo_label"}
    train(copy, "launch", snapshot[0]["snapshot_id"])
    before = {row["formulation_id"]: row for row in read(copy, "pseudo_labels")}
    again = next(iter(mine(copy, mined.settings, only="pseudo_labels")))
    after = {row["formulation_id"]: row for row in read(copy, "pseudo_labels")}
    told = {name for name, row in before.items() if row["utterance"] in learnt}
    turns = [t for t in read(copy, "turns") if t["text"]]
    assert len(told) > 10
    assert again.counts["answers_as_taught"] == sum(t["formulation_id"] in told for t in turns)
    assert after.keys() == before.keys()
    # What users did and said instead still speaks for these labels; nothing else does any more.
    kept = [name for name in told if after[name]["intent"] == before[name]["intent"]]
    assert len(kept) / len(told) > 0.9
    assert any(after[name]["posterior"] != pytest.approx(before[name]["posterior"], abs=1e-4) for name in told)
