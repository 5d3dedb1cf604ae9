"""Normalisation, tokens and the slot mark-up."""

from __future__ import annotations

import gzip
import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.annotated import (
    Annotated,
    align_markup,
    massive_file,
    parse_markup,
    read_annotated,
    render_markup,
    write_annotated,
)
from schemas.errors import InputError
from schemas.normalise import formulation_id, normalise, squash, tokenise, words
from schemas.predictor import Interpretation, Slot

TEXT = st.text(
    alphabet=st.one_of(st.characters(exclude_categories=("Cs",)), st.sampled_from("aAßİıfiǅ ’'゛が京ก้កា한각́̈‍ 7７，。-")),
    max_size=40,
)


@given(TEXT)
def test_normalise_is_idempotent(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


def spelt_out(text: str) -> str:
    """As `normalise` documents it, a character at a time."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(token.text for token in tokenise(folded))


def test_the_quick_way_through_plain_letters_is_the_long_way() -> None:
    for code in range(0x2B0):
        for text in (
            chr(code),
            f"a{chr(code)}",
            f"{chr(code)}a",
            f"a{chr(code)}b",
            f"a{chr(code)}{chr(code)}b '{chr(code)}",
        ):
            assert normalise(text) == spelt_out(text), ascii(text)


@given(st.text(alphabet=st.characters(max_codepoint=0x2B0)))
def test_the_quick_way_is_the_long_way_for_any_plain_text(text: str) -> None:
    assert normalise(text) == spelt_out(text)


@given(TEXT)
def test_words_are_the_tokens_of_a_normalised_text(text: str) -> None:
    once = normalise(text)
    assert list(words(once)) == [token.text for token in tokenise(once)]


@given(TEXT)
def test_tokens_spell_their_text(text: str) -> None:
    cursor = 0
    for token in tokenise(text):
        assert token.text == text[token.start : token.end]
        assert token.start >= cursor
        assert token.end > token.start
        cursor = token.end


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  Wake me, at SEVEN!  ", "wake me at seven"),
        ("ＡＢＣ １２", "abc 12"),
        ("Straße", "strasse"),
        ("l’heure d'été", "l’heure d'été"),
        ("目覚まし を 七時 に", "目覚ましを七時に"),
        ("play 东风破 now", "play 东风破 now"),
        ("नमस्ते दुनिया", "नमस्ते दुनिया"),
        ("?!", ""),
    ],
)
def test_one_formulation(text: str, normal: str) -> None:
    assert normalise(text) == normal


def test_unspaced_scripts_are_cut_by_character_with_their_marks() -> None:
    assert [token.text for token in tokenise("น้ำแข็ง")] == ["น้", "ำ", "แ", "ข็", "ง"]
    assert [token.text for token in tokenise("東京 tower")] == ["東", "京", "tower"]
    assert squash(" 東 京 ") == "東京"


def test_formulation_ids_are_stable_and_of_one_locale() -> None:
    assert formulation_id("sw-KE", "niamshe") == formulation_id("sw-KE", "niamshe")
    assert formulation_id("sw-KE", "niamshe") != formulation_id("sw-TZ", "niamshe")
    assert len(formulation_id("sw-KE", "niamshe")) == 16


PLAIN = st.text(alphabet="ab é京 ", min_size=1, max_size=6)
VALUE = PLAIN.map(str.strip).filter(bool)


@given(st.lists(st.tuples(PLAIN, VALUE, st.sampled_from(["time", "place_name"])), max_size=4), PLAIN)
def test_markup_round_trip(pieces: list[tuple[str, str, str]], tail: str) -> None:
    utterance, slots = "", []
    for before, value, name in pieces:
        utterance += before
        slots.append(Slot(name, value, len(utterance), len(utterance) + len(value)))
        utterance += value
    utterance += tail
    assert parse_markup(render_markup(utterance, slots)) == (utterance, tuple(slots))


def test_markup_that_differs_in_white_space_is_aligned() -> None:
    assert align_markup("七時に起こして", "[time : 七時] に 起こして") == (Slot("time", "七時", 0, 2),)
    with pytest.raises(ValueError, match="does not spell"):
        align_markup("wake me", "[time : seven]")


def test_files_round_trip_and_faults_have_a_place(tmp_path: Path) -> None:
    slot = Slot("time", "saa moja", 8, 16)
    rows = [
        Annotated("niamshe saa moja", "sw-KE", Interpretation("alarm_set", (slot,)), "train"),
        Annotated("habari", "sw-KE", Interpretation("greet"), "dev"),
    ]
    assert write_annotated(tmp_path / "sw-KE.jsonl", rows) == 2
    assert read_annotated(tmp_path / "sw-KE.jsonl") == rows
    assert read_annotated(tmp_path / "sw-KE.jsonl", ["dev"]) == rows[1:]
    assert rows[0].signature == ("alarm_set", ("time",))
    with gzip.open(tmp_path / "de-DE.jsonl.gz", "wt", encoding="utf-8") as out:
        out.write(json.dumps({"utt": "x"}) + "\n")
    assert massive_file(tmp_path, "de-DE").name == "de-DE.jsonl.gz"
    with pytest.raises(InputError, match=r"de-DE\.jsonl\.gz:1: not a MASSIVE-format line"):
        read_annotated(tmp_path / "de-DE.jsonl.gz")
    with pytest.raises(InputError, match="it has de-DE, sw-KE"):
        massive_file(tmp_path, "fr-FR")
    with pytest.raises(InputError, match="no annotated file"):
        read_annotated(tmp_path / "none.jsonl")
