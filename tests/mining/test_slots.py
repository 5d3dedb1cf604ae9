"""Slot values carried from one wording to another."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.slots import project
from schemas.normalise import normalise, tokenise


def spans(values: list[tuple[str, str]], utterance: str) -> list[tuple[str, str]] | None:
    found = project(values, utterance)
    return None if found is None else [(slot.name, slot.value) for slot in found]


@pytest.mark.parametrize(
    ("values", "utterance", "wanted"),
    [
        ([], "wake me up", []),
        ([("time", "seven")], "wake me at seven", [("time", "seven")]),
        ([("time", "Seven")], "Wake me at SEVEN, please", [("time", "SEVEN")]),
        ([("time", "saa moja")], "niamshe saa moja kesho", [("time", "saa moja")]),
        ([("time", "half past nine")], "half of nine is past", None),  # its words stand apart
        ([("time", "saa moja")], "niamshe saa", None),
        ([("time", "eight")], "wake me at seven", None),
        ([("time", "seven"), ("date", "friday")], "wake me at seven", None),  # one is missing: all stay open
        (
            [("date", "friday"), ("time", "seven")],
            "at seven on friday",
            [("time", "seven"), ("date", "friday")],
        ),
        ([("artist", "beyonce")], "play some beyonces songs", [("artist", "beyonces")]),  # an inflection
        ([("place", "kisumu")], "hali ya hewa kisumuu", [("place", "kisumuu")]),  # heard otherwise
        ([("place", "new york")], "weather in newyork today", [("place", "newyork")]),
        ([("time", "one")], "on", None),  # too short to be alike
        ([("song", "...")], "play it", None),  # a value without a word
        ([("time", "seven")], "", None),
        ([("time", "七時")], "明日七時に起こして", [("time", "七時")]),
        ([("date", "明日"), ("time", "七時")], "明日の七時に起こして", [("date", "明日"), ("time", "七時")]),
        ([("time", "八時")], "明日七時に起こして", None),
        ([("time", "七 時")], "七時に起こして", [("time", "七時")]),  # annotation adds spaces
        (
            [("artist", "宇多田ヒカル")],
            "宇多田ヒカリを流して",
            None,
        ),  # a character more or less is another word
    ],
)
def test_values_in_another_wording(
    values: list[tuple[str, str]], utterance: str, wanted: list[tuple[str, str]] | None
) -> None:
    assert spans(values, utterance) == wanted


def test_a_value_said_twice_is_found_twice_and_no_more() -> None:
    twice = project([("from", "rome"), ("to", "rome")], "rome to rome")
    assert twice is not None
    assert sorted((s.start, s.end) for s in twice) == [(0, 4), (8, 12)]
    assert project([("from", "rome"), ("to", "rome")], "rome to paris") is None


def test_the_longer_value_is_placed_first() -> None:
    found = project([("a", "york"), ("b", "new york")], "york or new york")
    assert found is not None
    assert [(s.name, s.start) for s in found] == [("a", 0), ("b", 8)]


def test_exact_wins_over_alike() -> None:
    assert spans([("place", "kisumu")], "kisumuu kisumu") == [("place", "kisumu")]


words = st.sampled_from(
    ["seven", "eight", "new", "york", "yorks", "saa", "moja", "七", "時", "明日", "Ünï", "it's", "!", "ß"]
)
texts = st.one_of(
    st.lists(words, max_size=8).map(" ".join), st.lists(words, max_size=8).map("".join), st.text(max_size=20)
)
slots = st.lists(st.tuples(st.sampled_from("abc"), texts), max_size=4)


@given(slots, texts)
def test_spans_spell_their_values_and_never_overlap(values: list[tuple[str, str]], utterance: str) -> None:
    found = project(values, utterance)
    if found is None:
        assert values
        return
    assert sorted(s.name for s in found) == sorted(name for name, _ in values)
    assert all(s.value == utterance[s.start : s.end] and s.start < s.end for s in found)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))
    edges = {t.start for t in tokenise(utterance)}, {t.end for t in tokenise(utterance)}
    assert all(s.start in edges[0] and s.end in edges[1] for s in found)


@given(st.lists(words, min_size=1, max_size=6), st.data())
def test_what_was_cut_from_an_utterance_is_found_in_it(said: list[str], data: st.DataObject) -> None:
    utterance = " ".join(said)
    tokens = tokenise(utterance)
    if not tokens:
        return
    first = data.draw(st.integers(0, len(tokens) - 1))
    last = data.draw(st.integers(first, len(tokens) - 1))
    value = utterance[tokens[first].start : tokens[last].end]
    found = project([("slot", value)], utterance)
    assert found is not None
    assert normalise(found[0].value) == normalise(value)
