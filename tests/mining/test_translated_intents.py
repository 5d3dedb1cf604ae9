"""What translations say of intents: wordings that nobody understood are known by words of those that were."""

from __future__ import annotations

import numpy as np
import pytest
from planted_words import INTENTS, planted

from mining.translated_intents import _CHUNK, TranslatedIntents
from mining.translations import Worded

NAMES = [f"intent{i}" for i in range(INTENTS)]
NOBODY = np.zeros(0, np.int64), np.zeros(0, np.int64)


def _parts(rows: int, many: int = 4) -> np.ndarray:
    return np.arange(rows) % many


def _belief(launch: list[Worded], unknown: set[str], seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The intent of each wording, and a posterior that is sure of it (wrong now and then), but for some intents."""
    random = np.random.default_rng(seed)
    meant = np.array([NAMES.index(one.intent) for one in launch])
    said = np.where(random.random(len(meant)) < 0.05, random.integers(0, INTENTS, len(meant)), meant)
    belief = np.full((len(meant), INTENTS), 0.05 / (INTENTS - 1))
    belief[np.arange(len(meant)), said] = 0.95
    belief[[one.intent in unknown for one in launch]] = 1 / INTENTS
    return meant, belief


@pytest.mark.parametrize("seed", [1, 2])
def test_intents_that_nobody_knows_are_told_by_words_that_others_have(seed: int) -> None:
    mature, launch = planted(seed)
    unknown = {"intent3", "intent7", "intent11"}
    meant, belief = _belief(launch, unknown)
    found = TranslatedIntents(mature, [], [one.words for one in launch], NAMES, NOBODY)(belief, _parts(len(launch)))
    assert found is not None
    told = found.sum(axis=1)
    assert told[told > 0] == pytest.approx(1)  # none where its words are in no other part
    assert (told > 0).mean() > 0.99
    right = found.argmax(axis=1) == meant
    never = np.array([one.intent in unknown for one in launch])
    assert right[~never].mean() > 0.85
    assert right[never].mean() > 4 / INTENTS


def test_where_nothing_is_known_nothing_is_said() -> None:
    mature, launch = planted(1, many=3)
    wordings = [one.words for one in launch]
    _, belief = _belief(launch, set())
    part = _parts(len(wordings))
    assert TranslatedIntents(mature, [], wordings, NAMES, NOBODY)(np.full_like(belief, 1 / INTENTS), part) is None
    assert TranslatedIntents([], [], wordings, NAMES, NOBODY)(belief, part) is None
    assert TranslatedIntents(mature, [], wordings, NAMES, NOBODY)(belief, np.zeros_like(part)) is None
    found = TranslatedIntents(mature, [], [*wordings[:-1], ()], NAMES, NOBODY)(belief, part)
    assert found is not None
    assert (found[-1] == 0).all()


def test_annotated_utterances_teach_every_part_and_where_nothing_is_sure() -> None:
    mature, launch = planted(1)
    seeds, launch = launch[::12], [one for i, one in enumerate(launch) if i % 12]
    meant, belief = _belief(launch, {"intent3", "intent7"})
    wordings, part = [one.words for one in launch], _parts(len(launch))
    alone = TranslatedIntents(mature, [], wordings, NAMES, NOBODY, seeds)(np.full_like(belief, 1 / INTENTS), part)
    assert alone is not None
    assert (alone.argmax(axis=1) == meant).mean() > 0.5
    one_part = TranslatedIntents(mature, [], wordings, NAMES, NOBODY, seeds)(belief, np.zeros_like(part))
    assert one_part == pytest.approx(alone, abs=1e-6)  # what the rows are sure of is left to other parts
    found = [TranslatedIntents(mature, [], wordings, NAMES, NOBODY, of)(belief, part) for of in ([], seeds)]
    never = np.isin(meant, (3, 7))
    right = [(told.argmax(axis=1) == meant)[never].mean() for told in found if told is not None]
    assert right[1] > right[0] + 0.1


def test_a_wish_that_was_named_wrong_does_not_hear_so_from_its_own_words() -> None:
    """One intent's wordings are all surely another's. Told by themselves they confirm it, told by the others hardly."""
    mature, launch = planted(1)
    meant, belief = _belief(launch, set())
    wrong = meant == 3
    belief[wrong] = np.eye(INTENTS)[8]
    tell = TranslatedIntents(mature, [], [one.words for one in launch], NAMES, NOBODY)
    by_wish, by_chance = tell(belief, meant % 4), tell(belief, _parts(len(launch)))
    assert by_wish is not None
    assert by_chance is not None
    assert (by_chance[wrong].argmax(axis=1) == 8).mean() > 0.5
    assert (by_wish[wrong].argmax(axis=1) == 8).mean() < 0.25
    assert (by_wish[wrong].argmax(axis=1) == 3).mean() > 2 / INTENTS


def test_nobody_teaches_many_words_alone() -> None:
    """A robot says a thousand things that the champion is sure of, and wrongly: they weigh fifty."""
    mature, launch = planted(1)
    meant, belief = _belief(launch, set())
    robots = [
        Worded((f"robot{i % 90}", launch[i].words[0] if launch[i].words else "x"), "intent0") for i in range(1000)
    ]
    wordings = [one.words for one in (*launch, *robots)]
    belief = np.concatenate([belief, np.repeat(np.eye(INTENTS)[:1], 1000, axis=0)])
    rows = np.arange(len(wordings))
    everybody = np.where(rows < len(launch), rows, len(launch))
    right = {}
    for name, spoken in (("robot", (rows, everybody)), ("many", (rows, rows)), ("unheard", (rows[: len(launch)],) * 2)):
        found = TranslatedIntents(mature, [], wordings, NAMES, spoken)(belief, _parts(len(wordings)))
        assert found is not None
        right[name] = (found[: len(launch)].argmax(axis=1) == meant).mean()
    assert right["robot"] > right["many"]
    assert right["unheard"] >= right["robot"] - 0.01


def test_rows_are_told_alike_in_any_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    mature, launch = planted(2, many=5)
    _, belief = _belief(launch, set())
    tell = TranslatedIntents(mature, [], [one.words for one in launch], NAMES, NOBODY)
    part = _parts(len(launch))
    whole = tell(belief, part)
    assert len(launch) < _CHUNK
    monkeypatch.setattr("mining.translated_intents._CHUNK", 7)
    assert tell(belief, part) == pytest.approx(whole, abs=1e-6)
