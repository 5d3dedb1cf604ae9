from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from retrain.bio import decode_bio, encode_bio, tokens_of
from schemas.annotated import parse_markup
from schemas.predictor import Slot

TEXTS = st.text(st.sampled_from("ab é'ก็ราคา東京は七時-.,9 ñİ한국"), max_size=24)


@given(TEXTS, st.data())
def test_spans_on_token_edges_survive_the_round_trip(text: str, data: st.DataObject) -> None:
    tokens = tokens_of(text)
    slots, cursor = [], 0
    while cursor < len(tokens):
        first = data.draw(st.integers(cursor, len(tokens) - 1))
        last = data.draw(st.integers(first, len(tokens) - 1))
        start, end = tokens[first].start, tokens[last].end
        if end - tokens[last].start == 1 and text[end : end + 1] == "." and text[end - 1].isalpha():
            end += 1  # an abbreviation's stop belongs to the span
        slots.append(Slot(data.draw(st.sampled_from(["time", "place-name"])), text[start:end], start, end))
        cursor = last + 1
        if data.draw(st.booleans()):
            break
    assert decode_bio(text, tokens, encode_bio(tokens, slots)) == tuple(slots)


@given(TEXTS, st.data())
def test_any_span_decodes_to_the_tokens_it_touches(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, max(0, len(text) - 1)))
    end = data.draw(st.integers(start + 1, len(text) + 1)) if text else 1
    tokens = tokens_of(text)
    tags = encode_bio(tokens, [Slot("x", text[start:end], start, end)])
    touched = [t for t in tokens if t.start < end and t.end > start]
    decoded = decode_bio(text, tokens, tags)
    assert len(decoded) == bool(touched)
    for slot in decoded:
        assert slot.start == touched[0].start
        assert slot.end - touched[-1].end in (0, 1)
        assert slot.value == text[slot.start : slot.end]


def test_a_span_that_cuts_a_token_covers_it() -> None:
    text = "rendez-vous at7pm"
    tokens = tokens_of(text)
    assert encode_bio(tokens, [Slot("time", "7pm", 14, 17)]) == ["O", "O", "B-time"]


def test_unspaced_scripts_are_tagged_by_character() -> None:
    text, slots = parse_markup("明日の[time : 午前七時]に起こして")
    tokens = tokens_of(text)
    assert encode_bio(tokens, slots)[3:7] == ["B-time", "I-time", "I-time", "I-time"]
    assert decode_bio(text, tokens, encode_bio(tokens, slots)) == slots


def test_neighbouring_spans_of_one_name_stay_two() -> None:
    text, slots = parse_markup("call [person : ann] [person : bob lee]")
    tokens = tokens_of(text)
    assert encode_bio(tokens, slots) == ["O", "B-person", "B-person", "I-person"]
    assert decode_bio(text, tokens, ["O", "B-person", "B-person", "I-person"]) == slots


def test_the_stop_of_an_abbreviation_belongs_to_the_span() -> None:
    text, slots = parse_markup("wake me at [time : two p. m.]")
    assert decode_bio(text, tokens_of(text), encode_bio(tokens_of(text), slots)) == slots


def test_token_text_is_folded_but_offsets_are_as_logged() -> None:
    assert [(t.text, t.start, t.end) for t in tokens_of("Ｐlay İt")] == [("play", 0, 4), ("i̇t", 5, 7)]
