"""Labels scored against the truth: what corrects the models that served, on a small planted lake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from benchmarks.scoring import score_mining, taken_for
from schemas.lake import Lake, Manifest
from schemas.tables import BY_NAME


def publish(lake: Lake, table: str, rows: list[dict[str, Any]]) -> None:
    some = pa.schema([field.with_nullable(True) for field in BY_NAME[table].arrow])  # what is not scored stays open
    write_deltalake(lake.table(table), pa.Table.from_pylist(rows, schema=some), mode="overwrite")
    version = DeltaTable(lake.table(table)).version()
    lake.publish(Manifest(table, "planted", {}, {table: version}))


def turn(
    name: str, formulation: str, said: str | None, behind: str | None = None, locale: str = "sw-KE"
) -> dict[str, Any]:
    return {
        "interaction_id": name,
        "formulation_id": formulation,
        "locale": locale,
        "interpretation": said and {"intent": said, "slots": []},
        "alternatives": [{"intent": behind, "slots": [], "confidence": 0.2}] if behind else [],
    }


def test_a_label_corrects_where_the_models_mostly_held_something_else_for_likeliest(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake").open(create=True)
    turns = [
        turn("1", "knew", "alarm"),
        turn("2", "knew", "alarm", "music"),
        turn("3", "knew", "music"),
        turn("4", "rejected", None, "alarm"),  # not acted on, and right all the same
        turn("5", "wrong", "music", "alarm"),
        turn("6", "unheard", None),
        turn("7", "elsewhere", "music", locale="ja-JP"),
    ]
    publish(lake, "turns", turns)
    assert taken_for(lake, "sw-KE") == {"knew": "alarm", "rejected": "alarm", "wrong": "music"}
    of_labels = {"knew": "alarm", "rejected": "alarm", "wrong": "alarm", "unheard": "alarm", "elsewhere": "alarm"}
    labels = [
        {
            "formulation_id": f,
            "locale": "ja-JP" if f == "elsewhere" else "sw-KE",
            "status": "accepted",
            "intent": intent,
        }
        for f, intent in of_labels.items()
    ]
    labels.append({"formulation_id": "5", "locale": "sw-KE", "status": "contested", "intent": "alarm"})
    publish(lake, "pseudo_labels", labels)
    publish(lake, "rephrase_pairs", [])
    meant = {"gold_intent": "alarm", "gold_slots": [], "task_id": "t", "goal_id": "g", "act": "new", "satisfied": True}
    score = score_mining(lake, {t["interaction_id"]: meant | {"clean_utterance": ""} for t in turns}, "sw-KE")
    assert (score.labels, score.label_precision, score.label_corrections, score.label_coverage) == (4, 1.0, 2, 1.0)
