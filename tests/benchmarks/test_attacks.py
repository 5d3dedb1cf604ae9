"""What is said to have changed between a log without attackers and one with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.attacks import changes, run_attacks
from benchmarks.loop import LoopOptions
from schemas.errors import InputError
from schemas.settings import Settings

NAMES = "abcdefgh"
MEANT = dict.fromkeys(NAMES, "right")
LABELS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["right", "wrong", "false"]))


def test_each_change_has_its_name() -> None:
    before = {"a": "right", "b": "right", "c": "wrong", "d": "wrong", "e": "right", "f": "right"}
    after = {"a": "right", "b": "wrong", "c": "right", "d": "false", "f": "false", "g": "wrong", "h": "right"}
    found = changes(before, after, MEANT, attacked={"b", "c", "d", "g"})
    assert (found.attacked, found.false_pushed, found.true_suppressed) == (4, 3, 1)
    assert (found.others_false, found.others_suppressed, found.others_right) == (1, 2, 1)


@given(LABELS, LABELS, st.sets(st.sampled_from(NAMES)))
def test_changes_account_for_every_label(before: dict[str, str], after: dict[str, str], attacked: set[str]) -> None:
    found = changes(before, after, MEANT, attacked)
    right = [sum(intent == "right" for intent in labels.values()) for labels in (before, after)]
    if not attacked:
        assert right[1] - right[0] == found.others_right - found.others_suppressed
    assert changes(before, before, MEANT, attacked) == changes(after, after, MEANT, attacked)
    assert changes(before, before, MEANT, attacked).others_false == 0


def test_bad_options_are_named_together(tmp_path: Path) -> None:
    options = LoopOptions(out=tmp_path / "work", massive=tmp_path)
    with pytest.raises(InputError) as fault:
        run_attacks(Settings(), options, print, kinds=("pair", "shout"), ids=(0, 3))
    assert "no attack 'shout'" in str(fault.value)
    assert "0 ids" in str(fault.value)
    assert not (tmp_path / "work").exists()
