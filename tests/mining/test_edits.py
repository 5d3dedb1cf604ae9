"""Types of edits: a table of examples in several scripts, and what holds of any two texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.edits import TYPES, edit_type
from schemas.normalise import normalise, words


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("wake me at seven", "Wake me at seven!", "same_words"),
        ("wake me at seven", "wake me at sevn", "respelled"),
        ("turn on the head light", "turn on the headlight", "respelled"),
        ("at seven wake me", "wake me at seven", "reordered"),
        ("wake me", "wake me at seven please", "words_added"),
        ("wake me at seven please", "wake me", "words_dropped"),
        ("wake me at seven", "rouse me by seven", "words_exchanged"),
        ("wake me at seven", "alarm for tomorrow morning", "other_words"),
        ("niamshe saa moja asubuhi", "niamshe asubuhi", "words_dropped"),
        ("七時に起こして", "七時に目覚まし", "words_exchanged"),
        ("", "wake me", "other_words"),
    ],
)
def test_examples(source: str, target: str, expected: str) -> None:
    assert edit_type(words(normalise(source)), words(normalise(target))) == expected


WORDS = st.lists(st.sampled_from(["wake", "me", "at", "seven", "eight", "sevem", "夜"]), max_size=6)


@given(WORDS, WORDS)
def test_the_way_back_is_the_same_but_for_added_and_dropped(source: list[str], target: list[str]) -> None:
    back = {"words_added": "words_dropped", "words_dropped": "words_added"}
    there = edit_type(source, target)
    assert there in TYPES
    assert (there == "same_words") == (source == target)
    assert edit_type(target, source) == back.get(there, there)
