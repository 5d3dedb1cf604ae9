"""Capped counts against a loop over users, and the choice of targets against a loop over sources."""

from __future__ import annotations

from collections import Counter
from math import log1p

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.choice import CappedCounts, choose, looked_up, new_requests, nothing_of

PAIR = st.tuples(st.sampled_from(["de-DE", "sw-KE"]), st.booleans(), st.integers(0, 2))
STREAM = st.lists(st.lists(PAIR, min_size=1, max_size=9), max_size=6)  # the pairs of each user


def naive_counts(users: list[list[tuple[str, bool, int]]], most: int) -> dict[tuple[str, bool, int], tuple[float, int]]:
    capped: dict[tuple[str, bool, int], float] = {}
    seen: Counter[tuple[str, bool, int]] = Counter()
    for pairs in users:
        for key in pairs:
            capped[key] = capped.get(key, 0.0) + min(1.0, most / len(pairs))
            seen[key] += 1
    return {key: (capped[key], seen[key]) for key in seen}


@settings(deadline=None)
@given(STREAM, st.integers(1, 6), st.integers(1, 20))
def test_no_user_counts_for_more_than_the_cap_wherever_the_stream_is_cut(users, most: int, size: int) -> None:
    rows = [(f"user{u}", *pair) for u, pairs in enumerate(users) for pair in pairs]
    counts = CappedCounts(most)
    for start in range(0, len(rows) + 1, size):
        user, locale, answered, pattern = zip(*rows[start : start + size], strict=True) if rows[start:] else [()] * 4
        names = (pa.chunked_array([pa.array(column, pa.string())]) for column in (user, locale))
        counts.add(*names, np.array(answered, dtype=bool), np.array(pattern, dtype=np.int64))
    table = counts.table().to_pylist()
    found = {(r["locale"], r["answered"], r["pattern"]): (r["count"], r["pairs"]) for r in table}
    expected = naive_counts(users, most)
    assert found.keys() == expected.keys()
    for key, (capped, pairs) in expected.items():
        assert found[key] == (pytest.approx(capped), pairs)


def naive_choice(pairs: list[tuple[int, int, float, float]], least: float) -> list[tuple[int, float]]:
    found = []
    for source in sorted({pair[0] for pair in pairs}):
        mine = [(row, *pair) for row, pair in enumerate(pairs) if pair[0] == source]
        none = np.exp(sum(log1p(-min(p, 1 - 1e-9)) for *_, p, _ in mine))
        believed = [(-round(p * (0.5 + 0.5 * a), 6), steps, row) for row, _, steps, p, a in mine if p >= least]
        if believed:
            found.append((min(believed)[2], float(np.round(none, 9))))
    return found


SHARE = st.sampled_from([0.0, 0.25, 0.5, 0.500001, 0.75, 1.0])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 6), SHARE, SHARE), unique_by=lambda p: p[:2]), SHARE)
def test_the_choice_is_that_of_a_loop_over_sources(pairs: list[tuple[int, int, float, float]], least: float) -> None:
    pairs = sorted(pairs)
    columns = [np.array(c) for c in zip(*pairs, strict=True)] if pairs else [np.zeros(0, int)] * 2 + [np.zeros(0)] * 2
    chosen, none = choose(*columns, least)
    assert list(zip(chosen.tolist(), none.tolist(), strict=True)) == naive_choice(pairs, least)


def test_posteriors_are_looked_up_by_locale_and_pattern() -> None:
    values = {("a", 1): 0.1, ("b", 1): 0.2, ("a", 7): 0.7}
    locale = pa.chunked_array([["b", "a"], ["a", "b"]])
    assert looked_up(locale, np.array([1, 7, 1, 1]), values).tolist() == [0.2, 0.7, 0.1, 0.2]
    with pytest.raises(KeyError):
        looked_up(locale, np.array([1, 7, 1, 7]), values)


@given(st.lists(st.tuples(st.integers(0, 4), SHARE, SHARE), max_size=12), st.sampled_from([0.5, 0.75]))
def test_a_source_that_is_not_said_again_may_be_followed_by_another_request(rows, least: float) -> None:
    rows.sort(key=lambda row: row[0])
    source = np.array([row[0] for row in rows], dtype=np.int64)
    again, other = (np.array([row[i] for row in rows], dtype=float) for i in (1, 2))
    steps = np.array([sum(r[0] == row[0] for r in rows[: i + 1]) for i, row in enumerate(rows)], dtype=np.int64)
    chosen, _ = choose(source, steps, again, np.ones(len(rows)), least)
    found = new_requests(source, steps, other, chosen, least)
    taken = {int(source[i]) for i in chosen}
    expected = []
    for one in sorted(set(source.tolist()) - taken):
        mine = [(-other[i], steps[i], i) for i in range(len(rows)) if source[i] == one and other[i] >= least]
        expected += [min(mine)[2]] if mine else []
    assert found.tolist() == expected


def test_nothing_is_the_product_of_the_complements() -> None:
    found = nothing_of(np.array([3, 3, 7]), np.array([0.5, 0.25, 0.9]))
    assert found.tolist() == pytest.approx([0.375, 0.375, 0.1])
