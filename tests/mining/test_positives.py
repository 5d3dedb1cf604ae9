"""What the encoder learns from: pairs within signatures, and near texts of another intent."""

from __future__ import annotations

from math import log

from hypothesis import given
from hypothesis import strategies as st

from mining.positives import gold_positives, halves, hard_negatives, signature_positives
from schemas.normalise import normalise, words

WORDS = st.lists(st.sampled_from(["on", "off", "light", "alarm", "七"]), min_size=1, max_size=5).map(" ".join)


def test_positives_of_signatures_stay_inside_their_group() -> None:
    texts = [["a1", "a2", "a3"], ["b1"], ["c1", "c2", "c2"]]
    pairs = signature_positives(texts, most=100, seed=1)
    assert {p.left for p in pairs} == {"a1", "a2", "a3", "c1", "c2"}
    assert all(p.left != p.right and p.left[0] == p.right[0] for p in pairs)
    assert len({p.group for p in pairs}) == 2
    assert -1 not in {p.group for p in pairs}
    assert signature_positives(texts, most=100, seed=1) == pairs
    fewer = signature_positives(texts, most=2, seed=1)
    assert len(fewer) == 2
    assert set(fewer) <= set(pairs)


def test_gold_positives_share_locale_and_signature() -> None:
    from schemas.annotated import Annotated, parse_markup
    from schemas.predictor import Interpretation

    def row(locale: str, intent: str, marked: str) -> Annotated:
        text, slots = parse_markup(marked)
        return Annotated(text, locale, Interpretation(intent, slots))

    rows = [
        row("en-US", "alarm_set", "Wake me at [time : seven]"),
        row("en-US", "alarm_set", "alarm at [time : eight]"),
        row("en-US", "alarm_set", "set an alarm"),
        row("de-DE", "alarm_set", "weck mich um [time : sieben]"),
        row("en-US", "alarm_remove", "no alarm at [time : eight]"),
        row("de-DE", "alarm_remove", "kein alarm at [time : eight]"),
    ]
    pairs = gold_positives(rows, seed=1)
    assert {(p.left, p.right, p.negative) for p in pairs} == {
        ("wake me at seven", "alarm at eight", ""),  # only "at" is shared, which stands everywhere
        ("alarm at eight", "wake me at seven", "no alarm at eight"),
    }


def test_a_hard_negative_is_the_nearest_text_of_another_intent() -> None:
    intents = {
        "turn the light on": "light_on",
        "turn light on please": "light_on",
        "turn the light off": "light_off",
        "play some jazz": "music",
        "": "music",
    }
    found = hard_negatives(intents)
    assert found["turn the light on"] == "turn the light off"
    assert found["turn the light off"] == "turn the light on"
    assert found["turn light on please"] == "turn the light off"
    assert "play some jazz" not in found  # shares no word with another
    assert hard_negatives({"alone": "x"}) == hard_negatives({}) == {}


@given(st.dictionaries(WORDS, st.sampled_from(["a", "b", "c"]), max_size=12))
def test_hard_negatives_are_those_of_a_naive_reading(intents: dict[str, str]) -> None:
    texts, cosines = sorted(intents), {}
    tokens = {text: text.split() for text in texts}
    seen = {t: sum(t in tokens[text] for text in texts) for text in texts for t in tokens[text]}

    def vector(text: str) -> dict[str, float]:
        weights = {
            t: (1 + log(tokens[text].count(t))) * (log((1 + len(texts)) / (1 + seen[t])) + 1) for t in tokens[text]
        }
        length = sum(w * w for w in weights.values()) ** 0.5
        return {t: w / length for t, w in weights.items()}

    for one in texts:
        for other in texts:
            if intents[one] != intents[other]:
                left, right = vector(one), vector(other)
                cosines[one, other] = sum(left[t] * right.get(t, 0.0) for t in left)
    for one, other in (found := hard_negatives(intents)).items():
        assert cosines[one, other] >= max(v for (a, _), v in cosines.items() if a == one) - 1e-9
    for one in texts:
        best = max((v for (a, _), v in cosines.items() if a == one), default=0.0)
        assert (one in found) == (best >= 0.2 or (abs(best - 0.2) < 1e-9 and one in found))


@given(st.lists(st.text(alphabet="ab cé七時に", max_size=20), max_size=6), st.integers(0, 3))
def test_halves_part_the_tokens_of_a_text(texts: list[str], seed: int) -> None:
    found = halves(texts, seed=seed)
    assert found == halves(reversed(texts), seed=seed)
    longer = sorted({t for t in map(normalise, texts) if len(words(t)) >= 4})
    assert len(found) == len(longer)
    for pair, text in zip(found, longer, strict=True):
        one, other = words(pair.left), words(pair.right)
        assert one
        assert other
        assert sorted(one + other) == sorted(words(text))
        rest = iter(words(text))
        assert all(token in rest for token in one)  # in order


def test_halves_are_drawn_from_no_more_texts_than_asked_for() -> None:
    texts = [f"turn the {word} on please" for word in ("light", "fan", "radio", "oven")]
    assert len(halves(texts, seed=1, most=2)) == 2
    for seed in range(5):
        [cut] = halves(["七時に起こして"], seed=seed)
        assert cut.left + cut.right == "七時に起こして"
