"""Fillers put in each other's place: spans stay right, carriers stay as they were, nothing comes from elsewhere."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrain.data import Example
from retrain.substitution import fillers_of, substituted
from schemas.predictor import Slot

VALUES = ["seven", "half past nine", "七時", "a"]
CARRIERS = st.text(alphabet="xyz 的", max_size=5)


def example(carriers: list[str], values: list[str], names: list[str], **changes: object) -> Example:
    text, slots = carriers[0], []
    for carrier, value, name in zip(carriers[1:], values, names, strict=True):
        slots.append(Slot(name, value, len(text), len(text) + len(value)))
        text += value + carrier
    return Example(text, "sw-KE", "alarm_set", tuple(slots), **changes)  # type: ignore[arg-type]


EXAMPLES = st.integers(0, 3).flatmap(
    lambda n: st.tuples(
        st.lists(CARRIERS, min_size=n + 1, max_size=n + 1),
        st.lists(st.sampled_from(VALUES), min_size=n, max_size=n),
        st.lists(st.sampled_from(["time", "place", "rare"]), min_size=n, max_size=n),
    )
)


@given(EXAMPLES, st.floats(0, 1), st.integers(0, 9))
def test_spans_are_right_and_what_stands_between_them_stays(parts, share: float, seed: int) -> None:
    given_ = example(*parts)
    fillers = {("sw-KE", "time"): ["noon", "saa moja asubuhi"], ("sw-KE", "place"): ["here"], ("de-DE", "rare"): ["da"]}
    found = substituted(given_, fillers, share, np.random.default_rng(seed))
    assert [s.name for s in found.slots or ()] == [s.name for s in given_.slots or ()]
    end, between = 0, []
    for slot, before in zip(found.slots or (), given_.slots or (), strict=True):
        assert found.utterance[slot.start : slot.end] == slot.value
        assert slot.value in [before.value, *fillers.get(("sw-KE", slot.name), [])]
        between.append(found.utterance[end : slot.start])
        end = slot.end
    assert [*between, found.utterance[end:]] == parts[0]
    assert substituted(given_, fillers, 0.0, np.random.default_rng(seed)) == given_


def test_every_filler_comes_up_and_only_annotated_ones_do() -> None:
    rows = [example(["", ""], [value], ["time"]) for value in ("seven", "noon")]
    mined = example(["", ""], ["wrong"], ["time"], source="pseudo_label")
    fillers = fillers_of([*rows, mined])
    assert fillers == {("sw-KE", "time"): ["noon", "seven"]}
    random = np.random.default_rng(1)
    assert {substituted(mined, fillers, 1.0, random).utterance for _ in range(50)} == {"noon", "seven"}


def test_unknown_and_overlapping_slots_are_left_alone() -> None:
    masked = Example("wake me", "sw-KE", "alarm_set", None)
    crossing = Example("abc", "sw-KE", "alarm_set", (Slot("time", "ab", 0, 2), Slot("time", "bc", 1, 3)))
    for one in (masked, crossing):
        assert substituted(one, {("sw-KE", "time"): ["x"]}, 1.0, np.random.default_rng(0)) is one
