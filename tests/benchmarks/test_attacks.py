"""What is said to have changed between a log without attackers and one with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.attacks import changes, run_attacks, wanted_by_attackers
from benchmarks.loop import LoopOptions
from schemas.errors import InputError
from schemas.settings import Settings

NAMES = "abcdefgh"
MEANT = dict.fromkeys(NAMES, "right")
LABELS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["right", "wrong", "false"]))


def test_each_change_has_its_name() -> None:
    before = {"a": "right", "b": "right", "c": "wrong", "d": "wrong", "e": "right", "f": "right"}
    after = {"a": "right", "b": "wrong", "c": "right", "d": "false", "f": "false", "g": "wrong", "h": "right"}
    found = changes(before, after, MEANT, {"b": "wrong", "c": "wrong", "d": "wrong", "g": "wrong"})
    assert (found.attacked, found.false_pushed, found.true_suppressed) == (4, 2, 1)
    assert (found.others_false, found.others_suppressed, found.others_right) == (2, 2, 2)


@given(LABELS, LABELS, st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["wrong", "false"])))
def test_changes_account_for_every_label(before: dict[str, str], after: dict[str, str], wanted: dict[str, str]) -> None:
    found = changes(before, after, MEANT, wanted)
    right = [sum(intent == "right" for intent in labels.values()) for labels in (before, after)]
    assert right[1] - right[0] == found.others_right - found.others_suppressed - found.true_suppressed
    new = [name for name, intent in after.items() if intent != "right" and before.get(name) != intent]
    assert len(new) == found.others_false + found.false_pushed
    assert changes(before, before, MEANT, {}) == changes(after, after, MEANT, {})


def turn(user: str, second: int, name: str, intent: str | None) -> dict[str, Any]:
    meant = {"intent": intent, "slots": []} if intent else None
    return {
        "interaction_id": f"{user}{second}", "user_id": user, "occurred_at": second, "formulation_id": name,
        "interpretation": meant,
    }  # fmt: skip


def test_attackers_want_what_they_were_answered() -> None:
    turns = [turn("bot", 2, "b", "mute"), turn("bot", 1, "a", "play"), turn("ann", 1, "a", "play"),
             turn("dumb", 1, "c", None), turn("dumb", 2, "d", None)]  # fmt: skip
    truth = {t["interaction_id"]: {"attack": t["user_id"] != "ann"} for t in turns}
    assert wanted_by_attackers(turns, truth, "pair") == {"a": "mute"}
    assert wanted_by_attackers(turns, truth, "vouch") == {"a": "play"}


def test_bad_options_are_named_together(tmp_path: Path) -> None:
    options = LoopOptions(out=tmp_path / "work", massive=tmp_path)
    with pytest.raises(InputError) as fault:
        run_attacks(Settings(), options, print, kinds=("pair", "shout"), ids=(0, 3))
    assert "no attack 'shout'" in str(fault.value)
    assert "0 ids" in str(fault.value)
    assert not (tmp_path / "work").exists()
