"""What friction is made from: how the assistant answered, and how its user went on.

Signals after Jiang et al., "Automatic online evaluation of intelligent assistants", WWW 2015, and Park et al.,
"Large-scale hybrid approach for predicting user satisfaction with conversational agents", 2020. What they say is
fitted to the log in `mining.friction_model`.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from rapidfuzz import fuzz
from rapidfuzz.process import cpdist

from mining.sessions import answers, run_codes, seconds

QUICK_SECONDS, SOON_SECONDS = 12.0, 30.0
SIMILAR = 55.0  # fuzz.ratio, 0 to 100

RESPONSE = ("completed", "clarification", "failed", "no_match", "cancelled")
CONFIDENCE = ("unknown", "low", "middle", "high")
FEEDBACK = ("none", "positive", "negative")
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
SIZES = (len(RESPONSE), len(CONFIDENCE), len(FEEDBACK), len(CONTINUED))


def _level(values: pa.ChunkedArray, names: tuple[str, ...]) -> NDArray[np.int64]:
    found = pc.index_in(values, value_set=pa.array(names))
    return np.asarray(pc.fill_null(found, 0).to_numpy(zero_copy_only=False), dtype=np.int64)


def evidence_levels(turns: pa.Table) -> NDArray[np.int64]:
    """Evidence levels of each turn.

    Args:
        turns: whole sessions in order, with `session_id, occurred_at, text, response, feedback, confidence`.

    Returns:
        rows x 4 indices: of response, confidence, feedback, continued. O(rows x length of text).
    """
    rows = len(turns)
    levels = np.zeros((rows, 4), dtype=np.int64)
    levels[:, 0] = _level(turns.column("response"), RESPONSE)
    given = np.flatnonzero(pc.fill_null(pc.list_value_length(turns.column("feedback")), 0).to_numpy())
    said = turns.column("feedback").take(given).to_pylist()
    levels[given, 2] = [1 if set(one) == {"thumbs_up"} else 2 for one in said]
    confidence = pc.fill_null(turns.column("confidence"), -1.0).to_numpy(zero_copy_only=False)
    levels[:, 1] = np.select([confidence < 0, confidence < 0.5, confidence < 0.8], [0, 1, 2], 3)

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
