"""Rows by hand, and what must come out of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from benchmarks.label_quality import by_level, calibration_error, tables

AT_SEVEN = [{"name": "time", "value": "Saa Moja"}]
MEANT = frozenset({("time", "saa moja")})


def label(name: str, intent: str, posterior: float, users: int = 9, **fields: Any) -> dict[str, Any]:
    empty = {"status": "accepted", "slots": None, "slot_posterior": None}
    return {"formulation_id": name, "intent": intent, "posterior": posterior, "users": users, **empty, **fields}


def turn(name: str, intent: str, slots: list[dict[str, str]], friction: float, response: str = "completed") -> Any:
    said = {"intent": intent, "slots": slots}
    return {"formulation_id": name, "interpretation": said, "friction": friction, "response": response}


def test_levels_count_and_average() -> None:
    found = by_level([(0.05, False), (0.15, True), (0.17, False), (1.0, True)], 10)
    assert [(row["from"], row["count"], row["right"]) for row in found] == [(0.0, 1, 0.0), (0.1, 2, 0.5), (0.9, 1, 1.0)]
    assert found[1]["mean"] == pytest.approx(0.16)
    assert calibration_error(found) == pytest.approx((0.05 + 2 * (0.5 - 0.16) + 0) / 4)
    assert calibration_error([]) == 0


def test_what_is_right_of_labels_spans_and_answers() -> None:
    intents = {name: Counter({"alarm": 3, "music": 1}) for name in "abcd"}
    slots = {name: Counter({MEANT: 3, frozenset[tuple[str, str]](): 1}) for name in "abcd"}
    labels = [
        label("a", "alarm", 0.95, slots=AT_SEVEN, slot_posterior=0.9),
        label("b", "alarm", 0.92, slots=[], slot_posterior=0.6),
        label("c", "music", 0.4, slots=AT_SEVEN, slot_posterior=0.9),  # a wrong intent: its spans are not asked
        label("d", "alarm", 0.4, users=2, status="too_few_users"),
        label("unknown", "alarm", 0.9),
    ]
    turns = [
        turn("a", "alarm", AT_SEVEN, 0.1),
        turn("a", "alarm", AT_SEVEN, 0.3),
        turn("b", "alarm", [], 0.95),
        turn("b", "music", AT_SEVEN, 0.95),  # another intent
        turn("c", "alarm", AT_SEVEN, 0.0, "failed"),  # not carried out
    ]
    found = tables(labels, turns, intents, slots, 5)
    assert [(row["from"], row["count"], row["right"]) for row in found["intents"]] == [(0.4, 1, 0.0), (0.9, 2, 1.0)]
    assert [(row["from"], row["count"], row["right"]) for row in found["intents_of_few"]] == [(0.4, 1, 1.0)]
    assert [(row["from"], row["right"]) for row in found["spans"]] == [(0.6, 0.0), (0.9, 1.0)]
    assert [(row["from"], row["count"], row["right"]) for row in found["answers"]] == [(0.2, 1, 1.0), (0.8, 1, 0.0)]
