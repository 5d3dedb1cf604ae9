from __future__ import annotations

import pyarrow as pa

from jobs.rephrase_pairs import _understood


def test_of_a_turn_that_was_not_matched_nothing_was_understood() -> None:
    """A log may write what was rejected beside its `no_match`."""
    meant = [{"intent": "alarm_set"}, {"intent": "music_play"}, None]
    turns = pa.table({"interpretation": meant, "response": ["completed", "no_match", "failed"]})
    assert _understood(turns).to_pylist() == [meant[0], None, None]
