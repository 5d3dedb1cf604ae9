"""The baselines label what their papers say, and the error budget corrects what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.baselines import Log, accepted_only, majority, marupa, publish_labels
from benchmarks.budget import Meant, substituted
from jobs.pipeline import STEPS
from retrain.data import Example
from schemas.lake import Lake
from schemas.normalise import formulation_id, normalise
from schemas.predictor import Slot
from schemas.settings import Settings

TIME = {"name": "time", "value": "saa moja", "start": 13, "end": 21}


def turn(user: int, intent: str, friction: float, formulation: str = "f") -> dict[str, Any]:
    return {
        "formulation_id": formulation,
        "user_id": f"u{user}",
        "utterance": "weka kengele saa moja",
        "text": "weka kengele saa moja",
        "interpretation": {"intent": intent, "slots": [TIME]},
        "response": "completed",
        "friction": friction,
    }


def pair(user: int, intent: str, formulation: str = "f") -> dict[str, Any]:
    slots = [{"name": "time", "value": "saa moja", "start": 0, "end": 8}]
    return {
        "source_formulation": formulation,
        "user_id": f"u{user}",
        "target_interpretation": {"intent": intent, "slots": slots},
    }


def test_accepted_turns_are_those_that_nobody_complained_of() -> None:
    log = Log("sw-KE", [turn(u, "alarm_set", 0.1 if u < 6 else 0.9) for u in range(12)], [])
    assert accepted_only(log, Settings()) == {"f": ("alarm_set", (("time", "saa moja"),))}
    few = Log("sw-KE", [turn(u, "alarm_set", 0.1 if u < 4 else 0.9) for u in range(12)], [])
    assert accepted_only(few, Settings()) == {}


def test_the_majority_counts_users_once_and_both_sources() -> None:
    loud = [turn(0, "music_play", 0.1) for _ in range(50)]
    log = Log("sw-KE", loud + [turn(u, "alarm_set", 0.1) for u in (1, 2, 3)], [pair(u, "alarm_set") for u in (4, 5, 6)])
    assert majority(log, Settings())["f"][0] == "alarm_set"
    assert accepted_only(log, Settings()) == {}  # three users are below the floor


def test_marupa_wants_ten_sightings_and_four_fifths() -> None:
    agreed = [pair(u, "alarm_set") for u in range(8)]
    assert marupa(Log("sw-KE", [], agreed), Settings()) == {}
    assert marupa(Log("sw-KE", [], agreed + [pair(u, "qa") for u in (8, 9)]), Settings())["f"][0] == "alarm_set"
    assert marupa(Log("sw-KE", [], agreed + [pair(u, "qa") for u in (8, 9, 10)]), Settings()) == {}


def test_the_budget_puts_the_truth_in_stage_by_stage() -> None:
    def row(text: str, intent: str, slots: tuple[Slot, ...] | None, source: str = "pseudo_label") -> Example:
        tags = (("O",), ("O", "B-time"), ("I-time",)) if source == "pseudo_label" else ()
        return Example(text, "sw-KE", intent, slots, 0.7, "train", source, tags=tags)

    span = (Slot("time", "saa moja", 8, 16),)

    def meant(text: str, intent: str, users: int) -> tuple[str, Meant]:
        return formulation_id("sw-KE", normalise(text)), Meant(text, intent, span, users)

    users = {"niamshe saa moja": 9, "kengele saa moja": 9, "amsha saa moja": 6, "amka saa moja": 2}
    truth = dict(meant(text, "alarm_set", n) for text, n in users.items())
    rows = [
        row("niamshe saa moja", "alarm_set", ()),
        row("kengele saa moja", "music_play", ()),
        row("gold saa moja", "music_play", (), "gold"),
    ]
    assert substituted(rows, truth, 0, 5) == rows
    intents = substituted(rows, truth, 1, 5)
    assert [(e.intent, e.slots) for e in intents] == [("alarm_set", ()), ("alarm_set", None), ("music_play", ())]
    assert [bool(e.tags) for e in intents] == [True, False, False]
    spans = substituted(rows, truth, 2, 5)
    assert [e.slots for e in spans] == [span, span, ()]
    assert {e.utterance for e in substituted(rows, truth, 3, 5)[3:]} == {"amsha saa moja"}
    assert {e.utterance for e in substituted(rows, truth, 4, 5)[3:]} == {"amsha saa moja", "amka saa moja"}
    divided = row("amsha saa moja", "music_play", None, "contested")
    for line, source in ((2, "contested"), (3, "pseudo_label")):
        there = [e for e in substituted([*rows, divided], truth, line, 5) if e.utterance == divided.utterance]
        assert [e.source for e in there] == [source]


def test_labels_that_stand_in_for_the_steps_have_all_that_the_next_step_reads_of_it(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake").open(create=True)
    publish_labels(lake, [])
    written = {table.name for table in STEPS["pseudo_labels"].writes}
    assert {name: list(lake.rows(name, ["locale"])) for name in written} == {name: [] for name in written}
    assert written & set(STEPS["training_sets"].reads) == {"pseudo_labels", "translations"}
