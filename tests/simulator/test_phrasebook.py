"""The phrasebook keeps its promises: counts, fillers, one vocabulary, an unspoken test part."""

from __future__ import annotations

import pytest

from schemas.errors import InputError
from schemas.normalise import normalise
from simulator.catalogue import OUT_OF_SCOPE
from simulator.phrasebook import Phrasebook, locales, read_book

OPPOSITES = (("light_on", "light_off"), ("volume_up", "volume_down"), ("alarm_set", "alarm_cancel"))


def test_locales() -> None:
    assert locales() == ["en-US", "es-ES"]


@pytest.mark.parametrize("locale", ["en-US", "es-ES"])
def test_counts(locale: str) -> None:
    book = read_book(locale)
    assert book.locale == locale
    assert len(book.intents) >= 14
    assert all(intent in book.intents for pair in OPPOSITES for intent in pair)
    for intent, ways in book.intents.items():
        assert len(set(ways)) == len(ways) >= 16, intent
        signatures = {w.signature for w in ways}
        assert len(signatures) >= 2, intent
        for signature in signatures:
            assert sum(w.signature == signature for w in ways) >= 4, signature
    assert len(set(book.out_of_scope)) == len(book.out_of_scope) >= 25
    assert all(15 <= len(set(found)) == len(found) <= 30 for found in book.fillers.values())


@pytest.mark.parametrize("locale", ["en-US", "es-ES"])
def test_every_place_has_fillers_and_every_filler_a_place(locale: str) -> None:
    book = read_book(locale)
    named = {name for ways in book.intents.values() for w in ways for name in w.names}
    assert named == set(book.fillers)


@pytest.mark.parametrize("locale", ["en-US", "es-ES"])
def test_texts_are_written_as_a_recogniser_writes(locale: str) -> None:
    book = read_book(locale)
    texts = [*book.out_of_scope, *book.cancel, *(v for found in book.fillers.values() for v in found)]
    texts += [" x ".join(w.literals).strip() for ways in book.intents.values() for w in ways]
    for text in texts:
        assert normalise(text) == " ".join(text.split()), text
        assert not any(c.isdigit() for c in text), text
    for ways in book.intents.values():
        for wording in ways:
            for literal, before, after in zip(
                wording.literals, (None, *wording.names), (*wording.names, None), strict=True
            ):
                assert "  " not in literal
                assert before is None or literal == "" or literal.startswith(" ")
                assert after is None or literal == "" or literal.endswith(" ")


def test_no_template_says_two_things(phrasebook: Phrasebook) -> None:
    for locale in locales():
        meaning: dict[tuple[str, ...], str] = {}
        for intent, ways in read_book(locale).intents.items():
            for wording in ways:
                shape = tuple(
                    part for pair in zip(wording.literals, (*wording.names, ""), strict=True) for part in pair
                )
                assert meaning.setdefault(shape, intent) == intent, (locale, wording)


def test_both_locales_have_the_same_vocabulary() -> None:
    english, spanish = read_book("en-US"), read_book("es-ES")
    assert english.intents.keys() == spanish.intents.keys()
    assert english.fillers.keys() == spanish.fillers.keys()
    for intent in english.intents:
        assert {w.signature for w in english.intents[intent]} == {w.signature for w in spanish.intents[intent]}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_quarter_is_never_spoken(seed: int) -> None:
    book = Phrasebook(seed, fillings=2)
    for locale in locales():
        for intent, ways in read_book(locale).intents.items():
            tested = [w for w in ways if w in book.test_wordings(locale)]
            assert len(tested) == round(0.25 * len(ways)), intent
    spoken = {w for ways in book.wordings.values() for w in ways}
    assert not spoken & book.test_wordings("es-ES")
    assert all(len(ways) >= 2 for ways in book.wordings.values())
    assert Phrasebook(seed, fillings=2).test_wordings("es-ES") == book.test_wordings("es-ES")


def test_gold(phrasebook: Phrasebook) -> None:
    for locale in locales():
        texts = {p: [row.utterance for row in phrasebook.gold(locale, p)] for p in ("train", "dev", "test")}
        assert all(len(set(t)) == len(t) > 50 for t in texts.values())
        assert not set(texts["train"]) & {*texts["dev"], *texts["test"]}
        for partition in texts:
            for row in phrasebook.gold(locale, partition):
                assert (row.locale, row.partition) == (locale, partition)
                assert all(row.utterance[s.start : s.end] == s.value for s in row.interpretation.slots)
        train = phrasebook.gold(locale, "train")
        assert {r.interpretation.intent for r in train} == {*phrasebook.intents, OUT_OF_SCOPE}
    with pytest.raises(InputError, match=r"no train gold of fr-FR"):
        phrasebook.gold("fr-FR")


def test_seed_labels(phrasebook: Phrasebook) -> None:
    chosen = phrasebook.seed_labels(30, seed=1)
    assert len({row.utterance for row in chosen}) == 30
    assert chosen == phrasebook.seed_labels(30, seed=1) != phrasebook.seed_labels(30, seed=2)
    assert {row.utterance for row in chosen} <= {r.utterance for r in phrasebook.gold("es-ES", "train")}
    with pytest.raises(InputError, match="ask for at most"):
        phrasebook.seed_labels(10**6, seed=1)


def test_required_slots(phrasebook: Phrasebook) -> None:
    assert phrasebook.required_slots("alarm_set") == ("time",)
    assert phrasebook.required_slots("light_on") == ()
    assert phrasebook.required_slots("no_such_intent") == ()


def test_missing_phrasebook() -> None:
    with pytest.raises(InputError, match="it has en-US, es-ES"):
        Phrasebook(0, "en-US", "sw-KE")
