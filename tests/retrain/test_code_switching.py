"""Annotated utterances in another language's words: meaning and spans stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_language import CYRILLIC, toy_rows, toy_settings

from retrain.bio import tokens_of
from retrain.code_switching import code_switched
from retrain.evaluate import evaluate
from retrain.lexicon import BilingualLexicon, learn_lexicon
from retrain.plan import balanced
from retrain.train import finetune, pretrain, train
from schemas.annotated import write_annotated
from schemas.errors import InputError
from schemas.lake import Lake
from schemas.normalise import normalise, words
from schemas.settings import EncoderSettings

ROWS = toy_rows(60, 1)
KNOWN = sorted({word for e in ROWS for word in words(normalise(e.utterance))})


@given(st.sets(st.sampled_from(KNOWN)), st.integers(0, 2**32), st.integers(0, len(ROWS) - 1))
def test_intent_and_spans_stay(translated: set[str], seed: int, row: int) -> None:
    lexicon = BilingualLexicon(
        {word: (("neno" + word, 0.75), ("ya" + word, 0.25)) for word in translated} | {"unsaid": (("x", 1.0),)}
    )
    before = ROWS[row]
    after = code_switched(before, lexicon, "sw-KE", np.random.default_rng(seed))
    assert (after.intent, after.locale, after.source) == (before.intent, "sw-KE", "code_switched")
    assert [s.name for s in after.slots or ()] == [s.name for s in before.slots or ()]
    for one, other in zip(before.slots or (), after.slots or (), strict=True):
        assert after.utterance[other.start : other.end] == other.value
        for word, said in zip(one.value.split(), other.value.split(), strict=True):
            assert said in (word, "neno" + word, "ya" + word)
            assert word in translated or said == word
    assert tokens_of(after.utterance)


def test_words_that_the_lexicon_has_are_said_in_its_shares() -> None:
    lexicon = BilingualLexicon({"please": (("tafadhali", 0.75), ("naomba", 0.25))})
    row = next(e for e in ROWS if e.utterance.endswith("please"))
    random = np.random.default_rng(2)
    said = [code_switched(row, lexicon, "sw-KE", random).utterance.split()[-1] for _ in range(2000)]
    assert said.count("tafadhali") / 2000 == pytest.approx(0.95 * 0.75, abs=0.05)
    assert said.count("please") / 2000 == pytest.approx(0.05, abs=0.02)


def test_a_language_without_labels_is_understood_through_parallel_text() -> None:
    """The foreign spelling shares no word with English but names; thirty sentences are known in both."""
    english, foreign = toy_rows(200, 1), [e.annotated for e in toy_rows(150, 7, "xx-XX", foreign=True)]
    parallel = [(words(e.utterance), [w.translate(CYRILLIC) for w in words(e.utterance)]) for e in toy_rows(30, 8)]
    lexicon = learn_lexicon(parallel)
    settings = toy_settings(pretrain_epochs=4)
    start = pretrain(settings, english)
    taught = finetune(settings, start, [], source=english, locale="xx-XX", lexicon=lexicon)
    before, after = evaluate(start, foreign), evaluate(taught, foreign)
    assert after.intent_accuracy > max(0.9, before.intent_accuracy + 0.3)
    with pytest.raises(InputError, match="no training rows in xx-XX"):
        finetune(settings, start, [], source=english, locale="xx-XX", lexicon=BilingualLexicon({}))


def test_annotations_are_shown_again_beside_many_switched_rows() -> None:
    rows = toy_rows(10, 1)
    assert balanced(rows, 3.0) == rows
    shown = balanced(rows, 3.0, beside=45)
    assert len(shown) == 40
    assert {e.weight for e in shown} == {3.0}
    assert balanced([], 3.0, beside=45) == []


def test_a_launch_without_labels_is_trained_on_what_parallel_text_says(tmp_path: Path) -> None:
    """From the settings: the files are read, the version differs with them, and the model says what it knows."""
    english = toy_rows(120, 1)
    write_annotated(tmp_path / "en-US.jsonl", [e.annotated for e in english])
    said = [f"{' '.join(words(e.utterance)).translate(CYRILLIC)}\t{e.utterance}" for e in toy_rows(30, 8)]
    (tmp_path / "said.tsv").write_text("\n".join(said) + "\n", encoding="utf-8")
    lake = Lake(tmp_path / "lake").open(create=True)
    alone = toy_settings(pretrain_epochs=3, finetune_epochs=2, gold=[tmp_path / "en-US.jsonl"])
    beside = alone.model_copy(update={"encoder": EncoderSettings(parallel=(tmp_path / "said.tsv",))})
    first, second = train(alone, lake), train(beside, lake)
    assert (first.parameters["lexicon"], int(second.parameters["lexicon"]) > 10) == ("0", True)
    assert first.run_id != second.run_id
    foreign = [e.annotated for e in toy_rows(100, 7, "xx-XX", foreign=True)]
    gain = evaluate(second.predictor, foreign).intent_accuracy - evaluate(first.predictor, foreign).intent_accuracy
    assert gain > 0.2
    assert second.predictor.locale == "xx-XX"
