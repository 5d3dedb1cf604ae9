"""The encoders benchmark: what is asked, against hand-made files, and one small run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.encoders import main, retrieval, scores, sentences_per_second
from schemas.annotated import Annotated, parse_markup, write_annotated
from schemas.errors import InputError
from schemas.predictor import Interpretation

# Marked utterance of the source, of the launched locale, intent, partition; line by line translations.
LINES = (
    ("wake me at [time : seven]", "niamshe saa [time : moja]", "alarm_set", "train"),
    ("alarm for [time : eight]", "kengele ya saa [time : mbili]", "alarm_set", "train"),
    ("play [genre : jazz]", "cheza [genre : jazi]", "music_play", "train"),
    ("put on some [genre : rock]", "weka muziki wa [genre : roki]", "music_play", "train"),
    ("set an alarm for [time : nine]", "weka kengele ya saa [time : tatu]", "alarm_set", "test"),
    ("some [genre : jazz] please", "cheza muziki wa [genre : jazi]", "music_play", "test"),
    ("wake me", "cheza [genre : jazi]", "music_play", "test"),  # a train wording: not asked
    ("any [genre : jazz]", "cheza muziki wa [genre : jazi]", "music_play", "test"),  # a second translation
)


def rows(locale: str, column: int) -> list[Annotated]:
    made = []
    for line in LINES:
        text, slots = parse_markup(line[column])
        made.append(Annotated(text, locale, Interpretation(line[2], slots), line[3]))
    return made


def test_what_is_asked_leaves_out_wordings_of_the_train_partition() -> None:
    task = retrieval(rows("sw-KE", 1), rows("en-US", 0), "test")
    assert task.queries == ["weka kengele ya saa tatu", "cheza muziki wa jazi"]
    assert task.source == ["any jazz", "set an alarm for nine", "some jazz please"]
    assert task.translations == [frozenset({1}), frozenset({0, 2})]
    assert len(task.pool) == 4
    assert task.meanings == [("alarm_set", ("time",)), ("music_play", ("genre",))]
    with pytest.raises(InputError, match="sw-KE has 7 utterances and en-US 8"):
        retrieval(rows("sw-KE", 1)[1:], rows("en-US", 0), "test")
    with pytest.raises(InputError, match="no new wording in the dev partition"):
        retrieval(rows("sw-KE", 1), rows("en-US", 0), "dev")


def test_an_encoder_that_knows_everything_is_right_and_one_that_knows_nothing_is_not() -> None:
    task = retrieval(rows("sw-KE", 1), rows("en-US", 0), "test")
    topic = {"alarm": 0, "kengele": 0, "niamshe": 0, "wake": 0}

    def knows(texts: list[str]) -> np.ndarray:
        return np.stack([np.eye(2)[0 if any(w in topic for w in text.split()) else 1] for text in texts]).astype("f4")

    def wrong(texts: list[str]) -> np.ndarray:
        return np.stack([knows([text])[0][:: -1 if text in task.queries else 1] for text in texts])

    for encode, share in ((knows, 1.0), (wrong, 0.0)):
        told = scores(task, encode)
        assert [told[name]["share"] for name in ("translation", "signature", "intent")] == [share] * 3
        assert told["intent"]["low"] <= share <= told["intent"]["high"]
        assert told["intent"]["high"] - told["intent"]["low"] > 0.5  # two queries say little
    assert sentences_per_second(knows, task.queries) > 0


def test_one_small_run_prints_a_table_and_writes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for locale, column in (("en-US", 0), ("sw-KE", 1)):
        write_annotated(tmp_path / f"{locale}.jsonl", rows(locale, column))
    (tmp_path / "pairs.tsv").write_text("weka kengele\tset an alarm\ncheza muziki\tplay music\n" * 4)
    out = tmp_path / "report.json"
    arguments = ["--massive", str(tmp_path), "--locales", "sw-KE", "--parallel", str(tmp_path / "pairs.tsv")]
    size = ["--dimensions", "32", "--vocabulary", "200", "--epochs", "40", "--no-minilm"]
    assert main([*arguments, *size, "--out", str(out)]) == 0
    made = {row["encoder"]: row for row in json.loads(out.read_text())["encoders"]}
    assert list(made) == [
        "start", "en-US annotated", "+ hard negatives", "+ plain wordings, halved", "+ translations",
        "every locale annotated",
    ]  # fmt: skip
    assert made["start"]["pairs"] == 0 < made["+ hard negatives"]["pairs"] < made["+ translations"]["pairs"]
    [english, swahili] = made["every locale annotated"]["locales"]
    assert english["locale"] == "en-US"
    assert english["translation"]["share"] == 1.0  # a wording is its own translation
    assert swahili["queries"] == 2
    assert "| + translations |" in capsys.readouterr().out


def test_a_lake_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for locale, column in (("en-US", 0), ("sw-KE", 1)):
        write_annotated(tmp_path / f"{locale}.jsonl", rows(locale, column))
    arguments = ["--massive", str(tmp_path), "--locales", "sw-KE", "--lake", str(tmp_path / "nowhere"), "--no-minilm"]
    assert main([*arguments, "--out", str(tmp_path / "report.json")]) == 2
    assert "nowhere" in capsys.readouterr().err
