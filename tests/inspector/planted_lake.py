"""A tiny lake with planted rows, written as the steps write theirs: Delta tables, then manifests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from schemas.lake import Lake, Manifest
from schemas.normalise import formulation_id, normalise
from schemas.tables import BY_NAME

MORNING = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
ALARM = {"intent": "alarm_set", "slots": [{"name": "time", "value": "saa moja", "start": 8, "end": 16}]}
EVIDENCE = [
    {"name": "prior", "level": "0.250", "weight": -1.585},
    {"name": "wording", "level": "shares", "weight": 2.5},
    {"name": "position", "level": "quick_next", "weight": 1.75},
    {"name": "interpretation", "level": "same", "weight": 2.0},
]
FRICTION = [
    {"name": "prior", "level": "0.300", "weight": -1.222},
    {"name": "response", "level": "no_match", "weight": 6.2},
]


def _filled(table: str, **given: Any) -> dict[str, Any]:
    """A row with a plain value in every column that is not given."""
    row: dict[str, Any] = {"run_id": "r1"}
    for column in BY_NAME[table].columns:
        if column.nullable:
            row.setdefault(column.name, None)
        elif pa.types.is_string(column.type):
            row.setdefault(column.name, "")
        elif pa.types.is_list(column.type):
            row.setdefault(column.name, [])
        elif pa.types.is_boolean(column.type):
            row.setdefault(column.name, False)
        elif pa.types.is_timestamp(column.type):
            row.setdefault(column.name, MORNING)
        else:
            row.setdefault(column.name, 1)
    unknown = given.keys() - {column.name for column in BY_NAME[table].columns}
    assert not unknown, unknown
    return {name: value for name, value in (row | given).items() if name in BY_NAME[table].names}


def write(lake: Lake, table: str, rows: list[dict[str, Any]], mode: str = "overwrite") -> int:
    """Write rows to a table and return its version, published or not."""
    filled = [_filled(table, **row) for row in rows]
    data = pa.Table.from_pylist(filled, schema=BY_NAME[table].arrow)
    write_deltalake(lake.table(table), data, mode=mode)  # type: ignore[call-overload]
    return DeltaTable(lake.table(table)).version()


def turn(name: str, position: int, said: str, locale: str, response: str, friction: float) -> dict[str, Any]:
    """A turn of the session named after the first letters of its id."""
    return {
        "interaction_id": name,
        "session_id": name.split("-")[0],
        "position": position,
        "user_id": "u" + name.split("-")[0],
        "formulation_id": formulation_id(locale, normalise(said)),
        "text": normalise(said),
        "locale": locale,
        "occurred_at": MORNING + timedelta(seconds=8 * position),
        "utterance": said,
        "interpretation": ALARM if response == "completed" else None,
        "confidence": 0.9 if response == "completed" else None,
        "response": response,
        "friction": friction,
        "evidence": FRICTION if friction > 0.5 else [],
    }


def pair(name: str, source: dict[str, Any], target: dict[str, Any], posterior: float) -> dict[str, Any]:
    """A pair of two turns of one session."""
    return {
        "pair_id": name,
        "source": source["interaction_id"],
        "target": target["interaction_id"],
        "kind": "repeat" if source["text"] == target["text"] else "rephrase",
        "session_id": source["session_id"],
        "locale": source["locale"],
        "source_formulation": source["formulation_id"],
        "target_formulation": target["formulation_id"],
        "source_utterance": source["utterance"],
        "target_utterance": target["utterance"],
        "gap_seconds": 8.0,
        "features": EVIDENCE,
        "match_weight": 4.665,
        "posterior": posterior,
        "none_posterior": 1 - posterior,
        "source_friction": source["friction"],
        "target_acceptance": 1 - target["friction"],
        "edit": "same_words" if source["text"] == target["text"] else "words_exchanged",
        "new_request": 0.01,
    }


SWAHILI = [
    turn("s1-a", 0, "weka kengele saa moja", "sw-KE", "no_match", 0.97),
    turn("s1-b", 1, "niamshe saa moja", "sw-KE", "completed", 0.05),
    turn("s1-c", 2, "asante", "sw-KE", "completed", 0.02),
]
GERMAN = [
    turn("g1-a", 0, "Stell den <b>Wecker</b>", "de-DE", "failed", 0.9),
    turn("g1-b", 1, "Stell den <b>Wecker</b>", "de-DE", "completed", 0.2),
]
PAIRS = [pair("p-swahili", SWAHILI[0], SWAHILI[1], 0.962), pair("p-german", GERMAN[0], GERMAN[1], 0.71)]


def plant(path: Path) -> Lake:
    """Make the lake: two pairs, two labels, rejected records, step runs, a model and a gate report."""
    lake = Lake(path).open(create=True)
    rejected = [
        {
            "quarantine_id": "q1",
            "file": "a.jsonl",
            "line": 3,
            "raw": "{}",
            "reasons": ["locale: missing", "utterance: missing"],
        },
        {"quarantine_id": "q2", "file": "a.jsonl", "line": 9, "raw": "[", "reasons": ["locale: missing"]},
    ]
    lake.publish(Manifest("ingest", "r1", {}, {"quarantine": write(lake, "quarantine", rejected)}))
    lake.publish(Manifest("turns", "r1", {}, {"turns": write(lake, "turns", SWAHILI + GERMAN)}))
    pairs = write(lake, "rephrase_pairs", PAIRS)
    lake.publish(Manifest("rephrase_pairs", "r1", {"turns": 0}, {"rephrase_pairs": pairs}))
    labels = [
        {
            "formulation_id": SWAHILI[0]["formulation_id"],
            "locale": "sw-KE",
            "utterance": "weka kengele saa moja",
            "status": "accepted",
            "why": "7 users agree",
            "intent": "alarm_set",
            "posterior": 0.93,
            "tags": [["O"], ["O"], ["B-time", "I-time"], []],
            "intents": [
                {"intent": "alarm_set", "probability": 0.93},
                {"intent": "alarm_query", "probability": 0.07},
            ],
            "users": 7,
            "events": 12,
            "sources": [
                {"source": "rephrase", "intent": "alarm_set", "users": 7, "weight": 5.5},
                {"source": "wish", "intent": "alarm_set", "users": 31, "weight": 0.88},
            ],
            "pair_ids": ["p-swahili"],
            "wish_id": "f1",
        },
        {
            "formulation_id": "f2",
            "locale": "de-DE",
            "utterance": "mach es hell",
            "status": "too_few_users",
            "why": "1 of 5",
        },
    ]
    said = [("alarm", "kengele", 0.81), ("alarm", "niamshe", 0.34), ("one", "moja", 0.9)]
    words = [{"locale": "sw-KE", "word": one, "translation": other, "agreement": agreed} for one, other, agreed in said]
    tables = {"pseudo_labels": write(lake, "pseudo_labels", labels), "translations": write(lake, "translations", words)}
    lake.publish(Manifest("pseudo_labels", "r1", {}, tables))
    old = {"run_id": "r0", "step": "ingest", "status": "done", "counts": [{"name": "read", "value": 1}]}
    counted = {"read": 1200, "kept": 1000, "duplicates": 198, "quarantined": 2}
    new = old | {
        "run_id": "r1",
        "started_at": MORNING + timedelta(days=1),
        "counts": [{"name": name, "value": value} for name, value in counted.items()],
        "outputs": ["interactions@0", "quarantine@0"],
    }
    mined = new | {
        "step": "turns",
        "started_at": MORNING + timedelta(days=2),
        "counts": [{"name": "turns", "value": 5}],
    }
    for run in (old, new, mined):
        write(lake, "job_runs", [run], mode="append")
    model = {"model_version": "sw-KE/2", "locale": "sw-KE", "examples": 500, "intent_accuracy": 0.41}
    write(lake, "model_runs", [model], mode="append")
    report = {
        "locale": "sw-KE",
        "challenger": "sw-KE/2",
        "champion": "sw-KE/1",
        "passed": True,
        "reason": "better",
    }
    write(lake, "gate_reports", [report], mode="append")
    return lake
