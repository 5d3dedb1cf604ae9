"""A planted language: the spans are known, the sources lie at known rates."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from mining.hidden_markov import backward, forward
from mining.slot_evidence import Sighting, Tagging, annotated, in_frames, tags_of, words
from mining.slot_fit import fit_slots
from mining.slot_model import SlotModel, emissions, intent_batches, marginals, transitions
from mining.slot_types import allowed_slots, heard_slots, rarely_bare
from schemas.predictor import Slot

FRAMES = {
    "alarm_set": ("weka kengele {time}", "niamshe {time} {date}", "kengele {date} {time} tafadhali", "niamshe {time}"),
    "weather_query": ("hali ya hewa {place}", "mvua {date} {place}", "je kuna mvua {place} {date}"),
    "music_play": ("cheza {artist}", "tia wimbo wa {artist}", "nataka {artist} sasa"),
}
FILLERS = {
    "time": ("saa moja", "saa mbili", "saa tatu usiku", "alfajiri"),
    "date": ("kesho", "leo", "jumatatu ijayo"),
    "place": ("nairobi", "dar es salaam", "mombasa", "kisumu"),
    "artist": ("sauti sol", "nyashinski", "bahati", "nadia mukami"),
}
RATES = {
    intent: {name: 1.0 for frame in frames for name in FILLERS if f"{{{name}}}" in frame}
    for intent, frames in FRAMES.items()
}


def planted() -> list[tuple[str, str, tuple[Slot, ...]]]:
    """(intent, utterance, slots) of every frame with every filling."""
    made = []
    for intent, frames in FRAMES.items():
        for frame in frames:
            names = [part.split("}")[0] for part in frame.split("{")[1:]]
            for values in product(*(FILLERS[name] for name in names)):
                text, slots = frame, []
                for name, value in zip(names, values, strict=True):
                    start = text.index(f"{{{name}}}")
                    text = text.replace(f"{{{name}}}", value, 1)
                    slots.append(Slot(name, value, start, start + len(value)))
                made.append((intent, text, tuple(slots)))
    return made


SIGNATURES = [(intent, [slot.name for slot in slots]) for intent, _, slots in planted()]


def noisy(seed: int = 3, missed: float = 0.4, wrong: float = 0.1, partners: float = 3.0) -> list[Sighting]:
    """One lying tagger, and kept counts: fillers stay nearly always, carriers often."""
    rng = np.random.default_rng(seed)
    made = []
    for intent, text, slots in planted():
        told = []
        for slot in slots:
            draw = rng.random()
            if draw < wrong:
                told.append(Slot(rng.choice(sorted(FILLERS)), slot.value, slot.start, slot.end))
            elif draw > wrong + missed:
                told.append(slot)
        tokens, normal = words(text)
        gold = tags_of(tokens, slots)
        stay = tuple(float(rng.binomial(partners, 0.4 if tag == "O" else 0.9)) for tag in gold)
        made.append(Sighting(normal, intent, (Tagging("own", tags_of(tokens, told), 1.0),), stay, partners))
    return in_frames(made)


def spans(tags: tuple[str | None, ...]) -> set[tuple[str, int]]:
    return {(tag, i) for i, tag in enumerate(tags) if tag != "O"}


def recall_and_precision(found: list[tuple[str | None, ...]]) -> tuple[float, float]:
    gold = [spans(tags_of(words(text)[0], slots)) for _, text, slots in planted()]
    said = [spans(tags) for tags in found]
    right = sum(len(g & s) for g, s in zip(gold, said, strict=True))
    return right / sum(map(len, gold)), right / max(sum(map(len, said)), 1)


def test_spans_that_the_tagger_missed_are_found() -> None:
    sightings = noisy()
    tagger = recall_and_precision([s.taggings[0].tags for s in sightings])
    model = fit_slots(sightings, allowed_slots(SIGNATURES))
    recall, precision = recall_and_precision([d.tags for d in model.decode(sightings)])
    assert tagger[0] < 0.55
    assert recall > 0.88, (tagger, recall, precision)
    assert precision > 0.88


def test_as_many_slots_are_expected_as_are_known_to_be_there() -> None:
    """A tagger that misses nine values in ten is no reason to find few; where nothing is known, it is believed."""
    sightings = noisy(missed=0.9, wrong=0.0)
    rates = allowed_slots(SIGNATURES)
    found = {}
    for name, held in (("held", rates), ("free", {})):
        model = fit_slots(sightings, rates, held=held)
        found[name] = 0.0
        for batch in intent_batches(model, sightings):
            emitted = emissions(model, sightings, batch)
            moves = transitions(model, batch, sightings[batch.rows[0]].intent)
            behind = backward(emitted, moves, batch.mask)[0]
            gamma = marginals(forward(emitted, moves, batch.mask)[0], behind, [[] for _ in batch.rows])
            found[name] += float((gamma[..., 1::2] * batch.mask[..., None]).sum())
    there = sum(len(slots) for _, _, slots in planted())
    assert found["held"] == pytest.approx(there, rel=0.05)
    assert found["free"] < 0.9 * there


def answered(sightings: list[Sighting], heard: float) -> list[Sighting]:
    """Users who accept the tagger's right answers and refuse its wrong ones, by so many bits."""
    made = []
    for s, (_, text, slots) in zip(sightings, planted(), strict=True):
        told = s.taggings[0].tags
        right = told == tags_of(words(text)[0], slots)
        made.append(replace(s, served=((told, heard if right else -heard),)))
    return made


