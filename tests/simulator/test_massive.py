"""MASSIVE folders as a catalogue: a tiny one, also without spaces, and the real one where it is present."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.annotated import massive_file, read_annotated
from schemas.errors import InputError
from schemas.normalise import normalise
from simulator.catalogue import Goal
from simulator.logs import simulate
from simulator.massive import MassiveCatalogue
from simulator.population import Population

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "massive"

JAPANESE = [
    ("train", "alarm_set", "[date : 今週] は [time : 午前五時] に起こして"),
    ("train", "alarm_set", "[date : 金曜日] の [time : 午前九時] に起こしてください"),
    ("train", "alarm_set", "[time : 七時] にアラームをセット"),
    ("train", "alarm_set", "[time : 八時] に起こして"),
    ("train", "iot_hue_lightoff", "電気を消して"),
    ("train", "iot_hue_lightoff", "[house_place : 台所] の電気を消して"),
    ("train", "transport_query", "[place_name : 東京] から [place_name : 大阪] への電車"),
    ("train", "transport_query", "電車で [place_name : 京都] から [place_name : 奈良] まで"),
    ("dev", "alarm_set", "[time : 六時] に起きたい"),
    ("test", "alarm_set", "[time : 十時] にアラーム"),
    ("test", "iot_hue_lightoff", "電気を消して"),
]
ENGLISH = [
    ("train", "alarm_set", "wake me at [time : seven]"),
    ("train", "alarm_set", "set an alarm for [time : nine] [date : on friday]"),
    ("train", "iot_hue_lightoff", "turn off the lights"),
    ("test", "alarm_set", "alarm at [time : ten]"),
]


def write(folder: Path, locale: str, rows: list[tuple[str, str, str]], *, zipped: bool) -> None:
    lines = []
    for partition, intent, marked in rows:
        pieces = marked.replace("[", " ").replace("]", " ").split()
        plain = marked
        for name in ("date", "time", "house_place", "place_name"):
            plain = plain.replace(f"[{name} : ", "")
        plain = plain.replace("]", "")
        text = "".join(plain.split()) if locale == "ja-JP" else " ".join(plain.split())
        assert pieces
        lines.append(
            json.dumps(
                {
                    "locale": locale,
                    "partition": partition,
                    "intent": intent,
                    "utt": text,
                    "annot_utt": marked,
                },
                ensure_ascii=False,
            )
        )
    content = "\n".join(lines) + "\n"
    if zipped:
        with gzip.open(folder / f"{locale}.jsonl.gz", "wt", encoding="utf-8") as out:
            out.write(content)
    else:
        (folder / f"{locale}.jsonl").write_text(content, encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "ja-JP", JAPANESE, zipped=True)
    write(tmp_path, "en-US", ENGLISH, zipped=False)
    return tmp_path


def test_wordings_take_the_goals_values(folder: Path) -> None:
    catalogue = MassiveCatalogue(folder, "en-US", "ja-JP")
    goal = Goal("alarm_set", (("date", "明日"), ("time", "三時")))
    said = {way.realise(goal)[0] for way in catalogue.wordings[goal.signature]}
    assert said == {"明日は三時に起こして", "明日の三時に起こしてください"}
    trip = Goal("transport_query", (("place_name", "神戸"), ("place_name", "広島")))
    said = {way.realise(trip)[0] for way in catalogue.wordings[trip.signature]}
    assert said == {"神戸から広島への電車", "電車で神戸から広島まで"}
    for way in catalogue.wordings[trip.signature]:
        text, slots = way.realise(trip)
        assert [text[s.start : s.end] for s in slots] == ["神戸", "広島"]
    assert catalogue.required_slots("transport_query") == ("place_name",)
    assert " " not in catalogue.alphabet


def test_partitions(folder: Path) -> None:
    catalogue = MassiveCatalogue(folder, "en-US", "ja-JP")
    assert [r.utterance for r in catalogue.gold("ja-JP", "test")] == ["十時にアラーム"]  # one also occurs in train
    assert [r.utterance for r in catalogue.gold("ja-JP", "dev")] == ["六時に起きたい"]
    assert len(catalogue.gold("en-US", "train")) == 3
    with pytest.raises(InputError, match="no train gold of sw-KE"):
        catalogue.gold("sw-KE")
    with pytest.raises(InputError, match="it has en-US, ja-JP"):
        MassiveCatalogue(folder, "en-US", "sw-KE")
    with pytest.raises(InputError, match="sample"):
        MassiveCatalogue(folder, "en-US", "ja-JP", sample=100)


def test_goals_are_sensible(folder: Path) -> None:
    catalogue = MassiveCatalogue(folder, "en-US", "ja-JP")
    rng = np.random.default_rng(0)
    for _ in range(50):
        goal = catalogue.draw_goal(rng)
        assert goal.signature in catalogue.wordings
        if goal.intent == "transport_query":
            assert len(set(goal.of_type("place_name"))) == 2


def test_a_round_in_japanese(folder: Path, tmp_path: Path, understand: Any) -> None:
    catalogue = MassiveCatalogue(folder, "en-US", "ja-JP")
    played = simulate(
        catalogue,
        understand(catalogue),
        Population(users=20, tasks_per_user=4, noise=0.3),
        seed=1,
        round=0,
        start=datetime(2026, 1, 5, tzinfo=UTC),
        out=tmp_path / "logs",
        truth=tmp_path / "truth",
    )
    records = [json.loads(line) for line in played.logs.read_text(encoding="utf-8").splitlines()]
    assert played.success_rate > 0.6
    assert all(r["locale"] == "ja-JP" and " " not in r["utterance"] for r in records)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"MASSIVE is not at {REAL}")
@pytest.mark.parametrize("locale", ["sw-KE", "ja-JP"])
def test_real_data(locale: str) -> None:
    catalogue = MassiveCatalogue(REAL, "en-US", locale, sample=1_500, seed=2)
    source, target = catalogue.gold("en-US", "train"), catalogue.gold(locale, "train")
    assert len(source) == len(target) == 1_500
    # rows are not aligned: only the few that chance puts at one place share intent and slots
    aligned = sum(a.signature == b.signature for a, b in zip(source, target, strict=True))
    assert aligned < 0.1 * len(source)
    trained = {normalise(r.utterance) for r in read_annotated(massive_file(REAL, locale), ("train",))}
    assert not any(normalise(r.utterance) in trained for r in catalogue.gold(locale, "test"))
    rng = np.random.default_rng(0)
    for _ in range(300):
        goal = catalogue.draw_goal(rng)
        for way in catalogue.wordings[goal.signature][:5]:
            text, slots = way.realise(goal)
            assert all(text[s.start : s.end] == s.value for s in slots)
            assert sorted((s.name, s.value) for s in slots) == sorted(goal.values)
