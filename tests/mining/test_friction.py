"""Friction on planted logs: turns that failed are followed by a quick, similar turn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from sklearn.metrics import roc_auc_score

from mining.fellegi_sunter import fit
from mining.friction import CONTINUED, FEEDBACK, RESPONSE, comparisons, evidence_levels
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


def planted(goals: int, failing: float, seed: int) -> tuple[pa.Table, np.ndarray]:
    """A log of goals tried until served, and for each turn whether it failed its user.

    A failing turn says so only sometimes; a quick similar turn follows most of them, and few that served.
    """
    rng = np.random.default_rng(seed)
    words = np.array(
        [
            "light",
            "lamp",
            "alarm",
            "music",
            "song",
            "timer",
            "weather",
            "news",
            "play",
            "stop",
            "kitchen",
            "morning",
            "rain",
            "radio",
        ]
    )
    turns, failed = [], []
    for goal in range(goals):
        session, second = f"s{goal // 4}", 200.0 * (goal % 4)
        wording = list(rng.choice(words, 4, replace=False))
        while True:
            fails = rng.random() < failing
            said = ["no_match", "failed", "completed"][rng.choice(3, p=[0.5, 0.1, 0.4])] if fails else "completed"
            sure = rng.beta(3, 4) if fails else rng.beta(5, 2)
            cut_off = rng.random() < (0.2 if fails else 0.01)
            turns.append((session, second, " ".join(wording), said, ["barge_in"] if cut_off else [], float(sure)))
            failed.append(fails)
            if not fails or rng.random() < 0.15:  # served, or given up in silence
                break
            second += float(rng.uniform(3, 15))
            wording[rng.integers(4)] = rng.choice(words)
    return table(turns), np.array(failed)


def posterior(log: pa.Table) -> np.ndarray:
    levels = evidence_levels(log)
    patterns, counts = np.unique(levels, axis=0, return_counts=True)
    return fit(comparisons(0.1), patterns, counts.astype(float), prior=0.3, iterations=50).posterior(levels)


def test_turns_that_failed_are_told_from_turns_that_served() -> None:
    for failing, seed in ((0.2, 1), (0.4, 2), (0.7, 3)):
        log, failed = planted(2_000, failing, seed)
        assert roc_auc_score(failed, posterior(log)) > 0.9, (failing, seed)


def test_failures_that_looked_completed_are_told_by_what_the_user_did_next() -> None:
    log, failed = planted(3_000, 0.4, seed=4)
    silent = np.array(log.column("response").to_pylist()) == "completed"
    assert roc_auc_score(failed[silent], posterior(log)[silent]) > 0.8


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
    names = [(RESPONSE[a], FEEDBACK[b], CONTINUED[d]) for a, b, _, d in levels.tolist()]
    assert names == [
        ("no_match", "none", "same_soon"),
        ("failed", "negative", "similar_soon"),
        ("completed", "positive", "other_soon"),
        ("clarification", "negative", "later"),
        ("cancelled", "negative", "ended"),
        ("completed", "none", "ended"),
    ]
    sure = levels[:, 2]
    assert sure[0] == 0
    assert sure[1] < sure[2] < sure[3] == sure[4]


def test_beliefs_are_distributions_whatever_the_share_of_silent_failures() -> None:
    for silent in (0.0, 0.1, 0.5, 1.0):
        for comparison in comparisons(silent):
            np.testing.assert_allclose([sum(comparison.m), sum(comparison.u)], 1, atol=1e-6)


def test_the_more_failures_are_silent_the_less_silence_says() -> None:
    def ended(silent: float) -> float:
        continued = comparisons(silent)[3]
        return continued.m[0] / continued.u[0]

    assert ended(0.05) < ended(0.3) < ended(0.6)


def test_one_turn_and_none() -> None:
    assert evidence_levels(table([("a", 0, "hello", "completed", [], 0.9)])).shape == (1, 4)
