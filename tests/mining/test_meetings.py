"""One observation a user: the kernels against pandas."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.fellegi_sunter import pattern_key
from mining.friction import CONFIDENCE, FEEDBACK, SIZES
from mining.meetings import MET, FirstMeetings, alike, counts_of, met, seen, together, users, wordings
from schemas.columns import INTERPRETATION

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOTHING = {"intent": None, "slots": None}


def turns(rows: list[tuple[str, int, str, str, str | None, str | None, bool]]) -> pa.Table:
    """(user, second, formulation, response, intent, value of its slot, held out) of each turn."""
    rows = sorted(rows, key=lambda row: (row[0], row[1]))
    meant = [
        None
        if intent is None
        else {"intent": intent, "slots": [] if value is None else [{"name": "thing", "value": value}]}
        for *_, intent, value, _ in rows
    ]
    return pa.table(
        {
            "locale": ["xx-XX"] * len(rows),
            "user_id": [row[0] for row in rows],
            "occurred_at": pa.array([NOON + timedelta(seconds=r[1]) for r in rows], pa.timestamp("us", tz="UTC")),
            "formulation_id": [row[2] for row in rows],
            "response": [row[3] for row in rows],
            "interpretation": pa.array(meant, INTERPRETATION),
            "held_out": [row[6] for row in rows],
            "heard": [row[0] != "d" for row in rows],
        }
    )


TURN = st.tuples(
    st.sampled_from("abcd"),
    st.integers(0, 10**6),
    st.sampled_from(["f1", "f2"]),
    st.sampled_from(["completed", "no_match"]),
    st.sampled_from([None, "play", "stop"]),
    st.sampled_from([None, "jazz", "rock"]),
    st.booleans(),
)


@settings(deadline=None, max_examples=50)
@given(st.lists(TURN, min_size=1, max_size=40, unique_by=lambda t: (t[0], t[1])), st.randoms(use_true_random=False))
def test_each_user_counts_once_a_wording_by_what_they_did_first(rows: list, random: object) -> None:  # type: ignore[type-arg]
    table = turns(rows)
    rng = np.random.default_rng(len(rows))
    levels = np.stack([rng.integers(0, size, len(table)) for size in SIZES], axis=1)
    # A wording has one response, so its pattern has too; it is 0 here for all.
    levels[:, 0] = 0
    wording, meetings = met(table, pattern_key(levels, SIZES))
    # Cut and shuffled, as a shuffle by wording may hand them over.
    order = list(range(len(meetings)))
    random.shuffle(order)  # type: ignore[attr-defined]
    found = seen(meetings.take(pa.array(order)))

    frame = table.to_pandas().assign(c=levels[:, 1], f=levels[:, 2], g=levels[:, 3])
    frame["meant"] = [
        (m["intent"], tuple((s["name"], s["value"]) for s in m["slots"])) if m else ("", ())
        for m in table.column("interpretation").to_pylist()
    ]
    keys = ["formulation_id", "held_out", "heard", "response", "meant"]
    groups = frame.groupby(keys, sort=False).ngroup()
    assert len(set(wording.tolist())) == groups.nunique() == len(found)
    assert len(pd.DataFrame({"w": wording, "g": groups}).drop_duplicates()) == len(found)  # the same division
    first = frame.assign(w=wording).sort_values("occurred_at").drop_duplicates(["w", "user_id"])
    of = {row["wording"]: row for row in found.to_pylist()}
    for w, group in first.groupby("w"):
        row = of[w]
        assert row["intent"] == group["meant"].iloc[0][0]
        assert row["heard"] == group["heard"].iloc[0]
        assert row["answer"] == group["c"].max()
        assert sum(row["seen"][: len(FEEDBACK)]) == len(group)
        assert row["seen"][: len(FEEDBACK)] == np.bincount(group["f"], minlength=SIZES[2]).tolist()
        assert row["seen"][len(FEEDBACK) :] == np.bincount(group["g"], minlength=SIZES[3]).tolist()
    assert users(found).tolist() == [sum(s[: len(FEEDBACK)]) for s in found.column("seen").to_pylist()]


def test_a_robot_is_one_user_also_where_its_turns_come_in_parts() -> None:
    table = turns([("robot", s, "f", "completed", "play", None, False) for s in range(1000)])
    pattern = pattern_key(np.zeros((1000, 4), np.int64), SIZES)
    parts = [met(table.slice(start, 250), pattern[start : start + 250])[1] for start in range(0, 1000, 250)]
    assert users(seen(pa.concat_tables(parts))).tolist() == [1]


def test_the_surest_answer_met_stands_for_the_wording() -> None:
    table = turns([("a", 1, "f", "failed", "play", None, False), ("b", 1, "f", "failed", "play", None, False)])
    levels = np.array([[2, 1, 0, 0], [2, 3, 0, 0]])
    found = seen(met(table, pattern_key(levels, SIZES))[1])
    assert found.column("answer").to_pylist() == [2 * len(CONFIDENCE) + 3]


def test_nothing_met() -> None:
    empty = MET.empty_table()
    assert len(seen(empty)) == 0
    assert counts_of(seen(empty)).shape == (0, sum(SIZES[2:]))


def test_values_tell_wordings_apart_and_spans_do_not_matter() -> None:
    table = turns(
        [
            ("a", 1, "f", "completed", "play", "jazz", False),
            ("b", 1, "f", "completed", "play", "rock", False),
            ("c", 1, "f", "completed", "play", None, False),
            ("d", 1, "f", "completed", None, None, False),
            ("e", 1, "f", "completed", "play", "jazz", True),
        ]
    )
    found, intents = wordings(table)
    assert len(set(found.tolist())) == 5
    assert intents.to_pylist() == ["play", "play", "play", "", "play"]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(TURN, min_size=1, max_size=40, unique_by=lambda t: (t[0], t[1])),
    st.lists(st.integers(0, 40), max_size=5),
    st.lists(st.integers(0, 40), max_size=3),
)
def test_counted_table_by_table_and_put_together_wordings_are_the_same(
    rows: list,
    cuts: list[int],
    flushes: list[int],  # type: ignore[type-arg]
) -> None:
    table = turns(rows)
    rng = np.random.default_rng(len(rows))
    pattern = pattern_key(np.stack([rng.integers(0, size, len(table)) for size in SIZES], axis=1), SIZES)
    whole = seen(met(table, pattern)[1])
    first, parts, held = FirstMeetings(), [], []
    places = sorted({0, len(table), *(min(cut, len(table)) for cut in cuts)})
    for i, (start, end) in enumerate(pairwise(places)):
        held.append(first.of(met(table.slice(start, end - start), pattern[start:end])[1]))
        if i in flushes:
            parts.append(seen(pa.concat_tables(held)))
            held = []
    parts.append(seen(pa.concat_tables(held)) if held else whole.slice(0, 0))
    assert together(pa.concat_tables(parts)).equals(whole)

    kinds = alike(whole)
    assert sum(kinds.column("count").to_pylist()) == len(whole)
    halves = pa.concat_tables([alike(whole.slice(0, len(whole) // 2)), alike(whole.slice(len(whole) // 2))])
    assert alike(halves, halves.column("count").to_numpy()).equals(kinds)
