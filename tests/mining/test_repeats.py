"""Ids that come again, beside a dictionary that is filled record by record."""

from __future__ import annotations

from functools import reduce

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.repeats import IDS, PUBLISHED, repeats

RECORDS = st.lists(st.tuples(st.sampled_from("abcdeé"), st.integers(0, 3)), max_size=30)


def hashed(content: int) -> str:
    return f"{content * 0x9E3779B97F4A7C15 % 2**128:032x}"


def ids(rows: list[tuple[str, str, int]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [()] * 3
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, IDS, strict=True)], schema=IDS)


@given(known=st.dictionaries(st.sampled_from("abx"), st.integers(0, 3)), records=RECORDS, seed=st.randoms())
def test_as_a_dictionary_filled_record_by_record(known: dict[str, int], records: list, seed) -> None:
    first, again, content = {name: hashed(says) for name, says in known.items()}, [], []
    for number, (name, says) in enumerate(records, start=1):
        if name in first:
            again.append((number, first[name] == hashed(says)))
        else:
            first[name] = hashed(says)
            content.append(int(hashed(says)[:16], 16))
    rows = [(name, hashed(says), PUBLISHED) for name, says in known.items()]
    rows += [(name, hashed(says), number) for number, (name, says) in enumerate(records, start=1)]
    seed.shuffle(rows)
    found = repeats(ids(rows))
    assert list(zip(found.numbers.tolist(), found.same.tolist(), strict=True)) == again
    assert found.first == len(content)
    assert found.content % 2**64 == reduce(lambda one, other: one ^ other, content, 0)


@pytest.mark.parametrize("rows", [[], [("a", hashed(1), PUBLISHED)]])
def test_nothing_to_tell(rows: list[tuple[str, str, int]]) -> None:
    found = repeats(ids(rows))
    assert (len(found.numbers), found.first, found.content) == (0, 0, 0)
