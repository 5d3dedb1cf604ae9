"""Token weights, and bags of tokens against one pair at a time."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import fuzz

from mining.tokens import SPELT_ALIKE, SPELT_OTHERWISE, TokenBags, TokenWeights, token_counts
from schemas.normalise import normalise, tokenise


def test_token_weights() -> None:
    counts = token_counts(["the lamp the", "the fan", "起こして"])
    assert counts["the"] == 2
    assert counts["lamp"] == 1
    assert counts["起"] == 1
    weigh = TokenWeights(99, {"the": 99, "lamp": 9})
    assert 0 < weigh("the") < weigh("lamp") < weigh("unseen") == weigh("unheard")


def naive_bags(left: dict[str, float], right: dict[str, float]) -> tuple[float, bool]:
    lighter = min(sum(left.values()), sum(right.values()))
    shared = sum(weight for token, weight in left.items() if token in right)
    gone, come = [t for t in left if t not in right], [t for t in right if t not in left]
    few = 0 < len(gone) <= 2 and 0 < len(come) <= 2 and len(left) - len(gone) >= 2
    swapped = few and fuzz.ratio(" ".join(gone), " ".join(come)) < SPELT_ALIKE
    return shared / lighter if lighter else 0.0, swapped


def naive_missing(values: set[str], other: list[str], unknown: list[str]) -> int:
    gone = [value for value in values if value not in other]
    return sum(all(fuzz.ratio(value, word) < SPELT_OTHERWISE for word in unknown) for value in gone)


@given(st.lists(st.lists(st.sampled_from(["wake", "me", "at", "seven", "sevem", "eight", "eighty", "京"]), max_size=5)))
def test_values_are_missed_as_one_pair_at_a_time(said: list[list[str]]) -> None:
    texts = [normalise(" ".join(tokens)) for tokens in said]
    counts, values = Counter(wake=9, me=9, at=9, seven=5, eight=2), frozenset({"seven", "eight", "京"})
    bags = TokenBags.of(texts, ["en-US"] * len(texts), {"en-US": TokenWeights(9, counts, values)})
    tokens = [list(dict.fromkeys(token.text for token in tokenise(text))) for text in texts]
    left, right = (side.ravel() for side in np.meshgrid(*[np.arange(len(texts))] * 2))
    found = bags.compare(left, right)
    for row, pair in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
        for side, (one, other) in enumerate((pair, pair[::-1])):
            own = values & set(tokens[one])
            unknown = [t for t in tokens[other] if t not in tokens[one] and counts[t] < 3]
            assert found.values[row, side] == len(own)
            assert found.missing[row, side] == naive_missing(own, tokens[other], unknown)


@given(
    st.lists(
        st.lists(st.sampled_from(["wake", "me", "at", "seven", "seventy", "eight", "le\u2019vé", "京"])), min_size=1
    ),
    st.integers(1, 300),
)
def test_bags_compare_as_one_pair_at_a_time(said: list[list[str]], at_once: int) -> None:
    texts = [normalise(" ".join(tokens)) for tokens in said]
    weigh = {"en-US": TokenWeights(len(texts), token_counts(texts))}
    bags = TokenBags.of(texts, ["en-US"] * len(texts), weigh)
    left, right = (side.ravel() for side in np.meshgrid(*[np.arange(len(texts))] * 2))
    naive = [{t.text: weigh["en-US"](t.text) for t in tokenise(text)} for text in texts]
    expected = [naive_bags(naive[i], naive[j]) for i, j in zip(left, right, strict=True)]
    overlap, swapped, *_ = bags.compare(left, right, at_once=at_once)
    assert list(zip(overlap.tolist(), swapped.tolist(), strict=True)) == expected
