from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.evaluate import compare, evaluate, outcomes
from schemas.annotated import Annotated, parse_markup
from schemas.predictor import Interpretation, Prediction, Slot

TEXT = "a b c d e f"


def spans(found: list[tuple[str, int, int]]) -> tuple[Slot, ...]:
    edges = [(name, 2 * min(a, b), 2 * max(a, b) + 1) for name, a, b in found]
    return tuple(Slot(name, TEXT[start:end], start, end) for name, start, end in edges)


SPAN = st.tuples(st.sampled_from("xy"), st.integers(0, 5), st.integers(0, 5))
SLOTS = st.lists(SPAN, max_size=3, unique=True).map(spans)
READINGS = st.builds(Interpretation, st.sampled_from(["p", "q"]), SLOTS)


def naive(gold: Sequence[Interpretation], found: Sequence[Interpretation]) -> tuple[float, float, float]:
    """An oracle that shares no code: labels every (example, name, start, end) with a string and counts."""
    wanted = [f"{i}/{s.name}/{s.start}/{s.end}" for i, g in enumerate(gold) for s in dict.fromkeys(g.slots)]
    got = [f"{i}/{s.name}/{s.start}/{s.end}" for i, f in enumerate(found) for s in dict.fromkeys(f.slots)]
    wanted, got = list(dict.fromkeys(wanted)), list(dict.fromkeys(got))
    hits = sum(1 for label in got if label in wanted)
    precision = hits / len(got) if got else 0.0
    recall = hits / len(wanted) if wanted else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else float(wanted == got)
    exact = 0
    for i, (g, f) in enumerate(zip(gold, found, strict=True)):
        mine = sorted(label for label in wanted if label.startswith(f"{i}/"))
        exact += g.intent == f.intent and mine == sorted(label for label in got if label.startswith(f"{i}/"))
    intents = sum(g.intent == f.intent for g, f in zip(gold, found, strict=True))
    return intents / len(gold), f1, exact / len(gold)


@given(st.lists(st.tuples(READINGS, READINGS), min_size=1, max_size=8))
def test_figures_agree_with_a_naive_oracle(pairs: list[tuple[Interpretation, Interpretation]]) -> None:
    gold = [Annotated(TEXT, "en-US", g) for g, _ in pairs]
    m = compare(gold, [f for _, f in pairs]).metrics()
    expected = naive([g for g, _ in pairs], [f for _, f in pairs])
    assert (m.intent_accuracy, m.slot_f1, m.exact_match) == pytest.approx(expected)


def test_hand_made_case() -> None:
    text, slots = parse_markup("from [place : oslo] to [place : rome] at [time : nine]")
    gold = Annotated(text, "en-US", Interpretation("go", slots))
    wrong = Slot("time", "at nine", slots[2].start - 3, slots[2].end)
    found = [Interpretation("go", slots), Interpretation("go", (slots[0], wrong))]
    m = compare([gold, gold], found).metrics()
    assert (m.intent_accuracy, m.exact_match) == (1, 0.5)
    assert m.slot_f1 == pytest.approx(2 * 4 / (6 + 5))


def test_white_space_at_a_span_edge_is_no_fault() -> None:
    gold = Annotated("東京 の天気", "ja-JP", Interpretation("weather", (Slot("place", "東京 ", 0, 3),)))
    found = Interpretation("weather", (Slot("place", "東京", 0, 2),))
    assert compare([gold], [found]).metrics().exact_match == 1


def test_the_interval_is_seeded_and_holds_the_estimate() -> None:
    random = np.random.default_rng(3)
    gold = [Annotated(TEXT, "en-US", Interpretation(str(random.choice(["p", "q"])))) for _ in range(200)]
    scored = compare(gold, [Interpretation("p")] * 200)
    low, high = scored.interval(seed=1, resamples=300)["intent_accuracy"]
    assert (low, high) == scored.interval(seed=1, resamples=300)["intent_accuracy"]
    share = scored.metrics().intent_accuracy
    assert low < share < high
    assert high - low == pytest.approx(2 * 1.96 * (share * (1 - share) / 200) ** 0.5, rel=0.2)


def test_a_predictor_is_asked_in_each_rows_locale() -> None:
    class Parrot:
        version = "parrot"

        def predict(self, utterances: Sequence[str], locale: str) -> list[Prediction]:
            return [Prediction(Interpretation(f"{locale}:{u}"), 1.0) for u in utterances]

    asked = (("a", "b-B"), ("c", "a-A"), ("d", "b-B"))
    gold = [Annotated(u, locale, Interpretation(f"{locale}:{u}")) for u, locale in asked]
    assert evaluate(Parrot(), gold).intent_accuracy == 1
    assert outcomes(Parrot(), []).metrics().examples == 0
