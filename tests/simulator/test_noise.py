"""Noise keeps spans consistent, in every script."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.recogniser_rates import rates
from schemas.errors import InputError
from schemas.predictor import Slot
from simulator.noise import mumble, spell_apart
from simulator.population import EditMix

RECOGNISER = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "slurp_asr" / "asr_pairs.jsonl.gz"
WORDS = st.sampled_from(
    [
        "wake",
        "me",
        "at",
        "seven",
        "niamshe",
        "今週",
        "は",
        "午前五時",
        "に",
        "起こして",
        "सुबह",
        "सात",
        "a",
        "x",
    ]
)


@st.composite
def utterances(draw: st.DrawFn) -> tuple[str, tuple[Slot, ...]]:
    text, slots = "", []
    for _ in range(draw(st.integers(1, 8))):
        text += draw(st.sampled_from(["", " "])) if text else ""
        word = draw(WORDS)
        if draw(st.booleans()):
            slots.append(Slot(draw(st.sampled_from(["time", "date"])), word, len(text), len(text) + len(word)))
        text += word
    return text, tuple(slots)


WEIGHTS = st.floats(0, 5)


@given(
    utterances(),
    st.integers(0, 2**32),
    st.integers(1, 12),
    st.builds(
        EditMix, substitute=WEIGHTS, delete=WEIGHTS, insert=st.floats(0.01, 5), drop_word=WEIGHTS, add_word=WEIGHTS
    ),
)
def test_spans_follow_the_text(said: tuple[str, tuple[Slot, ...]], seed: int, edits: int, mix: EditMix) -> None:
    text, slots = said
    noised, found = mumble(text, slots, "abcあ時ा", np.random.default_rng(seed), mix, edits)
    assert any(c.isalnum() for c in noised)
    assert noised == " ".join(noised.split())
    assert [s.name for s in found] == [n for n in [s.name for s in slots] if n in {f.name for f in found}][
        : len(found)
    ] or (len(found) < len(slots))
    end = 0
    for slot in found:
        assert end <= slot.start < slot.end <= len(noised)
        assert noised[slot.start : slot.end] == slot.value == slot.value.strip()
        end = slot.end
    assert mumble(text, slots, "abcあ時ा", np.random.default_rng(seed), mix, edits) == (noised, found)


def test_each_edit() -> None:
    rng = np.random.default_rng(0)
    off = {"substitute": 0.0, "delete": 0.0, "insert": 0.0, "drop_word": 0.0, "add_word": 0.0}
    slot = (Slot("time", "七時", 2, 4),)
    text = "今日七時に"
    for kind, change in (("substitute", 0), ("delete", -1), ("insert", 1), ("drop_word", -1)):
        noised, _ = mumble(text, slot, "a", rng, EditMix(**{**off, kind: 1.0}), 1)
        assert len(noised) == len(text) + change
    noised, _ = mumble("wake me at seven", (), "z", rng, EditMix(**{**off, "drop_word": 1.0}), 1)
    assert len(noised.split()) == 3
    noised, _ = mumble("wake me at seven", (), "z", rng, EditMix(**{**off, "add_word": 1.0}), 1)
    assert len(noised.split()) == 5


def test_letter_edits_come_in_bursts() -> None:
    def misheard(burst: float) -> float:
        mix = EditMix(substitute=1, delete=0, insert=0, drop_word=0, add_word=0, burst=burst)
        text = "wake me up at half past seven tomorrow morning"
        heard = [mumble(text, (), "z", np.random.default_rng(i), mix, 4)[0].split() for i in range(300)]
        return float(np.mean([sum(a != b for a, b in zip(text.split(), h, strict=True)) for h in heard]))

    assert misheard(1.0) == 1.0
    assert misheard(0.0) > 2.5


def test_spelling_apart_splits_one_word() -> None:
    rng = np.random.default_rng(0)
    text, slots = spell_apart("wake me tomorrow", (Slot("date", "tomorrow", 8, 16),), rng)
    assert len(text.split()) == 4
    assert [s.value for s in slots] == [text[8:]]
    assert spell_apart("go on", (), rng)[0] == "go on"  # too short to be split


def test_learnt_rates_are_those_of_the_pairs() -> None:
    found = rates(
        [("wake me at seven", "wake me at seven"), ("play some jazz", "play jazz"), ("stop him", "now stop hin")]
    )
    assert found["noised"] == pytest.approx(2 / 3)
    assert found["word_error_rate"] == pytest.approx(3 / 9)
    wanted = {"substitute": 1 / 3, "drop_word": 1 / 3, "add_word": 1 / 3, "delete": 0, "insert": 0, "burst": 0}
    assert {k: found[k] for k in wanted} == pytest.approx(wanted)
    with pytest.raises(InputError, match="nothing to learn"):
        rates([("same", "same")])


@pytest.mark.skipif(not RECOGNISER.is_file(), reason="no recogniser output beside the project")
def test_the_edit_mix_is_the_learnt_one() -> None:
    with gzip.open(RECOGNISER, "rt", encoding="utf-8") as lines:
        found = rates((row["gold"], row["asr"]) for row in map(json.loads, lines))
    assert EditMix().model_dump() == pytest.approx({k: found[k] for k in EditMix.model_fields}, abs=0.001)


def test_an_utterance_is_never_noised_to_nothing() -> None:
    mix = EditMix(substitute=0, delete=1, insert=0, drop_word=1, add_word=0)
    noised, _ = mumble("go", (), "", np.random.default_rng(1), mix, 20)
    assert noised
