"""The second pass of `pseudo_labels`, without Spark: which labels get slots, and which stay open."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from jobs.slot_labels import STAGED, SlotLabels, settle
from mining.slot_evidence import Sighting, annotated, in_frames, sighting
from mining.slot_fit import fit_slots
from mining.slot_types import allowed_slots, rarely_bare
from mining.translated_tags import TranslatedTags
from mining.translations import Translations
from schemas.annotated import Annotated, parse_markup
from schemas.predictor import Interpretation
from schemas.segmentation import Segmenter
from schemas.settings import LabelSettings

GOLD = [
    ("alarm_set", "weka kengele [time : saa moja]"),
    ("alarm_set", "niamshe [time : saa mbili]"),
    ("alarm_set", "kengele [time : saa tatu] tafadhali"),
    ("joke_tell", "niambie mzaha"),
    ("joke_tell", "mzaha mwingine"),
    ("joke_tell", "mzaha wa [topic : mbuzi]"),
] * 3

MATURE = {"noon": (("adhuhuri", 0.9),), "thanks": (("asante", 0.9),)}


def _gold() -> list[Annotated]:
    rows = []
    for intent, marked in GOLD:
        text, slots = parse_markup(marked)
        rows.append(Annotated(text, "sw-KE", Interpretation(intent, slots)))
    return rows


def _row(text: str, intent: str, status: str = "accepted", seen: bool = True) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(STAGED.names)
    return empty | {
        "formulation_id": text,
        "locale": "sw-KE",
        "utterance": text,
        "cluster_id": "c",
        "status": status,
        "why": "",
        "intent": intent,
        "intents": [],
        "users": 9,
        "own_users": 9,
        "events": 9,
        "sources": [],
        "pair_ids": [],
        "sighting": pickle.dumps(sighting(text, intent, (), (), ())) if seen else None,
    }


def _settled(
    rows: list[dict[str, Any]], least: float, level: float = 0.9, mature: Sequence[Sighting] = ()
) -> dict[str, dict[str, Any]]:
    gold = _gold()
    taught = [annotated(r.utterance, r.interpretation.intent, r.interpretation.slots) for r in gold]
    model = fit_slots(in_frames(taught), allowed_slots(r.signature for r in gold))
    by_intent = {i: [t for t in taught if t.intent == i] for i in model.intents}
    translated = TranslatedTags.of(Translations(MATURE), mature, Segmenter()) if mature else None
    of_locale = SlotLabels(model, by_intent, rarely_bare(r.signature for r in gold), Translations(MATURE), translated)
    ordered = sorted(rows, key=lambda r: (r["intent"] or "", r["utterance"]))
    settings = LabelSettings(min_slot_posterior=least, tag_level=level)
    batches = pa.Table.from_pylist(ordered, schema=STAGED).to_batches()
    made = [row for batch in settle({"sw-KE": of_locale}, settings)(batches) for row in batch.to_pylist()]
    assert len(made) == len(rows)
    assert all(row["tags"] is None or row["slots"] is None for row in made)
    return {row["utterance"]: row for row in made}


def test_which_labels_get_slots() -> None:
    found = _settled(
        [
            _row("niamshe saa tatu", "alarm_set"),
            _row("niamshe tafadhali", "alarm_set"),  # nothing found, where there nearly always is something
            _row("niambie mzaha mwingine", "joke_tell"),  # nothing found, where there mostly is nothing
            _row("weka kengele saa mbili", "alarm_set", "too_few_users"),
            _row("kengele", "alarm_set", "contested", seen=False),
        ],
        0.3,
    )
    assert [(s["name"], s["value"]) for s in found["niamshe saa tatu"]["slots"]] == [("time", "saa tatu")]
    assert found["niamshe saa tatu"]["slot_posterior"] > 0.3
    assert found["niamshe tafadhali"]["slots"] is None
    assert found["niambie mzaha mwingine"]["slots"] == []
    assert found["weka kengele saa mbili"]["slots"] is None
    assert found["kengele"]["slots"] is None


def test_below_the_threshold_all_stay_open() -> None:
    found = _settled([_row("niamshe saa tatu", "alarm_set"), _row("niambie mzaha", "joke_tell")], 1.0)
    assert all(row["slots"] is None or row["slot_posterior"] >= 1.0 for row in found.values())
    assert all(row["slot_posterior"] is not None for row in found.values())


def test_open_labels_keep_the_tags_of_settled_tokens() -> None:
    """What is asked for is a time, that the new word begins."""
    texts = ("niamshe jioni tafadhali", "kengele")
    rows = [_row(text, "alarm_set") for text in texts]
    found = _settled([*rows, _row("weka kengele", "alarm_set", "too_few_users")], 1.0, 0.8)
    niamshe, jioni, tafadhali = found["niamshe jioni tafadhali"]["tags"]
    assert niamshe == ["O"]
    assert jioni == ["B-time"]
    assert tafadhali == ["O", "I-time"], "the end of the time is open"
    assert found["kengele"]["tags"] is None, "an alarm has a time: nothing found says nothing"
    assert found["weka kengele"]["tags"] is None, "no label"


def test_a_word_that_says_a_value_of_the_mature_language_is_one() -> None:
    text = "niamshe adhuhuri asante"
    spoken = [parse_markup("wake me at [time : noon] thanks"), parse_markup("an alarm for [time : noon]")] * 10
    mature = [annotated(said, "alarm_set", slots) for said, slots in spoken]
    without, told = (_settled([_row(text, "alarm_set")], 0.5, mature=some)[text] for some in ((), mature))
    assert told["slots"] is without["slots"] is None  # one word, where two are usual
    assert told["tags"][1] == ["B-time"]
    assert len(without["tags"][1]) == 2
