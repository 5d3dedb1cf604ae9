"""Translations: a planted dictionary is found again in texts that are no translations of each other."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_words import CARRIERS, CONTENT, PLANTED, planted

from mining.translations import _MOST, Side, Translations, Worded, expect, learn_translations


def _right(found: Translations, least: float = 0.0) -> tuple[float, float]:
    """Share of the planted words of few intents that are found, and of those found that are right: what tells carriers
    of all intents apart is their frequency alone."""
    best = {word: ways[0] for word, ways in found.entries.items() if int(word[4:]) >= CARRIERS}
    right = [PLANTED[word] == other for word, (other, agreed) in best.items() if agreed >= least]
    return sum(right) / CONTENT, sum(right) / max(len(right), 1)


@pytest.mark.parametrize(("seed", "wrong"), [(1, 0.0), (2, 0.0), (3, 0.2)])
def test_a_planted_dictionary_is_found_where_nothing_is_parallel(seed: int, wrong: float) -> None:
    mature, launch = planted(seed, wrong)
    translations = learn_translations(mature, launch)
    found, precise = _right(translations)
    assert found > 0.55
    assert precise > 0.65
    assert _right(translations, 0.3)[1] > 0.9


def test_parallel_text_helps_and_is_heard_where_the_log_is_silent() -> None:
    mature, launch = planted(4, many=8)
    known = list(PLANTED.items())
    some = [([word], [other]) for word, other in known[:40]]
    without, with_some = (_right(learn_translations(mature, launch, pairs))[0] for pairs in ([], some))
    assert with_some > without + 0.1
    unsaid = learn_translations(
        mature, launch, [(["moon", "word01"], ["mwezi", PLANTED["word01"]]), (["moon"], ["mwezi"])]
    )
    assert unsaid.entries["moon"][0][0] == "mwezi"


def test_words_that_are_spelt_alike_are_the_same_where_nothing_speaks_against_it() -> None:
    mature = [Worded(("call", name), "call") for name in ("anna", "berta", "carla", "dora")] * 3
    launch = [Worded(("pigia", name), "call") for name in ("anna", "berta", "carla", "zuri")] * 3
    found = learn_translations(mature, launch)
    assert all(found.entries[name][0][0] == name for name in ("anna", "berta", "carla"))
    assert found.entries["call"][0][0] == "pigia"
    assert "zuri" not in [other for name in ("anna", "berta", "carla") for other, _ in found.entries[name]]


def test_nothing_comes_of_nothing() -> None:
    mature, launch = planted(1, many=2)
    assert not learn_translations([], launch)
    assert not learn_translations(mature, [])
    assert not learn_translations(mature, [Worded((), "intent1")])
    assert not learn_translations(mature, [Worded(("neno", "moja"), "unheard of")])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_translations_are_agreed_on_in_both_directions(seed: int, many: int) -> None:
    mature, launch = planted(seed, 0.3, many)
    found = learn_translations(mature, launch)
    shuffled = np.random.default_rng(seed)
    again = learn_translations(
        [mature[i] for i in shuffled.permutation(len(mature))], [launch[i] for i in shuffled.permutation(len(launch))]
    )
    assert set(found.entries) <= {word for one in mature for word in one.words}
    for word, ways in found.entries.items():
        agreed = [share for _, share in ways]
        assert agreed == sorted(agreed, reverse=True)
        assert 0.1 <= agreed[-1] <= agreed[0] <= 1
        assert 1 <= len(ways) <= _MOST
        for other, share in ways:
            assert (word, share) in found.back[other]
    common = set(found.entries) & set(again.entries)
    assert len(common) >= 0.9 * max(len(found), len(again)) - 2  # sums in another order end nearly alike
    assert found.entries == learn_translations(mature, launch).entries


def test_expected_counts_agree_with_a_plain_loop() -> None:
    mature, launch = planted(5, many=2)
    templates, made = Side.of(mature, ()), Side.of(launch, ())
    random = np.random.default_rng(6)
    said = random.dirichlet(np.ones(len(made.names)), len(templates.names)).astype(np.float32)
    counts = np.zeros_like(said)
    expect(said, counts, templates, made, "intent3", 0.7)
    number, other = ({word: i for i, word in enumerate(side.names)} for side in (templates, made))
    plain = np.zeros(said.shape)
    of = [one.words for one in mature if one.intent == "intent3"]
    for text in (one for one in launch if one.intent == "intent3"):
        likely = []
        for template in of:
            rows = [0, *(number[word] for word in template)]
            each = [sum(float(said[i, other[word]]) for i in rows) / len(rows) for word in text.words]
            away = (np.log(len(text.words)) - np.log(len(template))) / 0.4
            likely.append(0.7 * (sum(map(np.log, each)) - 0.5 * away**2))
        pair = np.exp(np.array(likely) - max(likely))
        for template, share in zip(of, text.weight * pair / pair.sum(), strict=True):
            rows = [0, *(number[word] for word in template)]
            for word in text.words:
                total = sum(float(said[i, other[word]]) for i in rows)
                for i, times in Counter(rows).items():
                    plain[i, other[word]] += share * times * float(said[i, other[word]]) / total
    assert counts == pytest.approx(plain, rel=1e-3, abs=1e-5)
    assert counts.sum() == pytest.approx(
        sum(o.weight * len(o.words) for o in launch if o.intent == "intent3"), rel=1e-4
    )
