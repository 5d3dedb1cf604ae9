"""What translations say of slots: planted types are found again, and tags are whole spans."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.slot_evidence import annotated
from mining.translated_tags import SURE, UNSURE, TranslatedTags, joined
from mining.translations import Translations
from schemas.annotated import parse_markup
from schemas.normalise import normalise, words
from schemas.segmentation import Segmenter

GOLD = [
    ("alarm_set", "wake me at [time : seven am]"),
    ("alarm_set", "wake me [date : tomorrow] at [time : nine]"),
    ("music_play", "play [song : tomorrow]"),
] * 20 + [("weather", "is it [weather : hot] [date : today]"), ("weather", "is it hot")]
FOUND = Translations(
    {
        "wake": (("niamshe", 0.9),),
        "tomorrow": (("kesho", 0.8),),
        "seven": (("saba", 0.7), ("moja", 0.2)),
        "nine": (("saba", 0.1),),
        "am": (("asubuhi", 0.5),),
        "hot": (("joto", 0.5),),
    }
)


def _tags(found: Translations = FOUND, segmenter: Segmenter | None = None) -> TranslatedTags:
    said = [(intent, *parse_markup(marked)) for intent, marked in GOLD]
    gold = [annotated(text, intent, slots) for intent, text, slots in said]
    return TranslatedTags.of(found, gold, segmenter or Segmenter())


def test_a_word_is_of_the_type_that_its_translations_are_of_in_the_intent() -> None:
    tags = _tags()
    assert tags.types("kesho", "alarm_set")["date"] == pytest.approx((20 + 0.5) / (20.5), abs=1e-9)
    assert set(tags.types("kesho", "music_play")) == {"song"}
    assert tags.types("saba", "alarm_set") == {"time": 1.0}
    assert tags.types("neno", "alarm_set") == {}
    assert tags.types("kesho", "joke_tell") == {}  # no type that the intent has, and never a carrier
    assert sum(tags.types("joto", "weather").values()) == pytest.approx(1)


def test_taggings_are_spans_and_leave_open_what_has_no_translation() -> None:
    sure, *unsure = _tags().taggings(("niamshe", "kesho", "saa", "saba", "asubuhi"), "alarm_set")
    assert sure.source == SURE
    assert sure.tags == ("O", "B-date", None, "B-time", "I-time")
    assert not unsure
    (told,) = _tags().taggings(("joto",), "weather")
    assert (told.source, told.tags) == (UNSURE, ("B-weather",))
    assert _tags().taggings(("hujambo",), "alarm_set") == ()
    assert _tags().taggings((), "alarm_set") == ()


def test_a_word_of_several_characters_is_one_value() -> None:
    texts = ["明日起こして", "明日かけて", "明日の天気", "今日の天気"]
    segmenter = Segmenter.learn([normalise(text) for text in texts] * 3)
    found = Translations({"tomorrow": (("明日", 0.9),)})
    (told,) = _tags(found, segmenter).taggings(words("明日起こして"), "alarm_set")
    assert told.tags == ("B-date", "I-date", None, None, None, None)


@given(st.text(st.sampled_from("ab1 -éнあ明日ー.ก"), max_size=20))
def test_tokens_are_joined_to_the_text_that_they_are_of(text: str) -> None:
    normal = normalise(text)
    assert joined(words(normal)) == normal


@given(st.lists(st.sampled_from(["kesho", "saba", "asubuhi", "niamshe", "x"]), max_size=8))
def test_a_span_goes_on_only_after_one_of_its_type(tokens: list[str]) -> None:
    for told in _tags().taggings(tokens, "alarm_set"):
        assert len(told.tags) == len(tokens)
        for before, tag in zip((None, *told.tags), told.tags, strict=False):
            if tag is not None and tag[0] == "I":
                assert before is not None
                assert before[2:] == tag[2:]
