"""Words that vary in frames: against a dictionary of frames, and on planted values that no model understood."""

from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz import fuzz

from mining.value_words import drawn, varying_values
from schemas.normalise import words

TOKENS = st.sampled_from(["ada", "bob", "cleo", "dan", "what", "is", "on", "adu", "zz"])
TEXTS = st.lists(st.lists(TOKENS, min_size=0, max_size=5).map(" ".join), max_size=60, unique=True)


def by_dictionary(texts: list[str]) -> frozenset[str]:
    said = [words(text) for text in texts]
    there = Counter(token for tokens in said for token in set(tokens))
    fillers: dict[tuple[tuple[str, ...], tuple[str, ...]], set[str]] = defaultdict(set)

    def stretches(tokens: tuple[str, ...]):  # type: ignore[no-untyped-def]
        for size in (1, 2):
            for i in range(len(tokens) - size + 1):
                filler = tokens[i : i + size]
                around = (*tokens[:i], *tokens[i + size :])
                if len(around) < 2 or min(there[t] for t in filler) < 3:
                    continue
                if max(there[t] for t in filler) <= min(there[t] for t in around):
                    yield (tuple(tokens[:i]), tuple(tokens[i + size :])), filler

    for tokens in said:
        for frame, filler in stretches(tokens):
            fillers[frame].add(" ".join(filler))

    def many(spelt: set[str]) -> bool:
        kept: list[str] = []
        for text in sorted(spelt):
            if not any(fuzz.ratio(text, other) >= 60 for other in kept):
                kept.append(text)
        return len(kept) > 3

    inside: Counter[str] = Counter()
    for tokens in said:
        inside.update({t for frame, filler in stretches(tokens) if many(fillers[frame]) for t in filler})
    most = max(0.05 * len(texts), 20)
    return frozenset(t for t, n in inside.items() if 3 <= there[t] <= most and n >= 0.2 * there[t])


@settings(deadline=None, max_examples=200)
@given(TEXTS)
def test_as_a_dictionary_of_frames_says(texts: list[str]) -> None:
    assert varying_values(texts) == by_dictionary(texts)


def test_values_that_no_model_understood_are_found() -> None:
    days = ("monday", "tuesday", "friday", "next week", "tomorrow", "sunday")
    carriers = ("what is on {}", "show me my plans for {}", "am i free {} please", "tell me about {} at work")
    texts = [carrier.format(day) for carrier in carriers for day in days]
    texts += [f"turn it {way} {extra}" for way in ("up", "down") for extra in ("now", "please", "for me")]
    found = varying_values(texts)
    assert {"monday", "tuesday", "friday", "tomorrow", "sunday"} <= found
    assert not found & {"what", "is", "on", "my", "plans", "turn", "it", "up", "down", "please"}


def test_carriers_of_one_value_are_no_values() -> None:
    verbs, names = (
        ("play", "hear", "start", "find me", "queue"),
        ("norah", "tom", "grace", "indy", "bob", "etta", "quincy"),
    )
    found = varying_values([f"{verb} {name} jones" for verb in verbs for name in names])
    assert set(names) <= found
    assert not found & {"play", "hear", "start", "queue", "jones"}


def test_one_word_misheard_in_many_ways_does_not_vary() -> None:
    heard = ("kitchen", "kitchin", "kitchan", "kitcen", "ketchen", "kitchem")
    texts = [f"{do} the {room} {what}" for do in ("dim", "light") for room in heard for what in ("lamp", "fan")]
    assert not varying_values(texts) & set(heard)


def test_texts_that_are_too_long_are_not_looked_at() -> None:
    long = " ".join(f"w{i}" for i in range(70))
    texts = [f"{long} {day} please" for day in ("monday", "tuesday", "friday", "sunday")]
    assert not varying_values([*texts, *(f"{text} now" for text in texts), *(f"{text} then" for text in texts)])


def test_what_is_drawn_does_not_hang_on_the_order() -> None:
    texts = [f"text {i}" for i in range(500)]
    assert drawn(texts, 50) == drawn(reversed(texts), 50)
    assert set(drawn(texts, 30)) < set(drawn(texts, 50)) < set(texts)
