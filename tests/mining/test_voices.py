"""Who is heard: against Simpson's index by hand, however the stream of turns is cut."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.voices import Voices, effective_wordings, whole_users

LOGS = st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("tuvwxyz"), min_size=1, max_size=12))


def table(log: dict[str, list[str]]) -> pa.Table:
    rows = [(user, said) for user in sorted(log) for said in log[user]]
    return pa.table(
        {"user_id": pa.array([u for u, _ in rows], pa.string()), "said": pa.array([s for _, s in rows], pa.string())}
    )


def effective(said: list[str]) -> float:
    return len(said) ** 2 / sum(n * n for n in Counter(said).values())


@given(LOGS)
def test_effective_number_is_the_inverse_of_simpsons_index(log: dict[str, list[str]]) -> None:
    users = sorted(log)
    user = np.repeat(np.arange(len(users)), [len(log[u]) for u in users]).astype(np.int64)
    wording = np.array(["tuvwxyz".index(s) for u in users for s in log[u]], dtype=np.int64)
    assert effective_wordings(user, wording).tolist() == pytest.approx([effective(log[u]) for u in users])


@given(LOGS, st.lists(st.integers(0, 72), max_size=6), st.floats(1, 6))
def test_who_is_heard_does_not_hang_on_how_the_stream_is_cut(
    log: dict[str, list[str]], cuts: list[int], least: float
) -> None:
    whole = table(log)
    ends = sorted({min(c, len(whole)) for c in cuts} | {0, len(whole)})
    tables = list(whole_users(whole.slice(a, b - a) for a, b in pairwise(ends)))
    assert (pa.concat_tables(tables) if tables else whole).equals(whole)
    told = Counter(user for t in tables for user in set(t.column("user_id").to_pylist()))
    assert set(told.values()) <= {1}

    voices = Voices(least)
    heard = [h for t in tables for h in voices.of(t.column("user_id"), t.column("said")).tolist()]
    of = {u: round(effective(said), 9) >= least or len(said) < 2 * least for u, said in log.items()}
    assert heard == [of[u] for u in whole.column("user_id").to_pylist()]


def test_a_robot_is_cut_and_stays_what_its_first_turns_told() -> None:
    robot = table({"a": list("tuvwxyz"), "bot": ["t"] * 30 + list("tuvwxyz") * 3, "c": ["t"] * 6})
    tables = list(whole_users([robot.slice(i, 10) for i in range(0, len(robot), 10)], hold=15))
    assert max(map(len, tables)) <= 30
    voices = Voices(3.0)
    heard = np.concatenate([voices.of(t.column("user_id"), t.column("said")) for t in tables]).tolist()
    assert heard == [True] * 7 + [False] * 51 + [False] * 6


def test_who_has_said_little_is_heard() -> None:
    few = table({"a": ["t"], "b": ["t"] * 7, "c": ["t"] * 8})
    heard = Voices(4.0).of(few.column("user_id"), few.column("said")).tolist()
    assert heard == [True] * 8 + [False] * 8
    assert Voices(1.0).of(few.column("user_id"), few.column("said")).all()


def test_saying_one_thing_often_or_misheard_does_not_make_a_voice() -> None:
    often = effective(["t"] * 200)
    misheard = effective(["t"] * 40 + ["u"] * 40 + [f"m{i}" for i in range(20)])
    assert often == 1
    assert misheard < 4 < effective([f"w{i}" for i in range(5)])
