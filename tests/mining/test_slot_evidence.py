"""What a log says about slots, token by token."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.slot_evidence import (
    MOST_PARTNERS,
    Vote,
    alike,
    answered,
    carried,
    in_frames,
    kept,
    sighting,
    spans_of,
    substituted,
    tags_of,
    words,
)
from schemas.predictor import Slot


def text(sentence: str) -> tuple[str, ...]:
    return words(sentence)[1]


def test_what_stays_when_the_wording_changes() -> None:
    others = {text("niamshe saa moja"): 1.0, text("kengele ya saa moja tafadhali"): 0.5}
    shares, partners = kept(text("weka kengele saa moja"), others)
    assert partners == 1.5
    assert shares == (0.0, 0.5, 1.5, 1.5)


def test_many_partners_count_for_no_more_than_the_cap() -> None:
    others = {text(f"niamshe saa moja {i}"): 1.0 for i in range(40)}
    shares, partners = kept(text("weka saa"), others)
    assert partners == MOST_PARTNERS
    assert shares == (0.0, pytest.approx(MOST_PARTNERS))


def test_a_value_spelt_two_ways_by_the_recogniser_stays() -> None:
    assert kept(text("cheza nyashinski"), {text("tia wimbo wa nyashinsky"): 1.0})[0] == (0.0, 1.0)
    assert alike("kisumu", "kisumuu")
    assert not alike("saa", "sala")  # short words are other words
    assert not alike("七", "八")


def test_what_varies_in_a_frame() -> None:
    texts = [text(t) for t in ("wake me at seven", "wake me at eight", "wake me at nine", "play some jazz")]
    found = substituted(texts)
    assert found[0][-1] == 2
    assert found[3] == (0, 0, 0)
    # A misheard word is no other filler.
    assert substituted([text("hali ya kisumu"), text("hali ya kisumuu")])[0] == (0, 0, 0)


def test_a_frame_has_a_word() -> None:
    assert substituted([text("seven"), text("eight")]) == [(0,), (0,)]


def test_frames_of_another_intent_do_not_count() -> None:
    one = sighting("call mama", "call_make", (), (), ())
    other = sighting("call off", "alarm_remove", (), (), ())
    assert [s.substituted for s in in_frames([one, other])] == [(0, 0), (0, 0)]


def test_an_answer_marks_its_words_in_the_request_and_nothing_else() -> None:
    utterance = "weka kengele saa moja"
    tokens = words(utterance)[0]
    assert answered(utterance, tokens, "time", "saa moja") == (None, None, "B-time", "I-time")
    assert answered(utterance, tokens, "time", "saa mbili") is None


def test_values_that_are_not_all_found_say_nothing_of_the_rest() -> None:
    utterance = "weka kengele saa moja"
    tokens = words(utterance)[0]
    assert carried(utterance, tokens, [("time", "saa moja")]) == ("O", "O", "B-time", "I-time")
    some = carried(utterance, tokens, [("time", "saa moja"), ("date", "kesho")])
    assert some == (None, None, "B-time", "I-time")


def test_sources_of_a_formulation() -> None:
    votes = [
        Vote("own", "alarm_set", (), bits=-3.0),
        Vote("own", "alarm_set", (), bits=-1.0),
        Vote("own", "qa_factoid", (), bits=-4.0),
        Vote("rephrase", "alarm_set", (("time", "saa moja"),), 0.7),
        Vote("rephrase", "qa_factoid", (("place", "kengele"),), 0.9),  # of an intent that did not win
    ]
    answers = [("time", "saa moja", 9)]
    found = sighting("weka kengele saa moja", "alarm_set", votes, [("niamshe saa moja", 0.8)], answers)
    assert [(t.source, t.weight) for t in found.taggings] == [
        ("own", 1.0),
        ("other", 0.7),
        ("rephrase", 0.7),
        ("answer", 2.0),
    ]
    assert found.kept == (0.0, 0.0, 0.8, 0.8)
    assert found.served == ((("O",) * 4, -2.0),)


def test_what_a_model_was_taught_is_no_tagging_but_its_users_still_speak() -> None:
    taught = Vote("own", "alarm_set", (("time", "saa moja"),), bits=3.0, taught=True)
    said = Vote("rephrase", "alarm_set", (("time", "saa moja"),), 0.7, taught=True)
    found = sighting("weka kengele saa moja", "alarm_set", [taught, said], (), ())
    assert found.taggings == ()
    assert found.served == ((("O", "O", "B-time", "I-time"), 3.0),)


def test_values_spelt_two_ways_are_one_answer() -> None:
    votes = [
        Vote("own", "alarm_set", (("time", value),), bits=bits) for value, bits in (("saa moja", 2), ("Saa Moja", 4))
    ]
    found = sighting("weka kengele Saa moja", "alarm_set", votes, (), ())
    assert found.served == ((("O", "O", "B-time", "I-time"), 3.0),)


def test_an_answer_of_which_not_all_values_are_found_was_not_served_in_these_words() -> None:
    half = Vote("own", "alarm_set", (("time", "saa moja"), ("date", "kesho")), bits=3.0)
    assert sighting("weka kengele saa moja", "alarm_set", [half], (), ()).served == ()


def test_the_stop_of_an_abbreviation_belongs_to_its_span() -> None:
    utterance = "news from b. b. c. please"
    tokens = words(utterance)[0]
    (span,) = spans_of(utterance, tokens, ("O", "O", "B-media", "I-media", "I-media", "O"))
    assert span == Slot("media", "b. b. c.", 10, 18)


@pytest.mark.parametrize("utterance", ["wake me at half past nine on friday", "明日の七時に起こして"])
@given(data=st.data())
def test_spans_survive_tags(utterance: str, data: st.DataObject) -> None:
    tokens = words(utterance)[0]
    cuts = sorted(data.draw(st.sets(st.integers(0, len(tokens)), max_size=6)))
    spans = [
        Slot(name, utterance[tokens[a].start : tokens[b - 1].end], tokens[a].start, tokens[b - 1].end)
        for name, a, b in zip("xyxyxy", cuts[::2], cuts[1::2], strict=False)
    ]
    assert spans_of(utterance, tokens, tags_of(tokens, spans)) == tuple(spans)