def test_users_who_refuse_an_answer_teach_its_slots() -> None:
    """The tagger is silent about half of the spans: without its users one iteration believes it."""
    sightings = noisy(missed=0.5, wrong=0.0, partners=0.0)
    alone = recall_and_precision([d.tags for d in fit_slots(sightings, RATES).decode(sightings)])
    told = answered(sightings, 4.0)
    decoded = fit_slots(told, RATES).decode(told)
    heard = recall_and_precision([d.tags for d in decoded])
    assert heard[0] > alone[0] + 0.1
    assert heard[1] > 0.85
    refused = [d for s, d in zip(told, decoded, strict=True) if s.served[0][1] < 0 and d[0] == s.served[0][0]]
    assert not [p for _, p in refused if p > 0.5]


def test_an_intent_without_slots_is_settled_beside_one_that_was_answered() -> None:
    """Only one sequence exists, and it must not be lost where more were asked for."""
    bare = [Sighting(("habari", "yako"), "greet"), Sighting(("habari",), "greet", served=((("O",), 3.0),))]
    decoded = fit_slots([*noisy(), *bare], RATES | {"greet": {}}).decode(bare)
    assert [d.tags for d in decoded] == [("O", "O"), ("O",)]
    assert min(d.posterior for d in decoded) > 0.9


def test_a_few_annotated_utterances_and_answers_anchor_a_log_without_a_tagger() -> None:
    sightings = [replace(s, taggings=()) for s in noisy()]
    taught = [annotated(text, intent, slots) for intent, text, slots in planted()[::9]]
    fillers = [("time", ("saa", "moja"), 3.0), ("artist", ("sauti", "sol"), 3.0)]
    recall, precision = recall_and_precision(
        [d.tags for d in fit_slots(in_frames(sightings + taught), RATES, fillers).decode(sightings)]
    )
    assert recall > 0.8
    assert precision > 0.8


def test_the_posterior_tells_right_from_wrong() -> None:
    sightings = noisy(missed=0.7, wrong=0.2, partners=1.0)
    decoded = fit_slots(sightings, RATES).decode(sightings)
    right = np.array(
        [
            tags == tags_of(words(text)[0], slots)
            for (tags, _, _), (_, text, slots) in zip(decoded, planted(), strict=True)
        ]
    )
    posterior = np.array([d.posterior for d in decoded])
    assert posterior.min() >= 0
    assert posterior.max() <= 1
    assert posterior[right].mean() > posterior[~right].mean() + 0.1


def test_forward_sums_over_every_path() -> None:
    """Against brute force over all tag sequences."""
    sightings = noisy()[:3]
    model: SlotModel = fit_slots(sightings, RATES)
    batch = next(iter(intent_batches(model, sightings)))
    emitted, moves = emissions(model, sightings, batch), transitions(model, batch, "alarm_set")
    for b, row in enumerate(batch.rows):
        n, k = len(sightings[row].tokens), len(batch.states)
        total = 0.0
        for path in product(range(k), repeat=n):
            likely = moves[b, 0, 0, path[0]] * np.exp(emitted[b, 0, path[0]])
            for i in range(1, n):
                likely *= moves[b, i, path[i - 1], path[i]] * np.exp(emitted[b, i, path[i]])
            total += likely
        assert forward(emitted, moves, batch.mask)[1][b] == pytest.approx(np.log(total))


def test_only_slots_that_the_intent_allows() -> None:
    sightings = noisy(wrong=0.9, missed=0.0)
    for s, (tags, _, _) in zip(sightings, fit_slots(sightings, RATES).decode(sightings), strict=True):
        assert {tag[2:] for tag in tags if tag != "O"} <= set(RATES[s.intent])


def test_an_unknown_intent_stays_open() -> None:
    stranger = Sighting(("cheza", "bahati"), "game_play")
    assert fit_slots(noisy(), RATES).decode([stranger]) == [(("O", "O"), 0.0, ((), ()))]
    assert fit_slots([], RATES).decode([stranger]) == [(("O", "O"), 0.0, ((), ()))]


def test_rates() -> None:
    rates = allowed_slots([("alarm_set", ["time"]), ("alarm_set", ["time", "date"]), ("qa", [])])
    assert rates == {"alarm_set": {"date": 0.5, "time": 1.0}, "qa": {}}
    heard = heard_slots([Sighting(("a", "b"), "call", (Tagging("own", ("O", "B-person"), 1.0),))])
    assert heard == {"call": {"person": 1.0}}
    assert rarely_bare([("call", ["person"]), ("call", []), ("call", ["person"]), ("joke", []), ("joke", ["x"])]) == {
        "call"
    }


def test_likely_tags_hold_the_right_one_as_often_as_asked() -> None:
    sightings = noisy(missed=0.7, wrong=0.2, partners=1.0)
    model = fit_slots(sightings, RATES)
    gold = [tags_of(words(text)[0], slots) for _, text, slots in planted()]
    before: list[list[set[str]]] = [[set() for _ in s.tokens] for s in sightings]
    for level in (0.6, 0.8, 0.95):
        told = held = 0
        for s, (tags, _, likely), right, smaller in zip(
            sightings, model.decode(sightings, level), gold, before, strict=True
        ):
            assert len(likely) == len(s.tokens)
            every = {"O", *(f"{p}-{name}" for name in RATES[s.intent] for p in "BI")}
            for i, may in enumerate(likely):
                if may:
                    assert tags[i] in may, "so that one sequence at least is made of them"
                    assert set(may) < every
                    told, held = told + 1, held + (right[i] in may)
                assert smaller[i] <= set(may or every), "a higher level takes more tags"
                smaller[i] = set(may or every)
        assert told > 50
        assert held / told > level - 0.05, level
