"""Levels of evidence, of hand-made turns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from mining.friction import CONTINUED, FEEDBACK, RESPONSE, evidence_levels
from schemas.columns import INTERPRETATION

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def table(turns: list[tuple[str, float, str, str, list[str], float | None]]) -> pa.Table:
    """(session, second, text, response, feedback, confidence) of each turn."""
    session, second, text, response, feedback, confidence = (list(c) for c in zip(*turns, strict=True))
    return pa.table(
        {
            "session_id": session,
            "occurred_at": pa.array([NOON + timedelta(seconds=s) for s in second], pa.timestamp("us", tz="UTC")),
            "text": text,
            "utterance": text,
            "requested_slot": pa.nulls(len(text), pa.string()),
            "interpretation": pa.nulls(len(text), INTERPRETATION),
            "response": response,
            "feedback": pa.array(feedback, pa.list_(pa.string())),
            "confidence": pa.array(confidence, pa.float64()),
        }
    )


def test_levels_of_hand_made_turns() -> None:
    log = table(
        [
            ("a", 0, "play jazz music", "no_match", [], None),  # same words 5 s later
            ("a", 5, "play jazz music", "failed", ["barge_in"], 0.2),  # one word changed
            ("a", 10, "play jazz musik", "completed", ["thumbs_up"], 0.6),  # something else soon
            ("a", 30, "what is the time", "clarification", ["thumbs_up", "stop"], 0.9),  # the same, but late
            ("a", 61, "what is the time", "cancelled", ["repeat_request"], 0.8),  # end
            ("b", 62, "what is the time", "completed", [], 0.5),  # another session: nothing follows
        ]
    )
    levels = evidence_levels(log)
    names = [(RESPONSE[a], FEEDBACK[c], CONTINUED[d]) for a, _, c, d in levels.tolist()]
    assert names == [
        ("no_match", "none", "same_soon"),
        ("failed", "negative", "similar_soon"),
        ("completed", "positive", "other_soon"),
        ("clarification", "negative", "later"),
        ("cancelled", "negative", "ended"),
        ("completed", "none", "ended"),
    ]
    sure = levels[:, 1]
    assert sure[0] == 0
    assert sure[1] < sure[2] < sure[3] == sure[4]


def test_one_turn() -> None:
    assert evidence_levels(table([("a", 0, "hello", "completed", [], 0.9)])).shape == (1, 4)
