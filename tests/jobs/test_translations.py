from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from jobs.lake import Run
from jobs.pipeline import STEPS
from jobs.translations import Mature, mature_of, parallel_of
from mining.slot_evidence import annotated
from schemas.annotated import Annotated
from schemas.lake import Lake
from schemas.predictor import Interpretation
from schemas.settings import EncoderSettings, Settings


def test_a_file_of_parallel_text_is_of_the_launch_language(tmp_path: Path) -> None:
    file, folder = tmp_path / "some.tsv", tmp_path / "tatoeba"
    folder.mkdir()
    settings = Settings(locale="sw-KE", encoder=EncoderSettings(parallel=(file, folder)))
    assert parallel_of(settings, "sw-KE") == [file, folder]
    assert parallel_of(settings, "de-DE") == [folder]
    unsaid = settings.model_copy(update={"locale": None})
    assert parallel_of(unsaid, "de-DE") == [file, folder]


def test_labels_are_made_anew_where_a_file_is_of_another_launch(tmp_path: Path) -> None:
    lake, also = Lake(tmp_path / "lake").open(create=True), STEPS["pseudo_labels"].also
    assert also is not None
    (tmp_path / "tatoeba").mkdir()

    def key(locale: str, name: str) -> object:
        return also(lake, Settings(locale=locale, encoder=EncoderSettings(parallel=(tmp_path / name,))))

    assert key("sw-KE", "some.tsv") != key("de-DE", "some.tsv")
    assert key("sw-KE", "tatoeba") == key("de-DE", "tatoeba")


def test_annotated_utterances_of_the_launch_language_teach_its_words() -> None:
    said = {"alarm_set": ("wake seven", "niamshe saba"), "music_play": ("play song", "cheza wimbo")}
    mature = tuple(annotated(text, intent, ()) for intent, (text, _) in said.items())
    taught = tuple(annotated(f"{text} {i}", intent, ()) for intent, (_, text) in said.items() for i in range(5))
    texts, nobody = ["saba", "wimbo", "habari"], (np.zeros(0, np.int64), np.zeros(0, np.int64))
    unsure, part = np.full((3, 2), 0.5), np.array([0, 1, 1])
    told = {}
    for name, known in (("untaught", {}), ("taught", {"sw-KE": taught})):
        tells = Mature(mature, {"sw-KE": ()}, known).translating("sw-KE", texts, list(said), nobody)
        assert tells is not None
        told[name] = tells(unsure, part)
    assert told["untaught"] is None
    assert told["taught"].argmax(axis=1)[:2].tolist() == [0, 1]
    assert told["taught"][2].sum() == 0  # a word that nobody taught
    assert Mature(mature, {}, {"sw-KE": taught}).translating("sw-KE", texts, list(said), nobody) is None


def test_annotated_utterances_of_every_language_of_the_log_are_taught_and_what_is_too_many_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path / "lake").open(create=True)
    write_deltalake(str(lake.table("utterances")), pa.table({"locale": ["sw-KE", "sw-KE", "en-US"]}))
    gold = [
        Annotated(f"{text} {i}", locale, Interpretation("alarm_set"), "train")
        for locale, text in (("en-US", "wake"), ("sw-KE", "niamshe"), ("de-DE", "weck mich"))
        for i in range(5)
    ]
    found = {}
    for most in (5, 3):
        monkeypatch.setattr("jobs.translations._MOST_ANNOTATED", most)
        run = Run(STEPS["pseudo_labels"], lake, Settings(locale="sw-KE"), f"r{most}", {"utterances": 0})
        found[most] = mature_of(run, gold), run.counts
    whole, counts = found[5]
    assert whole.taught.keys() == whole.parallel.keys() == {"sw-KE"}
    assert {s.tokens[0] for s in whole.taught["sw-KE"]} == {"niamshe"}
    assert (len(whole.utterances), len(whole.taught["sw-KE"])) == (5, 5)
    assert (counts["mature_left_out"], counts["taught_left_out"]) == (0, 0)
    some, counts = found[3]
    assert (len(some.utterances), len(some.taught["sw-KE"])) == (3, 3)
    assert (counts["mature_left_out"], counts["taught_left_out"]) == (2, 2)
    assert set(some.taught["sw-KE"]) <= set(whole.taught["sw-KE"])
