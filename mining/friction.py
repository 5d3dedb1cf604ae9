"""Friction: the posterior probability that a turn did not serve its user, from how the assistant and user went on.

No label is needed. People behave alike from launch to launch, models do not: so what users do after a turn that
served them and after one that did not is stated below (and anchors what friction means), while the share of failed
turns and what response and confidence say of it are fitted to the log by EM (`fellegi_sunter`). Fitted freely, the
mixture of a bad launch model settles on another division (answered against unanswered), and calls silence success.
Silence is weak evidence: `silent_failure` is the believed share of failed turns after which nobody complains.
Signals after Jiang et al., "Automatic online evaluation of intelligent assistants", WWW 2015, and Park et al.,
"Large-scale hybrid approach for predicting user satisfaction with conversational agents", 2020.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from rapidfuzz import fuzz
from rapidfuzz.process import cpdist

from mining.fellegi_sunter import Comparison
from mining.sessions import answers, run_codes, seconds

QUICK_SECONDS, SOON_SECONDS = 12.0, 30.0
SIMILAR = 55.0  # fuzz.ratio, 0 to 100

RESPONSE = ("completed", "clarification", "failed", "no_match", "cancelled")
FEEDBACK = ("none", "positive", "negative")
CONFIDENCE = ("unknown", "low", "middle", "high")
CONTINUED = (
    "ended",
    "later",
    "other_soon",
    "other_quick",
    "similar_soon",
    "same_soon",
    "called_off",  # the next turn calls it off
    "answered",  # the next turn answers the assistant's question
)


def comparisons(silent_failure: float) -> tuple[Comparison, ...]:
    """The evidence, with beliefs: `m` among turns that failed their user, `u` among turns that served."""
    loud = 1 - silent_failure
    quiet = (0.5 * silent_failure + 0.10 * loud, 0.5 * silent_failure + 0.08 * loud)
    said_again = tuple(share * loud for share in (0.14, 0.27, 0.26, 0.09, 0.05, 0.01))
    return (
        Comparison("response", RESPONSE, (0.55, 0.12, 0.10, 0.22, 0.01), (0.92, 0.05, 0.01, 0.01, 0.01)),
        Comparison("feedback", FEEDBACK, (0.74, 0.01, 0.25), (0.93, 0.03, 0.04), fixed_u=True, fixed_m=True),
        Comparison("confidence", CONFIDENCE, (0.15, 0.35, 0.30, 0.20), (0.05, 0.15, 0.30, 0.50)),
        Comparison(
            "continued",
            CONTINUED,
            (*quiet, *said_again),
            (0.38, 0.33, 0.11, 0.09, 0.05, 0.008, 0.002, 0.03),
            fixed_u=True,
            fixed_m=True,
        ),
    )


def _level(values: pa.ChunkedArray, names: tuple[str, ...]) -> NDArray[np.int64]:
    found = pc.index_in(values, value_set=pa.array(names))
    return np.asarray(pc.fill_null(found, 0).to_numpy(zero_copy_only=False), dtype=np.int64)


def evidence_levels(turns: pa.Table) -> NDArray[np.int64]:
    """Evidence levels of each turn.

    Args:
        turns: whole sessions in order, with `session_id, occurred_at, text, response, feedback, confidence`.

    Returns:
        rows x 4 level indices, in the order of `comparisons`. O(rows x length of text).
    """
    rows = len(turns)
    levels = np.zeros((rows, 4), dtype=np.int64)
    levels[:, 0] = _level(turns.column("response"), RESPONSE)
    given = np.flatnonzero(pc.fill_null(pc.list_value_length(turns.column("feedback")), 0).to_numpy())
    said = turns.column("feedback").take(given).to_pylist()
    levels[given, 1] = [1 if set(one) == {"thumbs_up"} else 2 for one in said]
    confidence = pc.fill_null(turns.column("confidence"), -1.0).to_numpy(zero_copy_only=False)
    levels[:, 2] = np.select([confidence < 0, confidence < 0.5, confidence < 0.8], [0, 1, 2], 3)

    follows = np.flatnonzero(np.diff(run_codes(turns.column("session_id"))) == 0)  # with a next turn in their session
    if len(follows):
        texts = turns.column("text")
        gap = np.diff(seconds(turns.column("occurred_at")))[follows]
        alike = cpdist(texts.take(follows).to_pylist(), texts.take(follows + 1).to_pylist(), scorer=fuzz.ratio)
        called_off = (levels[:, 0] == RESPONSE.index("cancelled"))[follows + 1]
        answered = answers(turns)[follows + 1]
        levels[follows, 3] = np.select(
            [answered, gap > SOON_SECONDS, called_off, alike >= 99.5, alike >= SIMILAR, gap <= QUICK_SECONDS],
            [7, 1, 6, 5, 4, 3],
            2,
        )
    return levels
